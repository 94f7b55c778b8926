//! The firmware's SMBIOS tables, as the kernel shows them below /sys
//! (<https://www.kernel.org/doc/Documentation/ABI/testing/sysfs-firmware-dmi-entries>).

use std::fs;

use crate::host::files;
use crate::host::root::Root;
use crate::host::smbios::{shown, strings};
use crate::paths;

/// Longest structure that is read: type 11 with many strings.
const LONGEST: u64 = 64 * 1024;
/// Structures of type 11 that are read.
const MOST: usize = 64;

/// The kernel's file `name`, trimmed; none when it is absent or empty.
pub fn text(root: &Root, name: &str) -> Option<String> {
    let bytes = files::read(&root.path(paths::smbios(name)), 4096).ok()??;
    shown(&bytes)
}

/// Strings that the operator gave a virtual machine: those of all structures of type 11, in their order.
pub fn oem_strings(root: &Root) -> Vec<Vec<u8>> {
    let raw = |number: usize| files::read(&root.path(paths::oem_strings(number)), LONGEST).ok().flatten();
    if fs::metadata(root.path(paths::SMBIOS_ENTRIES)).is_err() {
        return Vec::new();
    }
    (0..MOST).map_while(raw).flat_map(|structure| strings(&structure)).collect()
}
