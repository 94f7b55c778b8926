//! Nutanix AHV: a config drive, attached when a machine is made with a guest customisation.

use super::{Platform, PlatformData, ReadContext};
use crate::error::Result;
use crate::evidence::{Evidence, Field, Sign, Strength};
use crate::platforms::format::{config_drive, disk};

pub(super) const PLATFORM: Platform = Platform {
    signs: &[Sign::Other(Strength::Smbios, hypervisor)],
    provider_id: Some("nutanix://${instance-id}"),
    node_name: Some("${hostname}"),
    ..Platform::named("nutanix", read)
};

/// The vendor's hardware has the same vendor name, but another product name.
fn hypervisor(evidence: &Evidence) -> Option<String> {
    let is = |field: Field, expected: &str| evidence.field(field) == Some(expected);
    let is_machine = is(Field::SysVendor, "Nutanix") && is(Field::ProductName, "AHV");
    is_machine.then(|| "smbios sys_vendor is \"Nutanix\" and product_name \"AHV\"".to_owned())
}

fn read(context: &mut ReadContext) -> Result<PlatformData> {
    let mut data = if context.evidence.disks(config_drive::LABEL).is_empty() {
        context.notice("the machine has no config drive");
        PlatformData::default()
    } else {
        config_drive::read(&disk::only_disk(context, config_drive::LABEL)?)?
    };
    let uuid = context.evidence.field(Field::ProductUuid).map(str::to_ascii_lowercase);
    data.facts.instance_id.add_some(uuid, "smbios product_uuid");
    Ok(data)
}
