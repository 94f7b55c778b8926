//! Windows.

mod access;
mod adapters;
mod ownership;
pub(crate) mod wide;

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::windows::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::ptr::null_mut;

use windows_sys::Win32::Security::{
    CheckTokenMembership, CreateWellKnownSid, SECURITY_MAX_SID_SIZE, WinBuiltinAdministratorsSid,
};
use windows_sys::Win32::Storage::FileSystem::{FILE_FLAG_OPEN_REPARSE_POINT, GetDiskFreeSpaceExW};

pub use self::access::*;
pub use self::adapters::*;
pub use self::ownership::*;
use self::wide::wide;
use super::{Owner, Space};

/// Opens a file to read it.
pub fn open(path: &Path, follows_links: bool) -> io::Result<File> {
    let flags = if follows_links { 0 } else { FILE_FLAG_OPEN_REPARSE_POINT };
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// Nothing here has numbers; the mode is that of a file that all users may read.
pub fn owner_and_mode(_: &Metadata) -> (Owner, u32) {
    ((0, 0), 0o644)
}

/// Access lists say more than this: `host` makes files with secrets private, whatever they were.
pub fn is_readable_by_others(_: &Metadata) -> bool {
    false
}

/// The owner of the files that this process makes.
pub fn own() -> Owner {
    (0, 0)
}

/// Whether this process is of the group Administrators (S-1-5-32-544), as kubeadm asks. SYSTEM is one.
#[allow(unsafe_code)] // calls of the system that std does not offer
pub fn is_privileged() -> bool {
    let mut sid = [0_u8; SECURITY_MAX_SID_SIZE as usize];
    let (mut length, mut is_member) = (SECURITY_MAX_SID_SIZE, 0);
    let group = sid.as_mut_ptr().cast();
    // SAFETY: the buffer is as long as it says and outlives both calls; no token means this thread's.
    unsafe {
        CreateWellKnownSid(WinBuiltinAdministratorsSid, std::ptr::null_mut(), group, &raw mut length) != 0
            && CheckTokenMembership(std::ptr::null_mut(), group, &raw mut is_member) != 0
            && is_member != 0
    }
}

/// Windows has numbers in zones (`fe80::1%4`), and no names.
pub fn interface_number(_: &str) -> Option<u32> {
    None
}

/// The space of the volume that holds `folder`. Files are not counted.
#[allow(unsafe_code)] // a call of the system that std does not offer
pub fn space(folder: &Path) -> Option<Space> {
    let name = wide(folder);
    let (mut free, mut total) = (0, 0);
    // SAFETY: the text ends with a NUL, and the pointers outlive the call.
    let found = unsafe { GetDiskFreeSpaceExW(name.as_ptr(), &raw mut free, &raw mut total, null_mut()) };
    (found != 0).then_some(Space { free, total, free_inodes: 0, inodes: 0 })
}

/// From the environment, which the system makes; `C:` where it does not.
fn drive() -> String {
    let drive = std::env::var("SystemDrive").unwrap_or_default();
    let is_drive = matches!(drive.as_bytes(), [letter, b':'] if letter.is_ascii_alphabetic());
    if is_drive { drive } else { "C:".to_owned() }
}

/// The drive of the system: `C:`.
pub fn system_drive() -> Option<String> {
    Some(drive())
}

/// The root of this machine's file system: paths of a node are on the drive of the system.
pub fn root() -> PathBuf {
    PathBuf::from(format!("{}\\", drive()))
}
