//! Nutanix AHV: a config drive, attached when a machine is made with a guest customisation.

use super::{Platform, PlatformData, ReadContext};
use crate::error::Result;
use crate::evidence::{Evidence, Field, Sign, Strength};
use crate::facts::Facts;
use crate::platforms::format::{config_drive, disk};

pub(super) const PLATFORM: Platform = Platform {
    signs: &[Sign::Other(Strength::Firmware, hypervisor)],
    provider_id: Some("nutanix://${instance-id}"),
    node_name: Some("${hostname}"),
    ..Platform::named("nutanix", read)
};

/// The vendor's hardware has the same vendor name, but another product name.
fn hypervisor(evidence: &Evidence) -> Option<String> {
    let is_machine =
        evidence.field_is(Field::SysVendor, "Nutanix") && evidence.field_is(Field::ProductName, "AHV");
    is_machine.then(|| "smbios sys_vendor is \"Nutanix\" and product_name \"AHV\"".to_owned())
}

fn read(context: &mut ReadContext) -> Result<PlatformData> {
    let mut data = if context.evidence.disks(config_drive::LABEL).is_empty() {
        context.notice("the machine has no config drive");
        PlatformData::default()
    } else {
        config_drive::read(&disk::only_disk(context, config_drive::LABEL)?)?
    };
    let drive = std::mem::take(&mut data.facts);
    data.facts = with_firmware(context.evidence.field(Field::ProductUuid), drive);
    Ok(data)
}

/// The firmware's UUID is the machine's. The drive's may be another: Cluster API's provider writes a new one
/// for each drive.
fn with_firmware(uuid: Option<&str>, drive: Facts) -> Facts {
    let mut facts = Facts::default();
    facts.instance_id.add_some(uuid.map(str::to_ascii_lowercase), "smbios product_uuid");
    facts.merge(drive);
    facts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_uuid_of_the_firmware_counts_more_than_that_of_the_drive() {
        let mut drive = Facts::default();
        drive.instance_id.add("5f0e7a52-0000-4000-8000-000000000000".to_owned(), "drive");
        let facts = with_firmware(Some("11111111-AAAA-2222-3333-444444444444"), drive.clone());
        assert_eq!(facts.text("instance-id"), Some("11111111-aaaa-2222-3333-444444444444"));
        assert_eq!(with_firmware(None, drive.clone()).text("instance-id"), drive.text("instance-id"));
    }
}
