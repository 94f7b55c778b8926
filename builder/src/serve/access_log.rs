//! The access log: a line for each request, without IDs, tokens and queries. A thread writes it, so that a
//! slow terminal stops no machine.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use contract::text::visible;
use serde_json::json;

use crate::determinism::{Calendar, present};
use crate::error::{IoContext, Result};

/// How many lines may wait to be written; more are lost, and counted.
const MOST_WAITING: usize = 8192;

/// The longest path that is written, in characters.
const LONGEST_PATH: usize = 200;

/// What stands in the place of an ID.
const HIDDEN: &str = "***";

/// Paths before an ID.
const BEFORE_ID: &[&str] = &["/config/", "/report/", "/install-report/"];

/// As many hexadecimal digits in a row may be an ID that a client has put into another path.
const LONGEST_NUMBER: usize = 24;

/// How long the end of the server waits until all is written: nobody may be reading it.
const LAST_LINES: Duration = Duration::from_secs(2);

/// A request that was answered.
#[derive(Debug)]
pub(super) struct Line<'a> {
    pub address: IpAddr,
    pub method: &'a str,
    pub path: &'a str,
    /// Which machine it was, where that is known.
    pub machine: Option<&'a str>,
    pub status: u16,
    /// Of the body, as far as they were sent.
    pub bytes: u64,
    /// Whether these are all of them.
    pub is_whole: bool,
    pub took: Duration,
}

/// The open log.
#[derive(Debug)]
pub(super) struct AccessLog {
    sender: Mutex<Option<SyncSender<String>>>,
    /// Is closed when the last line is written.
    written: Mutex<Receiver<()>>,
    is_json: bool,
    lost: AtomicU64,
}

impl AccessLog {
    /// A log that is appended to the file `path`, or goes to standard output.
    pub fn open(path: Option<&Path>, is_json: bool) -> Result<Self> {
        let to: Box<dyn Write + Send> = match path {
            Some(path) => Box::new(File::options().append(true).create(true).open(path).at("opening", path)?),
            None => Box::new(io::stdout()),
        };
        let (sender, lines) = sync_channel(MOST_WAITING);
        let (open, written) = sync_channel(0);
        std::thread::spawn(move || {
            write(&lines, BufWriter::new(to), |error| super::warn(&format!("the access log: {error}")));
            drop(open);
        });
        let (sender, written) = (Mutex::new(Some(sender)), Mutex::new(written));
        Ok(Self { sender, written, is_json, lost: AtomicU64::new(0) })
    }

    /// Adds a line.
    pub fn add(&self, line: &Line<'_>) {
        let Ok(sender) = self.sender.lock() else { return };
        let Some(sender) = &*sender else { return };
        let lost = self.lost.swap(0, Ordering::Relaxed);
        let text = if self.is_json { line.json(lost).to_string() } else { line.text(lost) };
        if let Err(TrySendError::Full(_)) = sender.try_send(text) {
            self.lost.fetch_add(lost + 1, Ordering::Relaxed);
        }
    }

    /// Writes what waits, as far as somebody takes it, and ends.
    pub fn close(&self) {
        self.sender.lock().ok().and_then(|mut sender| sender.take());
        let _ = self.written.lock().map(|written| written.recv_timeout(LAST_LINES));
    }
}

/// Lines that come close together are written together. The first error is told; what comes later is tried
/// all the same.
fn write(lines: &Receiver<String>, mut to: impl Write, tell: impl Fn(&io::Error)) {
    let mut has_failed = false;
    while let Ok(line) = lines.recv() {
        let more = lines.try_iter().take(MOST_WAITING);
        let mut written = Ok(());
        for line in std::iter::once(line).chain(more) {
            // At once: a line is whole or missing.
            written = written.and(to.write_all(format!("{line}\n").as_bytes()));
        }
        if let Err(error) = written.and(to.flush())
            && !has_failed
        {
            has_failed = true;
            tell(&error);
        }
    }
}

impl Line<'_> {
    fn text(&self, lost: u64) -> String {
        let Self { address, method, status, bytes, .. } = self;
        let time = Calendar::at(present());
        let machine = self.machine.unwrap_or("-");
        let cut = if self.is_whole { "" } else { " cut off" };
        let lost = if lost > 0 { format!(" ({lost} lines before were lost)") } else { String::new() };
        let (path, took) = (shown(self.path), self.took.as_millis());
        format!("{time} {address} {machine} {method} {path} {status} {bytes} {took}ms{cut}{lost}")
    }

    fn json(&self, lost: u64) -> serde_json::Value {
        json!({
            "time": Calendar::at(present()).to_string(),
            "address": self.address,
            "machine": self.machine,
            "method": self.method,
            "path": shown(self.path),
            "status": self.status,
            "bytes": self.bytes,
            "whole": self.is_whole,
            "ms": self.took.as_millis() as u64,
            "lost": lost,
        })
    }
}

/// A path without the ID in it, also if a client has written it in a way that leads nowhere.
fn shown(path: &str) -> String {
    let found = BEFORE_ID.iter().filter_map(|front| Some(path.find(front)? + front.len()));
    let path = match found.min() {
        Some(end) => format!("{}{HIDDEN}", &path[..end]),
        None => without_numbers(path),
    };
    visible(&path, &[]).chars().take(LONGEST_PATH).collect()
}

fn without_numbers(path: &str) -> String {
    let is_digit = |letter: char| letter.is_ascii_hexdigit();
    let (mut shown, mut rest) = (String::with_capacity(path.len()), path);
    while !rest.is_empty() {
        let end = rest.find(|letter| !is_digit(letter)).unwrap_or(rest.len());
        shown.push_str(if end < LONGEST_NUMBER { &rest[..end] } else { HIDDEN });
        let next = rest[end..].find(is_digit).map_or(rest.len(), |next| end + next);
        shown.push_str(&rest[end..next]);
        rest = &rest[next..];
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_not_written_and_strangers_paths_move_no_cursor() {
        for (path, expected) in [
            ("/config/0123456789abcdef", "/config/***"),
            ("/report/x/../y", "/report/***"),
            ("/install-report/", "/install-report/***"),
            ("/boot.ipxe", "/boot.ipxe"),
            ("//config/0123456789abcdef", "//config/***"),
            ("/x/../report/0123456789abcdef", "/x/../report/***"),
            ("/%63onfig/0123456789abcdef0123456789abcdef/x", "/%63onfig/***/x"),
            ("/0123456789abcdef0123456789abcdef", "/***"),
            ("/files/debian-13-pxe/initrd", "/files/debian-13-pxe/initrd"),
            ("/\u{1b}[2J", "/\\u001b[2J"),
        ] {
            assert_eq!(shown(path), expected);
        }
        assert_eq!(shown(&"x".repeat(9999)).len(), LONGEST_PATH);
    }

    #[test]
    fn an_error_is_told_once_and_later_lines_are_written() {
        struct Full<'a>(u8, &'a mut Vec<u8>);
        impl Write for Full<'_> {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                if self.0 > 0 {
                    self.0 -= 1;
                    return Err(io::ErrorKind::StorageFull.into());
                }
                self.1.write(bytes)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (sender, lines) = sync_channel(9);
        ["a", "b", "c"].into_iter().for_each(|line| sender.send(line.to_owned()).unwrap());
        drop(sender);
        let (told, mut written) = (std::cell::Cell::new(0), Vec::new());
        write(&lines, Full(2, &mut written), |_| told.set(told.get() + 1));
        assert_eq!((told.get(), written), (1, b"c\n".to_vec()));
    }

    #[test]
    fn a_line_has_everything_in_order() {
        let line = Line {
            address: IpAddr::from([10, 0, 0, 9]),
            method: "GET",
            path: "/config/7f",
            machine: Some("52:54:00:00:00:01"),
            status: 200,
            bytes: 12,
            is_whole: false,
            took: Duration::from_millis(3),
        };
        let text = line.text(2);
        let (_, rest) = text.split_once(' ').unwrap();
        assert_eq!(
            rest,
            "10.0.0.9 52:54:00:00:00:01 GET /config/*** 200 12 3ms cut off (2 lines before were lost)"
        );
        assert_eq!(line.json(0)["whole"], false);
    }
}
