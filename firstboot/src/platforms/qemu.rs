//! Plain QEMU: its firmware configuration device, `-fw_cfg name=opt/org.kiln.firstboot/config,file=join.yaml`
//! (<https://www.qemu.org/docs/master/specs/fw_cfg.html>; in sysfs by the kernel's qemu_fw_cfg).

use super::{Document, Reader, Reading, Source, UserData};
use crate::error::Result;
use crate::evidence::{Evidence, Field, Sign, Strength};
use crate::host::kernel;
use crate::host::root::Root;

/// The item's name. QEMU wants names of users below `opt/`, with a reversed domain.
pub const ITEM: &str = "opt/org.kiln.firstboot/config";

const FOLDER: &str = "/sys/firmware/qemu_fw_cfg";

pub(super) const SOURCE: Source =
    Source { signs: &[Sign::Other(Strength::Channel, device)], ..Source::named("qemu", read) };

fn read(reader: &mut Reader) -> Result<Reading> {
    let mut reading = Reading::default();
    let uuid = reader.evidence.field(Field::ProductUuid).map(str::to_ascii_lowercase);
    reading.facts.instance_id.say_some(uuid, "smbios product_uuid");
    let root = reader.root().clone();
    let Some(document) = item(&root, ITEM, &mut reader.remarks)? else { return Ok(reading) };
    reading.user_data = UserData::new(document, ITEM);
    if reading.user_data.is_none() {
        reader.remark(format!("the fw_cfg item {ITEM} is empty and is ignored"));
    }
    Ok(reading)
}

/// The item `name`; none where there is no such item, or no such device.
pub(super) fn item(root: &Root, name: &str, remarks: &mut Vec<String>) -> Result<Option<Document>> {
    if !root.path(FOLDER).exists()
        && is_there(root)
        && let Err(failure) = kernel::load_module(root, "qemu_fw_cfg")
    {
        remarks.push(format!(
            "this machine has QEMU's firmware configuration device, but not its driver: {failure}"
        ));
    }
    Document::read_file(&root.path(format!("{FOLDER}/by_name/{name}/raw")))
}

fn device(evidence: &Evidence) -> Option<String> {
    is_there(evidence.root()).then(|| "QEMU's firmware configuration device is there".to_owned())
}

/// The driver's folder, or the device as the firmware describes it: QEMU0002 in ACPI, fw-cfg in a device tree.
fn is_there(root: &Root) -> bool {
    root.path(FOLDER).exists()
        || has(root, "/sys/bus/acpi/devices", "QEMU0002")
        || has(root, "/sys/firmware/devicetree/base", "fw-cfg")
}

fn has(root: &Root, folder: &str, prefix: &str) -> bool {
    let mut entries = std::fs::read_dir(root.path(folder)).into_iter().flatten().flatten();
    entries.any(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
}
