//! The firmware's SMBIOS tables, from the system (GetSystemFirmwareTable, provider `RSMB`). A folder is read
//! as one of Linux: captures of machines have its names.

use std::sync::OnceLock;

use windows_sys::Win32::System::SystemInformation::{GetSystemFirmwareTable, RSMB};

use crate::host::files;
use crate::host::root::Root;
use crate::host::smbios::{shown, table};
use crate::paths;

/// The table follows four bytes of versions and four of its length (RawSMBIOSData).
const HEADER: usize = 8;

/// The text with this name in Linux, trimmed; none when it is absent or empty.
pub fn text(root: &Root, name: &str) -> Option<String> {
    if root.is_machine() {
        return table::text(own(), name);
    }
    shown(&files::read(&root.path(paths::smbios(name)), 4096).ok()??)
}

/// Strings that the operator gave a virtual machine: those of all structures of type 11, in their order.
pub fn oem_strings(root: &Root) -> Vec<Vec<u8>> {
    if root.is_machine() { table::oem_strings(own()) } else { Vec::new() }
}

/// The table of this machine; empty where it has none.
fn own() -> &'static [u8] {
    static TABLE: OnceLock<Vec<u8>> = OnceLock::new();
    let raw = TABLE.get_or_init(read);
    raw.get(HEADER..).unwrap_or_default()
}

#[allow(unsafe_code)] // a call of the system that std does not offer
fn read() -> Vec<u8> {
    // SAFETY: without a buffer, the call says how long it must be.
    let length = unsafe { GetSystemFirmwareTable(RSMB, 0, std::ptr::null_mut(), 0) };
    let mut bytes = vec![0; length as usize];
    // SAFETY: the buffer is as long as it says.
    let filled = unsafe { GetSystemFirmwareTable(RSMB, 0, bytes.as_mut_ptr(), length) };
    bytes.truncate(filled as usize);
    bytes
}
