//! QEMU's firmware configuration device (<https://www.qemu.org/docs/master/specs/fw_cfg.html>), as the
//! kernel's driver qemu_fw_cfg shows it in sysfs.

use crate::document::Document;
use crate::error::Result;
use crate::host::kernel;
use crate::host::root::Root;
use crate::paths::{self, FW_CFG};

/// The item `name`; none where there is no such item, or no such device.
pub(crate) fn item(root: &Root, name: &str, notices: &mut Vec<String>) -> Result<Option<Document>> {
    if let Err(failure) = load_driver(root) {
        notices.push(format!(
            "this machine has QEMU's firmware configuration device, but not its driver: {failure}"
        ));
    }
    Document::read_file(&root.path(format!("{FW_CFG}/by_name/{name}/raw")))
}

fn load_driver(root: &Root) -> Result<()> {
    if root.path(FW_CFG).exists() || !is_there(root) {
        return Ok(());
    }
    kernel::load_module(root, "qemu_fw_cfg")
}

/// Whether the driver shows the item `name`.
pub(crate) fn has_item(root: &Root, name: &str) -> bool {
    load_driver(root).is_ok() && root.path(format!("{FW_CFG}/by_name/{name}/raw")).exists()
}

/// The driver's folder, or the device as the firmware describes it: QEMU0002 in ACPI, fw-cfg in a device
/// tree.
pub(crate) fn is_there(root: &Root) -> bool {
    root.path(FW_CFG).exists()
        || has(root, paths::ACPI_DEVICES, "QEMU0002")
        || has(root, paths::DEVICE_TREE, "fw-cfg")
}

fn has(root: &Root, folder: &str, prefix: &str) -> bool {
    let mut entries = std::fs::read_dir(root.path(folder)).into_iter().flatten().flatten();
    entries.any(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
}
