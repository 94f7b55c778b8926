//! Who owns files: what a plain user made is told from what the system and its administrators made.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::windows::fs::{MetadataExt, OpenOptionsExt};
use std::os::windows::io::AsRawHandle;
use std::path::Path;
use std::ptr::null_mut;

use windows_sys::Win32::Foundation::{CloseHandle, HANDLE, LocalFree};
use windows_sys::Win32::Security::Authorization::{
    ConvertSidToStringSidW, ConvertStringSidToSidW, GetSecurityInfo, SE_FILE_OBJECT, SetSecurityInfo,
};
use windows_sys::Win32::Security::{
    EqualSid, GetTokenInformation, IsWellKnownSid, OWNER_SECURITY_INFORMATION, PSID, TOKEN_QUERY, TOKEN_USER,
    TokenUser, WinBuiltinAdministratorsSid, WinLocalSystemSid,
};
use windows_sys::Win32::Storage::FileSystem::{
    FILE_ATTRIBUTE_REPARSE_POINT, FILE_FLAG_BACKUP_SEMANTICS, FILE_FLAG_OPEN_REPARSE_POINT,
    FILE_READ_ATTRIBUTES, READ_CONTROL, WRITE_DAC, WRITE_OWNER,
};
use windows_sys::Win32::System::Threading::{GetCurrentProcess, OpenProcessToken};

use super::access::{PUBLIC_FOLDER, restrict};
use super::wide::{pointed, wide};

/// Administrators, by number.
const ADMINISTRATORS: &str = "S-1-5-32-544";
/// The servicing of Windows (TrustedInstaller).
const SERVICING: &str = "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464";
/// Room for a user of a token, in units of 8 bytes.
const TOKEN_ROOM: usize = 32;

/// What an entry of a folder is, with its owner.
#[derive(Debug, PartialEq, Eq)]
pub struct Ownership {
    /// Whether it leads elsewhere: a symbolic link, a junction, a mount point.
    pub is_link: bool,
    /// Whether it is a folder.
    pub is_folder: bool,
    /// Another owner than the system, its administrators, its servicing and this process, by number.
    pub stranger: Option<String>,
}

/// Whose an entry is. A link is not followed.
pub fn ownership(path: &Path) -> io::Result<Ownership> {
    let entry = open_itself(path, READ_CONTROL | FILE_READ_ATTRIBUTES)?;
    let about = entry.metadata()?;
    Ok(Ownership {
        is_link: about.file_attributes() & FILE_ATTRIBUTE_REPARSE_POINT != 0,
        is_folder: about.is_dir(),
        stranger: stranger(&entry)?,
    })
}

/// Gives a folder to Administrators, and takes it away from everybody else but SYSTEM; Users may read.
#[allow(unsafe_code)] // calls of the system that std does not offer
pub fn take_folder(path: &Path) -> io::Result<()> {
    let folder = open_itself(path, READ_CONTROL | WRITE_DAC | WRITE_OWNER)?;
    let text = wide(ADMINISTRATORS);
    let mut owner: PSID = null_mut();
    // SAFETY: the text ends with a NUL; the folder is open; the memory is freed once.
    let code = unsafe {
        if ConvertStringSidToSidW(text.as_ptr(), &raw mut owner) == 0 {
            return Err(io::Error::last_os_error());
        }
        let (handle, what) = (folder.as_raw_handle(), OWNER_SECURITY_INFORMATION);
        let code = SetSecurityInfo(handle, SE_FILE_OBJECT, what, owner, null_mut(), null_mut(), null_mut());
        LocalFree(owner);
        code
    };
    if code != 0 {
        return Err(io::Error::from_raw_os_error(code.cast_signed()));
    }
    restrict(&folder, PUBLIC_FOLDER)
}

fn open_itself(path: &Path, rights: u32) -> io::Result<File> {
    OpenOptions::new()
        .access_mode(rights)
        .custom_flags(FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OPEN_REPARSE_POINT)
        .open(path)
}

/// The number of the owner, if it is a stranger.
#[allow(unsafe_code)] // calls of the system that std does not offer
fn stranger(entry: &File) -> io::Result<Option<String>> {
    let (mut owner, mut descriptor): (PSID, _) = (null_mut(), null_mut());
    // SAFETY: the entry is open, the pointers outlive the call, and the descriptor, in which the owner is,
    // lives until it is freed.
    unsafe {
        let code = GetSecurityInfo(
            entry.as_raw_handle(),
            SE_FILE_OBJECT,
            OWNER_SECURITY_INFORMATION,
            &raw mut owner,
            null_mut(),
            null_mut(),
            null_mut(),
            &raw mut descriptor,
        );
        if code != 0 {
            return Err(io::Error::from_raw_os_error(code.cast_signed()));
        }
        if owner.is_null() {
            LocalFree(descriptor);
            return Ok(Some("nobody".to_owned()));
        }
        let number = number(owner);
        let is_known = IsWellKnownSid(owner, WinLocalSystemSid) != 0
            || IsWellKnownSid(owner, WinBuiltinAdministratorsSid) != 0
            || number == SERVICING
            || is_own(owner);
        LocalFree(descriptor);
        Ok((!is_known).then_some(number))
    }
}

/// The user of this process, who is an administrator.
///
/// # Safety
/// The pointer is to a number of the system.
#[allow(unsafe_code)]
unsafe fn is_own(owner: PSID) -> bool {
    let mut token: HANDLE = null_mut();
    let mut room = [0_u64; TOKEN_ROOM];
    let (user, length) = (room.as_mut_ptr().cast::<TOKEN_USER>(), size_of_val(&room) as u32);
    let mut needed = 0;
    // SAFETY: the room is aligned, as long as it says, and outlives the use of what the system put there; the
    // token is closed once.
    unsafe {
        if OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &raw mut token) == 0 {
            return false;
        }
        let is_read = GetTokenInformation(token, TokenUser, user.cast(), length, &raw mut needed) != 0;
        CloseHandle(token);
        is_read && EqualSid(owner, (*user).User.Sid) != 0
    }
}

/// `S-1-5-18`
///
/// # Safety
/// The pointer is to a number of the system.
#[allow(unsafe_code)]
unsafe fn number(owner: PSID) -> String {
    let mut text = null_mut();
    // SAFETY: by the caller's promise; the text is freed once.
    unsafe {
        if ConvertSidToStringSidW(owner, &raw mut text) == 0 {
            return "nobody".to_owned();
        }
        let number = pointed(text);
        LocalFree(text.cast());
        number
    }
}
