//! The agent's own process.

use std::fs::OpenOptions;
use std::os::windows::io::IntoRawHandle;
use std::path::Path;

use windows_sys::Win32::System::Console::{STD_ERROR_HANDLE, STD_OUTPUT_HANDLE, SetStdHandle};

use crate::error::Context;
use crate::host::files;

/// Windows writes no dump of a process unless the operator asks for dumps of this very program.
pub fn keep_out_of_cores() {}

/// Windows has no permission for ports: the hypervisor sees the instruction of any process.
pub(crate) fn may_use_ports(_: fn() -> bool) -> bool {
    true
}

/// Sends what this process says to the end of a file, because a service has no console. Without the file,
/// nothing is said.
#[allow(unsafe_code)] // a call of the system that std does not offer
pub(crate) fn log_to(path: &Path) {
    let folder = path.parent().unwrap_or(path);
    let opened = files::make_folder(folder, 0o755)
        .and_then(|()| OpenOptions::new().append(true).create(true).open(path).doing("opening the log"));
    if let Ok(file) = opened {
        let handle = file.into_raw_handle();
        // SAFETY: the handle is open and stays so until the process ends.
        unsafe {
            SetStdHandle(STD_OUTPUT_HANDLE, handle);
            SetStdHandle(STD_ERROR_HANDLE, handle);
        }
    }
}
