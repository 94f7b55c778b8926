//! How files are made: access lists instead of modes, links.
//!
//! | mode | who can read | who can write |
//! |---|---|---|
//! | no bit for others (0600, 0700) | SYSTEM and Administrators | the same |
//! | any other (0644, 0755) | Users too | SYSTEM and Administrators |
//!
//! No list is inherited from above: by default, all users may add files to folders below `C:\`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::AsRawHandle;
use std::path::{Component, Path, PathBuf};
use std::ptr::null_mut;

use windows_sys::Win32::Foundation::{GENERIC_READ, GENERIC_WRITE, LocalFree};
use windows_sys::Win32::Security::Authorization::{
    ConvertStringSecurityDescriptorToSecurityDescriptorW, SDDL_REVISION_1, SE_FILE_OBJECT, SetSecurityInfo,
};
use windows_sys::Win32::Security::{
    ACL, DACL_SECURITY_INFORMATION, GetSecurityDescriptorDacl, PROTECTED_DACL_SECURITY_INFORMATION,
    PSECURITY_DESCRIPTOR,
};
use windows_sys::Win32::Storage::FileSystem::{
    FILE_FLAG_BACKUP_SEMANTICS, FILE_FLAG_OPEN_REPARSE_POINT, READ_CONTROL, WRITE_DAC,
};

use super::super::Owner;
use super::wide::wide;

/// SYSTEM and Administrators have all rights (Security Descriptor Definition Language, [MS-DTYP] 2.5.1).
const PRIVATE_FILE: &str = "D:P(A;;FA;;;SY)(A;;FA;;;BA)";
/// The same, and Users may read.
const PUBLIC_FILE: &str = "D:P(A;;FA;;;SY)(A;;FA;;;BA)(A;;FR;;;BU)";
const PRIVATE_FOLDER: &str = "D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)";
pub(super) const PUBLIC_FOLDER: &str = "D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;0x1200a9;;;BU)";

/// Makes a new file that nobody else can open before it is closed.
pub fn create(path: &Path, mode: u32) -> io::Result<File> {
    let file = OpenOptions::new()
        .access_mode(GENERIC_WRITE | READ_CONTROL | WRITE_DAC)
        .share_mode(0)
        .write(true)
        .create_new(true)
        .open(path)?;
    restrict(&file, if is_private(mode) { PRIVATE_FILE } else { PUBLIC_FILE })?;
    Ok(file)
}

/// The file has its access list since it was made, and Windows has no numbers of owners.
pub fn settle(_: &File, _: u32, _: Option<Owner>) -> io::Result<()> {
    Ok(())
}

/// Makes a folder. One that was made by another in between stays unchanged.
pub fn make_folder(path: &Path, mode: u32) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(_) if path.is_dir() => return Ok(()),
        made => made?,
    }
    let folder = OpenOptions::new()
        .access_mode(READ_CONTROL | WRITE_DAC)
        .custom_flags(FILE_FLAG_BACKUP_SEMANTICS)
        .open(path)?;
    restrict(&folder, if is_private(mode) { PRIVATE_FOLDER } else { PUBLIC_FOLDER })
}

/// NTFS keeps a journal of its entries; a handle of a folder cannot be flushed.
pub fn flush_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Makes the link `path` to the file `target`: a symbolic one, else a hard one, where the system makes no
/// symbolic ones. The kubelet replaces either when it rotates its certificate.
pub fn link(target: &Path, path: &Path) -> io::Result<()> {
    // Links do not know the other separator.
    let backward = target.to_string_lossy().replace('/', "\\");
    let linked = std::os::windows::fs::symlink_file(&backward, path);
    if linked.is_ok() && fs::symlink_metadata(path).is_ok() {
        return Ok(());
    }
    fs::hard_link(on_drive_of(path, target), path)
}

/// Takes a file away from all users but SYSTEM and Administrators. A link is not followed.
pub fn make_private(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new()
        .access_mode(GENERIC_READ | READ_CONTROL | WRITE_DAC)
        .custom_flags(FILE_FLAG_OPEN_REPARSE_POINT)
        .open(path)?;
    restrict(&file, PRIVATE_FILE)
}

/// There are no files without a name.
pub fn probe_nameless(_: &Path) -> Option<io::Result<()>> {
    None
}

fn is_private(mode: u32) -> bool {
    mode & 0o077 == 0
}

/// Gives an open file or folder this access list.
#[allow(unsafe_code)] // calls of the system that std does not offer
pub(super) fn restrict(file: &File, list: &str) -> io::Result<()> {
    let text = wide(list);
    let mut descriptor: PSECURITY_DESCRIPTOR = null_mut();
    // SAFETY: the text ends with a NUL, and the pointer receives memory that is freed below.
    let made = unsafe {
        ConvertStringSecurityDescriptorToSecurityDescriptorW(
            text.as_ptr(),
            SDDL_REVISION_1,
            &raw mut descriptor,
            null_mut(),
        )
    };
    if made == 0 {
        return Err(io::Error::last_os_error());
    }
    let (mut is_there, mut is_default, mut access): (i32, i32, *mut ACL) = (0, 0, null_mut());
    let what = DACL_SECURITY_INFORMATION | PROTECTED_DACL_SECURITY_INFORMATION;
    // SAFETY: the descriptor is whole and lives until it is freed; the file is open.
    let code = unsafe {
        GetSecurityDescriptorDacl(descriptor, &raw mut is_there, &raw mut access, &raw mut is_default);
        let handle = file.as_raw_handle();
        let code = SetSecurityInfo(handle, SE_FILE_OBJECT, what, null_mut(), null_mut(), access, null_mut());
        LocalFree(descriptor);
        code
    };
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code.cast_signed())) }
}

/// Appends to a device or pipe.
pub fn append(path: &Path, bytes: &[u8]) -> io::Result<()> {
    OpenOptions::new().write(true).open(path)?.write_all(bytes)
}

/// A path without a drive, on the drive of another.
fn on_drive_of(other: &Path, path: &Path) -> PathBuf {
    let drive = other.components().next().filter(|part| matches!(part, Component::Prefix(_)));
    drive.map_or_else(|| path.to_owned(), |drive| Path::new(drive.as_os_str()).join(path))
}
