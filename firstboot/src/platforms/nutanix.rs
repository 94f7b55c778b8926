//! Nutanix AHV: a config drive, attached when a machine is made with a guest customisation.

use super::{Reader, Reading, Source, drive};
use crate::error::Result;
use crate::evidence::{Evidence, Field, Sign, Strength};

pub(super) const SOURCE: Source = Source {
    signs: &[Sign::Other(Strength::Smbios, hypervisor)],
    provider_id: Some("nutanix://${instance-id}"),
    node_name: Some("${hostname}"),
    ..Source::named("nutanix", read)
};

/// The vendor sells hardware too: there the product has another name.
fn hypervisor(evidence: &Evidence) -> Option<String> {
    let is = |field: Field, expected: &str| evidence.field(field) == Some(expected);
    let is_machine = is(Field::SysVendor, "Nutanix") && is(Field::ProductName, "AHV");
    is_machine.then(|| "smbios sys_vendor is \"Nutanix\" and product_name \"AHV\"".to_owned())
}

fn read(reader: &mut Reader) -> Result<Reading> {
    let mut reading = if reader.evidence.disks(drive::LABEL).is_empty() {
        reader.remark("the machine has no config drive");
        Reading::default()
    } else {
        drive::read_config_drive(&drive::the_disk(reader, drive::LABEL)?)?
    };
    let uuid = reader.evidence.field(Field::ProductUuid).map(str::to_ascii_lowercase);
    reading.facts.instance_id.say_some(uuid, "smbios product_uuid");
    Ok(reading)
}
