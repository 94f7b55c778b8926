//! Writes messages to the kernel log. They appear on the consoles and later in systemd's journal, with the
//! kernel's time stamps.
//!
//! With `quiet` on the command line the console shows only failures.

use crate::paths;
use crate::text::visible;
use std::fs::OpenOptions;
use std::io::Write;

/// Prints what was done.
pub fn say(text: &str) {
    write(6, text);
}

/// Prints a problem that does not stop the boot.
pub fn warn(text: &str) {
    write(4, text);
}

/// Prints why the boot stops, even with `quiet`.
pub fn fail(text: &str) {
    write(2, text);
}

/// `priority` is syslog(3)'s. The device is opened for each message, because the kernel limits the message
/// rate of each open file.
fn write(priority: u8, text: &str) {
    let text = visible(text, &[]);
    let line = format!("<{priority}>kiln: {text}\n");
    let written = OpenOptions::new()
        .write(true)
        .open(paths::KMSG)
        .and_then(|mut log| log.write_all(line.as_bytes()));
    if written.is_err() {
        eprint!("kiln: {text}\r\n");
    }
}
