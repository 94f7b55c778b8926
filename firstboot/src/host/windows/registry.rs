//! Values of the registry.

use std::io;
use std::ptr::{null, null_mut};

use windows_sys::Win32::Foundation::{ERROR_FILE_NOT_FOUND, ERROR_MORE_DATA, ERROR_SUCCESS};
use windows_sys::Win32::System::Registry::{
    HKEY, HKEY_LOCAL_MACHINE, KEY_READ, KEY_WOW64_64KEY, KEY_WRITE, REG_DWORD, REG_EXPAND_SZ, REG_MULTI_SZ,
    REG_OPEN_CREATE_OPTIONS, REG_OPTION_NON_VOLATILE, REG_OPTION_VOLATILE, REG_SZ, RegCloseKey,
    RegCreateKeyExW, RegDeleteTreeW, RegEnumValueW, RegOpenKeyExW, RegQueryValueExW, RegSetValueExW,
};
use zeroize::Zeroizing;

use crate::os::wide::{narrow, wide};

/// The longest name of a value, and its NUL (registry element size limits).
const LONGEST_NAME: usize = 16_384;
/// Limit on a value, in bytes.
const LONGEST: usize = 1 << 20;

/// An open key below HKEY_LOCAL_MACHINE.
pub(super) struct Key(HKEY);

impl Key {
    /// Opens a key to read it; none if it is not there or may not be read.
    pub(super) fn open(path: &str) -> Option<Self> {
        Self::open_for(path, KEY_READ).ok()
    }

    #[allow(unsafe_code)] // a call of the system that std does not offer
    fn open_for(path: &str, rights: u32) -> io::Result<Self> {
        let (path, mut key) = (wide(path), null_mut());
        let rights = rights | KEY_WOW64_64KEY;
        // SAFETY: the text ends with a NUL, and the pointer receives the handle.
        let code = unsafe { RegOpenKeyExW(HKEY_LOCAL_MACHINE, path.as_ptr(), 0, rights, &raw mut key) };
        done(code).map(|()| Self(key))
    }

    /// Opens a key to change it, and makes it if it is missing.
    pub(super) fn make(path: &str) -> io::Result<Self> {
        Self::make_as(path, REG_OPTION_NON_VOLATILE)
    }

    /// The same, but a new key is gone when Windows ends.
    pub(super) fn make_until_restart(path: &str) -> io::Result<Self> {
        Self::make_as(path, REG_OPTION_VOLATILE)
    }

    #[allow(unsafe_code)] // a call of the system that std does not offer
    fn make_as(path: &str, options: REG_OPEN_CREATE_OPTIONS) -> io::Result<Self> {
        let (path, mut key) = (wide(path), null_mut());
        let rights = KEY_READ | KEY_WRITE | KEY_WOW64_64KEY;
        // SAFETY: the text ends with a NUL, and the pointer receives the handle.
        let code = unsafe {
            RegCreateKeyExW(
                HKEY_LOCAL_MACHINE,
                path.as_ptr(),
                0,
                null(),
                options,
                rights,
                null(),
                &raw mut key,
                null_mut(),
            )
        };
        done(code).map(|()| Self(key))
    }

    /// A text, or the texts of a list one after another.
    pub(super) fn texts(&self, name: &str) -> Vec<String> {
        let Some((kind, bytes)) = self.value(name) else { return Vec::new() };
        if !matches!(kind, REG_SZ | REG_EXPAND_SZ | REG_MULTI_SZ) {
            return Vec::new();
        }
        units(&bytes)
            .split(|unit| *unit == 0)
            .filter(|text| !text.is_empty())
            .map(narrow)
            .collect()
    }

    /// A text; none if it is empty, or of another kind.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.texts(name).into_iter().next()
    }

    /// A number of 32 bits.
    pub(super) fn number(&self, name: &str) -> Option<u32> {
        let (kind, bytes) = self.value(name)?;
        (kind == REG_DWORD)
            .then(|| bytes.first_chunk().map(|bytes| u32::from_le_bytes(*bytes)))
            .flatten()
    }

    /// The kind and the bytes of a value, which may be secret.
    #[allow(unsafe_code)] // a call of the system that std does not offer
    pub(super) fn value(&self, name: &str) -> Option<(u32, Zeroizing<Vec<u8>>)> {
        let name = wide(name);
        let mut length = 4096;
        loop {
            let mut bytes = Zeroizing::new(vec![0; length]);
            let mut kind = 0;
            let mut filled = u32::try_from(length).ok()?;
            // SAFETY: the buffer is as long as it says, and all pointers outlive the call.
            let code = unsafe {
                let buffer = bytes.as_mut_ptr();
                RegQueryValueExW(self.0, name.as_ptr(), null(), &raw mut kind, buffer, &raw mut filled)
            };
            match code {
                ERROR_SUCCESS => {
                    bytes.truncate(filled as usize);
                    return Some((kind, bytes));
                }
                ERROR_MORE_DATA if filled as usize > length && filled as usize <= LONGEST => {
                    length = filled as usize;
                }
                _ => return None,
            }
        }
    }

    /// The names of the values, in the order of the registry.
    #[allow(unsafe_code)] // a call of the system that std does not offer
    pub(super) fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        let mut buffer = vec![0_u16; LONGEST_NAME];
        for number in 0.. {
            let mut length = LONGEST_NAME as u32;
            // SAFETY: the buffer is as long as it says, and the pointers outlive the call.
            let code = unsafe {
                RegEnumValueW(
                    self.0,
                    number,
                    buffer.as_mut_ptr(),
                    &raw mut length,
                    null(),
                    null_mut(),
                    null_mut(),
                    null_mut(),
                )
            };
            if code != ERROR_SUCCESS {
                break;
            }
            names.push(String::from_utf16_lossy(&buffer[..length as usize]));
        }
        names
    }

    /// Sets a text.
    pub(super) fn set_text(&self, name: &str, text: &str) -> io::Result<()> {
        let bytes: Vec<u8> = wide(text).into_iter().flat_map(u16::to_le_bytes).collect();
        self.set(name, REG_SZ, &bytes)
    }

    /// Sets a number.
    pub(super) fn set_number(&self, name: &str, number: u32) -> io::Result<()> {
        self.set(name, REG_DWORD, &number.to_le_bytes())
    }

    #[allow(unsafe_code)] // a call of the system that std does not offer
    fn set(&self, name: &str, kind: u32, bytes: &[u8]) -> io::Result<()> {
        let name = wide(name);
        let length = u32::try_from(bytes.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        // SAFETY: the key is open, the name ends with a NUL, the value is as long as it says.
        done(unsafe { RegSetValueExW(self.0, name.as_ptr(), 0, kind, bytes.as_ptr(), length) })
    }
}

impl Drop for Key {
    #[allow(unsafe_code)] // a call of the system that std does not offer
    fn drop(&mut self) {
        // SAFETY: the key was opened and is closed once.
        unsafe { RegCloseKey(self.0) };
    }
}

/// Removes a key with all below it. A missing one is no error.
#[allow(unsafe_code)] // a call of the system that std does not offer
pub(super) fn remove(path: &str) -> io::Result<()> {
    let path = wide(path);
    // SAFETY: the text ends with a NUL.
    match unsafe { RegDeleteTreeW(HKEY_LOCAL_MACHINE, path.as_ptr()) } {
        ERROR_FILE_NOT_FOUND => Ok(()),
        code => done(code),
    }
}

/// The units of a value's text.
pub(super) fn units(bytes: &[u8]) -> Vec<u16> {
    bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect()
}

fn done(code: u32) -> io::Result<()> {
    if code == ERROR_SUCCESS { Ok(()) } else { Err(io::Error::from_raw_os_error(code.cast_signed())) }
}
