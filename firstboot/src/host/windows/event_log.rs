//! The verdict of a run for operators: Windows' event log, and the first serial port, which clouds show as
//! the machine's console.

use std::ptr::{null, null_mut};

use windows_sys::Win32::System::EventLog::{
    DeregisterEventSource, EVENTLOG_ERROR_TYPE, EVENTLOG_INFORMATION_TYPE, RegisterEventSourceW, ReportEventW,
};

use super::registry::{self, Key};
use super::service_process::NAME;
use crate::error::{Context, Result};
use crate::os;
use crate::os::wide::wide;

/// The source of the events in the log `Application`.
const SOURCE: &str = r"SYSTEM\CurrentControlSet\Services\EventLog\Application\firstboot";
/// A file of messages whose texts are what the event says, which is part of every Windows with .NET 4.
const MESSAGES: &str = r"%SystemRoot%\Microsoft.NET\Framework64\v4.0.30319\EventLogMessages.dll";
/// The number of the event.
const VERDICT: u32 = 1;
const CONSOLE: &str = r"\\.\COM1";
/// The longest text of an event, in units.
const LONGEST: usize = 31_000;

/// Makes the source known, so that the log shows the text alone.
pub fn register() -> Result<()> {
    let made = Key::make(SOURCE).and_then(|key| {
        key.set_text("EventMessageFile", MESSAGES)?;
        key.set_number("TypesSupported", 7)
    });
    made.doing("making the source of the event log")
}

/// Removes the source.
pub fn unregister() -> Result<()> {
    registry::remove(SOURCE).doing("removing the source of the event log")
}

/// Says the verdict to both. Nothing depends on it: a machine may have no serial port.
pub fn say(text: &str, is_failure: bool) {
    let _ = os::append(CONSOLE.as_ref(), format!("{text}\r\n").as_bytes());
    log(text, is_failure);
}

#[allow(unsafe_code)] // calls of the system that std does not offer
fn log(text: &str, is_failure: bool) {
    let source = wide(NAME);
    let mut message = wide(text);
    if message.len() > LONGEST {
        message.truncate(LONGEST);
        message.push(0);
    }
    let kind = if is_failure { EVENTLOG_ERROR_TYPE } else { EVENTLOG_INFORMATION_TYPE };
    let texts = [message.as_ptr()];
    // SAFETY: the texts end with NULs and outlive the calls; the handle is closed once.
    unsafe {
        let log = RegisterEventSourceW(null(), source.as_ptr());
        if !log.is_null() {
            ReportEventW(log, kind, 0, VERDICT, null_mut(), 1, 0, texts.as_ptr(), null());
            DeregisterEventSource(log);
        }
    }
}
