//! The agent's own process.

use std::fs::OpenOptions;
use std::os::windows::io::IntoRawHandle;
use std::path::Path;

use windows_sys::Win32::System::Console::{STD_ERROR_HANDLE, STD_OUTPUT_HANDLE, SetStdHandle};
#[cfg(target_arch = "x86_64")]
use windows_sys::Win32::{
    Foundation::EXCEPTION_PRIV_INSTRUCTION,
    System::Diagnostics::Debug::{
        AddVectoredExceptionHandler, EXCEPTION_CONTINUE_EXECUTION, EXCEPTION_CONTINUE_SEARCH,
        EXCEPTION_POINTERS, RemoveVectoredExceptionHandler,
    },
};

use crate::error::Context;
use crate::host::files;

/// Windows writes no dump of a process unless the operator asks for dumps of this very program.
pub fn keep_out_of_cores() {}

/// Whether this process may use I/O ports, as `attempt` does, which tells whether it was answered.
///
/// Windows gives no program the permission. A hypervisor usually answers anyway, but its settings may forbid
/// it (`monitor_control.restrict_backdoor`): then the instruction is an exception, which would end the
/// process.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)] // calls of the system that std does not offer
pub(crate) fn may_use_ports(attempt: fn() -> bool) -> bool {
    // SAFETY: the handler keeps to what such handlers may do, and is removed before this returns.
    unsafe {
        let handler = AddVectoredExceptionHandler(1, Some(skip_refused_port));
        let is_answered = !handler.is_null() && attempt();
        RemoveVectoredExceptionHandler(handler);
        is_answered
    }
}

/// Goes on behind `in eax, dx` where the processor refuses it. No register changes.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)] // the system hands out pointers
unsafe extern "system" fn skip_refused_port(exception: *mut EXCEPTION_POINTERS) -> i32 {
    const IN_EAX_DX: u8 = 0xed;
    // SAFETY: the system fills in both structures, and the instruction at that address was just read.
    unsafe {
        let EXCEPTION_POINTERS { ExceptionRecord: record, ContextRecord: context } = *exception;
        let is_refused = (*record).ExceptionCode == EXCEPTION_PRIV_INSTRUCTION;
        if !is_refused || *((*context).Rip as *const u8) != IN_EAX_DX {
            return EXCEPTION_CONTINUE_SEARCH;
        }
        (*context).Rip += 1;
    }
    EXCEPTION_CONTINUE_EXECUTION
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
