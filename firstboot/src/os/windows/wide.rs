//! Texts as Windows takes and gives them: UTF-16 that ends with a NUL.

use std::ffi::OsStr;
use std::os::windows::ffi::OsStrExt;

/// The text with its NUL.
pub(crate) fn wide(text: impl AsRef<OsStr>) -> Vec<u16> {
    text.as_ref().encode_wide().chain([0]).collect()
}

/// The text up to the first NUL.
pub(crate) fn narrow(text: &[u16]) -> String {
    let end = text.iter().position(|unit| *unit == 0).unwrap_or(text.len());
    String::from_utf16_lossy(&text[..end])
}

/// The text behind a pointer of the system.
///
/// # Safety
/// The pointer is null, or to a text that ends with a NUL.
#[allow(unsafe_code)]
pub(crate) unsafe fn pointed(text: *const u16) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: by the caller's promise, a NUL comes before the end.
    let units = unsafe {
        let length = (0..).take_while(|at| *text.add(*at) != 0).count();
        std::slice::from_raw_parts(text, length)
    };
    String::from_utf16_lossy(units)
}
