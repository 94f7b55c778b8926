//! A serial console. It keeps every line and writes it to a log, and waits for patterns with a deadline.

use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Number of console lines in a failure.
const SHOWN: usize = 40;

/// Why a wait ended without its pattern.
#[derive(Debug)]
pub struct Failure {
    /// The pattern, and the lines that came instead.
    pub what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.what)
    }
}

#[derive(Debug, Default)]
struct Lines {
    lines: Vec<String>,
    closed: bool,
}

/// The lines that a machine has printed so far.
#[derive(Debug)]
pub struct Console {
    shared: Arc<(Mutex<Lines>, Condvar)>,
    log: PathBuf,
    next: usize,
}

impl Console {
    /// Reads `from` to its end in a new thread, and copies it to the file `log`.
    pub fn follow(from: impl Read + Send + 'static, log: &Path) -> Self {
        let shared: Arc<(Mutex<Lines>, Condvar)> = Arc::default();
        let copy = File::create(log).expect("the log's folder is writable");
        let writer = Arc::clone(&shared);
        thread::spawn(move || read_lines(from, copy, &writer));
        Self { shared, log: log.to_owned(), next: 0 }
    }

    /// The next line, after those already returned, that contains `pattern`.
    pub fn wait_for(&mut self, pattern: &str, patience: Duration) -> Result<String, Failure> {
        let deadline = Instant::now() + patience;
        let (lock, changed) = &*self.shared;
        let mut state = lock.lock().expect("the reader does not panic");
        loop {
            while let Some(line) = state.lines.get(self.next) {
                self.next += 1;
                if line.contains(pattern) {
                    return Ok(line.clone());
                }
                if emulator_fault(line) {
                    return Err(self.failure(
                        &state,
                        format!("waiting for {pattern:?}: the kernel tripped over its own patched text"),
                    ));
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if state.closed || left.is_zero() {
                let why = if state.closed { "the console closed" } else { "the deadline passed" };
                return Err(self.failure(&state, format!("waiting for {pattern:?}: {why}")));
            }
            state = changed.wait_timeout(state, left).expect("the reader does not panic").0;
        }
    }

    /// Every line so far.
    pub fn lines(&self) -> Vec<String> {
        self.shared.0.lock().expect("the reader does not panic").lines.clone()
    }

    /// Whether the lines show the emulator's known fault, which is not a fault of the tested image.
    pub fn tells_emulator_fault(&self) -> bool {
        self.lines().iter().any(|line| emulator_fault(line))
    }

    fn failure(&self, state: &Lines, what: String) -> Failure {
        let tail = state.lines[state.lines.len().saturating_sub(SHOWN)..].join("\n  | ");
        Failure { what: format!("{what}; {} ends:\n  | {tail}", self.log.display()) }
    }
}

/// With QEMU's multi-threaded TCG, a kernel sometimes runs into the breakpoint with which it patches its own
/// text. Only this fault is worth another try.
fn emulator_fault(line: &str) -> bool {
    line.contains("Oops: int3")
}

fn read_lines(from: impl Read, mut copy: File, shared: &(Mutex<Lines>, Condvar)) {
    let (lock, changed) = shared;
    let mut reader = BufReader::new(from);
    let mut bytes = Vec::new();
    while reader.read_until(b'\n', &mut bytes).is_ok_and(|count| count > 0) {
        // A full disk must not stop the reading: the lines in memory are what tests look at.
        let _ = copy.write_all(&bytes);
        let line = without_escapes(&String::from_utf8_lossy(&bytes));
        lock.lock().expect("no holder panics").lines.push(line.trim_end().to_owned());
        changed.notify_all();
        bytes.clear();
    }
    lock.lock().expect("no holder panics").closed = true;
    changed.notify_all();
}

/// `line` without the terminal's control sequences (ECMA-48 §5.4), because systemd colors unit names.
fn without_escapes(line: &str) -> String {
    let mut pieces = line.split("\u{1b}[");
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let end = piece.find(|c: char| ('@'..='~').contains(&c)).map_or(piece.len(), |end| end + 1);
        plain.push_str(&piece[end..]);
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn console(text: &'static str) -> (Console, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        (Console::follow(text.as_bytes(), &folder.path().join("log")), folder)
    }

    #[test]
    fn lines_are_found_in_order_and_each_once() {
        let (mut console, _folder) = console("one\ntwo a\ntwo b\n");
        assert_eq!(console.wait_for("two", Duration::from_secs(5)).unwrap(), "two a");
        assert_eq!(console.wait_for("two", Duration::from_secs(5)).unwrap(), "two b");
        let failure = console.wait_for("one", Duration::from_secs(5)).unwrap_err();
        assert!(
            failure.what.contains("the console closed")
                && failure.what.contains("two b")
                && !console.tells_emulator_fault(),
            "{failure}"
        );
    }

    #[test]
    fn only_the_known_fault_of_the_emulator_is_one() {
        let (mut console, _folder) = console("[    2.1] Oops: int3: 0000 [#1] PREEMPT SMP\n");
        assert!(console.wait_for("login", Duration::from_secs(5)).is_err() && console.tells_emulator_fault());
        assert!(!emulator_fault("[    2.1] Oops: general protection fault"));
    }

    #[test]
    fn colours_do_not_hide_what_is_said() {
        let line = "[\u{1b}[0;32m  OK  \u{1b}[0m] Reached target \u{1b}[0;1;39mmulti-user.target\u{1b}[0m";
        assert_eq!(without_escapes(line), "[  OK  ] Reached target multi-user.target");
    }

    #[test]
    fn a_silent_console_runs_into_the_deadline() {
        let (reader, _writer) = std::io::pipe().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut console = Console::follow(reader, &folder.path().join("log"));
        let failure = console.wait_for("anything", Duration::from_millis(50)).unwrap_err();
        assert!(failure.what.contains("the deadline passed"), "{failure}");
    }
}
