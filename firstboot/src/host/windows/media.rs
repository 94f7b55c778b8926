//! Drives that may carry configuration: volumes with a letter.

use std::path::{Path, PathBuf};

use windows_sys::Win32::Storage::FileSystem::{GetDriveTypeW, GetLogicalDrives, GetVolumeInformationW};

use crate::host::root::Root;
use crate::os::wide::{narrow, wide};

/// Values of GetDriveType.
const REMOVABLE: u32 = 2;
const FIXED: u32 = 3;
const CDROM: u32 = 5;
/// The longest label or name of a file system, with its NUL.
const LONGEST: usize = 261;

/// A volume with a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// `D:\`
    pub root: PathBuf,
    /// `FAT32`, `CDFS`, `UDF`, `NTFS`
    pub file_system: String,
    /// Its label.
    pub label: String,
    /// The number of its file system, which formatting makes.
    pub serial: u32,
}

/// The volumes with a letter and a label, by letter, but not those of the network. A drive without a disc is
/// left out.
pub fn volumes(root: &Root) -> Vec<Volume> {
    if !root.is_machine() {
        return Vec::new();
    }
    ('A'..='Z')
        .filter(|letter| letters() & 1 << (*letter as u32 - 'A' as u32) != 0)
        .filter_map(volume)
        .collect()
}

/// Whether the drive holds discs, which the hypervisor's or the machine's owner puts in.
pub fn is_optical(root: &Path) -> bool {
    kind(&wide(root)) == CDROM
}

#[allow(unsafe_code)] // a call of the system that std does not offer
fn letters() -> u32 {
    // SAFETY: it takes nothing and changes nothing.
    unsafe { GetLogicalDrives() }
}

#[allow(unsafe_code)] // a call of the system that std does not offer
fn kind(root: &[u16]) -> u32 {
    // SAFETY: the text ends with a NUL.
    unsafe { GetDriveTypeW(root.as_ptr()) }
}

#[allow(unsafe_code)] // a call of the system that std does not offer
fn volume(letter: char) -> Option<Volume> {
    let root = format!("{letter}:\\");
    let name = wide(&root);
    if !matches!(kind(&name), REMOVABLE | FIXED | CDROM) {
        return None;
    }
    let (mut label, mut file_system, mut serial) = ([0; LONGEST], [0; LONGEST], 0);
    let (mut longest_part, mut flags) = (0, 0);
    // SAFETY: the buffers are as long as they say, and all pointers outlive the call.
    let found = unsafe {
        GetVolumeInformationW(
            name.as_ptr(),
            label.as_mut_ptr(),
            LONGEST as u32,
            &raw mut serial,
            &raw mut longest_part,
            &raw mut flags,
            file_system.as_mut_ptr(),
            LONGEST as u32,
        )
    };
    let label = narrow(&label);
    (found != 0 && !label.is_empty()).then(|| Volume {
        root: root.into(),
        file_system: narrow(&file_system),
        label,
        serial,
    })
}
