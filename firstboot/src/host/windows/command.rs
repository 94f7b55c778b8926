//! Runs a program with fixed arguments, without a shell, and with limits on its time and output.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use crate::error::{Context, ErrorKind, Failure, Result};
pub use crate::host::program::Output;
use crate::host::program::shown;
use crate::host::root::Root;

/// Limit on each of the two outputs, in bytes, as [`Output`] says. What is above a limit is read and
/// discarded.
const OUTPUT_LIMIT: usize = 64 * 1024;
/// How often to say that a program still runs.
const NEWS: Duration = Duration::from_secs(30);
/// How often to look whether the program has ended.
const LOOK: Duration = Duration::from_millis(20);

/// Runs `program` (found in PATH) and kills it after `limit`. An exit code other than 0 is not an error here.
pub fn run(program: &str, arguments: &[&str], limit: Duration) -> Result<Output> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    ended(command, &[], &shown(program, arguments), limit, OUTPUT_LIMIT, &|_| {}).map(Output::from)
}

/// The same for a program that takes minutes: `still` is called again and again with how long it has run.
pub(super) fn run_with_news(
    program: &str,
    arguments: &[&str],
    limit: Duration,
    still: &dyn Fn(Duration),
) -> Result<Output> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    ended(command, &[], &shown(program, arguments), limit, OUTPUT_LIMIT, still).map(Output::from)
}

/// The same for an answer that may be a secret: its bytes, at most `most` of them. Arguments are in no
/// message.
pub(super) fn run_raw(program: &str, arguments: &[&str], limit: Duration, most: usize) -> Result<Raw> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    ended(command, &[], &shown(program, &[]), limit, most, &|_| {})
}

/// Runs a plugin of CNI: it gets its request by its standard input, and the rest in its environment
/// (<https://www.cni.dev/docs/spec>).
pub fn run_plugin(
    program: &str,
    environment: &[(&str, &str)],
    request: &[u8],
    limit: Duration,
) -> Result<Output> {
    let mut command = Command::new(program);
    command.envs(environment.iter().copied()).stdin(Stdio::piped());
    ended(command, request, &shown(program, &[]), limit, OUTPUT_LIMIT, &|_| {}).map(Output::from)
}

/// What a program left, as it wrote it.
pub(super) struct Raw {
    pub(super) code: Option<i32>,
    pub(super) stdout: Collected,
    pub(super) stderr: Collected,
}

/// The begin of an output.
#[derive(Default)]
pub(super) struct Collected {
    pub(super) bytes: Zeroizing<Vec<u8>>,
    /// Whether there was more.
    pub(super) is_cut: bool,
}

impl From<Raw> for Output {
    fn from(raw: Raw) -> Self {
        let text = |output: Collected| String::from_utf8_lossy(&output.bytes).into_owned();
        Self { code: raw.code, stdout: text(raw.stdout), stderr: text(raw.stderr) }
    }
}

/// Waits for the program's end. `input` is no longer than what a pipe holds. Of each output, `most` bytes are
/// kept.
fn ended(
    mut command: Command,
    input: &[u8],
    shown: &str,
    limit: Duration,
    most: usize,
    still: &dyn Fn(Duration),
) -> Result<Raw> {
    let doing = || format!("running {shown}");
    let (begin, mut news) = (Instant::now(), NEWS);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().doing(doing())?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that does not read its input says by its end what is wrong.
        let _ = stdin.write_all(input);
    }
    let (out, err) = (
        child.stdout.take().map(|source| collect(source, most)),
        child.stderr.take().map(|source| collect(source, most)),
    );
    let code = loop {
        if let Some(status) = child.try_wait().doing(doing())? {
            break status.code();
        }
        let elapsed = begin.elapsed();
        if elapsed >= news {
            still(elapsed);
            news += NEWS;
        }
        if elapsed >= limit {
            child.kill().and_then(|()| child.wait()).doing(doing())?;
            let message = format!("{}: no end after {} s", doing(), limit.as_secs_f32());
            return Err(Failure::new(ErrorKind::Host, message).transient());
        }
        thread::sleep(LOOK);
    };
    // A program that it started may hold the outputs open.
    let of = |output: Option<mpsc::Receiver<Collected>>| {
        let Some(output) = output else { return Collected::default() };
        let has_no_end = |_| Collected { is_cut: true, ..Collected::default() };
        output.recv_timeout(LOOK * 50).unwrap_or_else(has_no_end)
    };
    Ok(Raw { code, stdout: of(out), stderr: of(err) })
}

/// Like [`run`], and passes each line of standard output to `tell`.
pub fn run_telling(
    program: &str,
    arguments: &[&str],
    limit: Duration,
    tell: &dyn Fn(&str),
) -> Result<Output> {
    let output = run(program, arguments, limit)?;
    output.stdout.lines().for_each(tell);
    Ok(output)
}

/// Like [`run`], but an exit code other than 0 is an error.
pub fn run_checked(program: &str, arguments: &[&str], limit: Duration) -> Result<Output> {
    run(program, arguments, limit)?.checked(program, arguments)
}

/// The path of `program`, from the folders of `path` (in the format of the variable PATH).
pub fn find(root: &Root, path: &str, program: &str) -> Option<PathBuf> {
    path.split(';')
        .map(|folder| root.path(folder).join(format!("{program}.exe")))
        .find(|file| file.is_file())
}

/// Reads an output to its end in a thread, and keeps its first `most` bytes.
fn collect(mut source: impl Read + Send + 'static, most: usize) -> mpsc::Receiver<Collected> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut kept = Collected::default();
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = source.read(&mut buffer) {
            let room = most.saturating_sub(kept.bytes.len());
            kept.bytes.extend_from_slice(&buffer[..count.min(room)]);
            kept.is_cut |= count > room;
        }
        let _ = sender.send(kept);
    });
    receiver
}
