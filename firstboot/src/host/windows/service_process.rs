//! The agent as a service: the service manager starts the process and gives it a thread
//! (<https://learn.microsoft.com/windows/win32/services/service-servicemain-function>).

use std::io;
use std::ptr::null_mut;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicIsize, Ordering};
use std::time::Duration;

use windows_sys::Win32::Foundation::{
    ERROR_CALL_NOT_IMPLEMENTED, ERROR_FAILED_SERVICE_CONTROLLER_CONNECT, ERROR_SERVICE_SPECIFIC_ERROR,
    NO_ERROR,
};
use windows_sys::Win32::System::Services::{
    RegisterServiceCtrlHandlerExW, SERVICE_ACCEPT_SHUTDOWN, SERVICE_ACCEPT_STOP, SERVICE_CONTROL_INTERROGATE,
    SERVICE_CONTROL_SHUTDOWN, SERVICE_CONTROL_STOP, SERVICE_RUNNING, SERVICE_START_PENDING, SERVICE_STATUS,
    SERVICE_STATUS_CURRENT_STATE, SERVICE_STATUS_HANDLE, SERVICE_STOP_PENDING, SERVICE_STOPPED,
    SERVICE_TABLE_ENTRYW, SERVICE_WIN32_OWN_PROCESS, SetServiceStatus, StartServiceCtrlDispatcherW,
};

use crate::os::wide::wide;

/// The agent's service.
pub const NAME: &str = "firstboot";
/// What the manager may expect between two reports, in milliseconds.
const PATIENCE: u32 = 30_000;

/// What the manager needs to hear the answer to a stop.
const ANSWER: Duration = Duration::from_millis(200);

/// The work of the service, which returns its exit code.
static WORK: OnceLock<fn() -> u8> = OnceLock::new();
/// The handle for reports, once the service has begun.
static REPORTS: AtomicIsize = AtomicIsize::new(0);

/// Runs `work` as the service that the manager has started this process for; false if the process was
/// started by hand.
#[allow(unsafe_code)] // a call of the system that std does not offer
pub fn run(work: fn() -> u8) -> io::Result<bool> {
    let _ = WORK.set(work);
    let mut name = wide(NAME);
    let table = [
        SERVICE_TABLE_ENTRYW { lpServiceName: name.as_mut_ptr(), lpServiceProc: Some(begin) },
        SERVICE_TABLE_ENTRYW { lpServiceName: null_mut(), lpServiceProc: None },
    ];
    // SAFETY: the table and its name outlive the call, which returns when the service has ended.
    if unsafe { StartServiceCtrlDispatcherW(table.as_ptr()) } != 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() == Some(ERROR_FAILED_SERVICE_CONTROLLER_CONNECT.cast_signed()) {
        true => Ok(false),
        false => Err(error),
    }
}

/// The thread of the service.
#[allow(unsafe_code)] // the system calls it
unsafe extern "system" fn begin(_: u32, _: *mut *mut u16) {
    let name = wide(NAME);
    // SAFETY: the name ends with a NUL, and the function has the form that the system expects.
    let reports = unsafe { RegisterServiceCtrlHandlerExW(name.as_ptr(), Some(control), null_mut()) };
    REPORTS.store(reports as isize, Ordering::Release);
    report(SERVICE_START_PENDING, 0);
    report(SERVICE_RUNNING, 0);
    let code = WORK.get().map_or(1, |work| work());
    report(SERVICE_STOPPED, code);
}

/// Stopping ends the process: the agent keeps its place on the disk and goes on there at its next start.
#[allow(unsafe_code)] // the system calls it
unsafe extern "system" fn control(
    wish: u32,
    _: u32,
    _: *mut std::ffi::c_void,
    _: *mut std::ffi::c_void,
) -> u32 {
    match wish {
        SERVICE_CONTROL_STOP | SERVICE_CONTROL_SHUTDOWN => {
            report(SERVICE_STOP_PENDING, 0);
            // The manager waits for this function to return.
            std::thread::spawn(|| {
                std::thread::sleep(ANSWER);
                report(SERVICE_STOPPED, 0);
                std::process::exit(0)
            });
            NO_ERROR
        }
        SERVICE_CONTROL_INTERROGATE => NO_ERROR,
        _ => ERROR_CALL_NOT_IMPLEMENTED,
    }
}

#[allow(unsafe_code)] // a call of the system that std does not offer
fn report(state: SERVICE_STATUS_CURRENT_STATE, code: u8) {
    let is_waiting = matches!(state, SERVICE_START_PENDING | SERVICE_STOP_PENDING);
    let status = SERVICE_STATUS {
        dwServiceType: SERVICE_WIN32_OWN_PROCESS,
        dwCurrentState: state,
        dwControlsAccepted: if state == SERVICE_RUNNING {
            SERVICE_ACCEPT_STOP | SERVICE_ACCEPT_SHUTDOWN
        } else {
            0
        },
        dwWin32ExitCode: if code == 0 { NO_ERROR } else { ERROR_SERVICE_SPECIFIC_ERROR },
        dwServiceSpecificExitCode: u32::from(code),
        dwCheckPoint: 0,
        dwWaitHint: if is_waiting { PATIENCE } else { 0 },
    };
    let reports = REPORTS.load(Ordering::Acquire) as SERVICE_STATUS_HANDLE;
    // SAFETY: the handle is the manager's, and the structure outlives the call.
    unsafe { SetServiceStatus(reports, &raw const status) };
}
