//! QEMU's firmware configuration device: `-fw_cfg name=opt/org.kiln.firstboot/config,file=join.yaml`
//! (<https://www.qemu.org/docs/master/specs/fw_cfg.html>; in sysfs by the kernel's qemu_fw_cfg).

use super::{Document, Surroundings};
use crate::error::Result;
use crate::host::kernel;
use crate::host::root::Root;

/// The item's name. QEMU wants names of users below `opt/`, with a reversed domain.
pub const ITEM: &str = "opt/org.kiln.firstboot/config";

const FOLDER: &str = "/sys/firmware/qemu_fw_cfg";

pub(super) fn look(surroundings: &Surroundings, remarks: &mut Vec<String>) -> Result<Option<(Document, String)>> {
    let root = surroundings.root;
    if !root.path(FOLDER).exists() {
        if !has_device(root) {
            return Ok(None);
        }
        if let Err(failure) = kernel::load_module(root, "qemu_fw_cfg") {
            remarks.push(format!("this machine has QEMU's firmware configuration device, but not its driver: {failure}"));
        }
    }
    let Some(document) = Document::read_file(&root.path(format!("{FOLDER}/by_name/{ITEM}/raw")))? else { return Ok(None) };
    if document.is_blank() {
        remarks.push(format!("the fw_cfg item {ITEM} is empty and is ignored"));
        return Ok(None);
    }
    Ok(Some((document, ITEM.to_owned())))
}

/// Whether the firmware describes the device: as QEMU0002 in ACPI, as fw-cfg in a device tree.
fn has_device(root: &Root) -> bool {
    let has = |folder: &str, prefix: &str| {
        let mut entries = std::fs::read_dir(root.path(folder)).into_iter().flatten().flatten();
        entries.any(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
    };
    has("/sys/bus/acpi/devices", "QEMU0002") || has("/sys/firmware/devicetree/base", "fw-cfg")
}
