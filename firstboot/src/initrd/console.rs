//! Messages to the kernel log, hence to the consoles and later to the journal, with the kernel's time stamps.
//!
//! With `quiet` on the command line the console shows failures only.

use std::fs::OpenOptions;
use std::io::Write;

/// Says what was done.
pub fn say(text: &str) {
    write(6, text);
}

/// Says what went wrong without stopping the boot.
pub fn warn(text: &str) {
    write(4, text);
}

/// Says why the boot stops; visible with `quiet` too.
pub fn fail(text: &str) {
    write(2, text);
}

/// `priority` as in syslog(3). The device is opened anew for each message because the kernel limits the rate of each opening.
fn write(priority: u8, text: &str) {
    let line = format!("<{priority}>kiln: {text}\n");
    let written = OpenOptions::new()
        .write(true)
        .open("/dev/kmsg")
        .and_then(|mut log| log.write_all(line.as_bytes()));
    if written.is_err() {
        eprint!("kiln: {text}\r\n");
    }
}
