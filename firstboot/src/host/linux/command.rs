//! Runs a program with fixed arguments, without a shell, and with limits on its time and output.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::error::{Context, ErrorKind, Failure, Result};
pub use crate::host::program::Output;
use crate::host::program::shown;
use crate::host::root::Root;

/// Limit on each of the two outputs, in bytes, as [`Output`] says. The rest is read and discarded.
const OUTPUT_LIMIT: usize = 64 * 1024;

/// How often to check a program whose outputs stay open, for example because its daemon holds them.
const LOOK: Duration = Duration::from_millis(20);

/// Runs `program` (found in PATH) and kills it after `limit`. An exit code other than 0 is not an error here.
pub fn run(program: &str, arguments: &[&str], limit: Duration) -> Result<Output> {
    run_telling(program, arguments, limit, &|_| {})
}

/// Like [`run`], and passes each line of standard output to `tell` as soon as it is there.
pub fn run_telling(
    program: &str,
    arguments: &[&str],
    limit: Duration,
    tell: &dyn Fn(&str),
) -> Result<Output> {
    let doing = || format!("running {}", shown(program, arguments));
    let deadline = Instant::now() + limit;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().doing(doing())?;
    match collect(&mut child, deadline, tell).doing(doing())? {
        Some(output) => Ok(output),
        None => {
            Err(Failure::new(ErrorKind::Host, format!("{}: no end after {} s", doing(), limit.as_secs_f32()))
                .transient())
        }
    }
}

/// Like [`run`], but an exit code other than 0 is an error.
pub fn run_checked(program: &str, arguments: &[&str], limit: Duration) -> Result<Output> {
    run(program, arguments, limit)?.checked(program, arguments)
}

/// The path of `program`, from the folders of `path` (in the format of the variable PATH) below `root`.
pub fn find(root: &Root, path: &str, program: &str) -> Option<PathBuf> {
    let folders = path.split(':').filter(|folder| folder.starts_with('/'));
    folders
        .map(|folder| root.path(Path::new(folder).join(program)))
        .find(|file| is_executable(file))
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0)
}

/// Reads both outputs until the program has ended. None if the deadline came first; then the program was
/// killed.
fn collect(child: &mut Child, deadline: Instant, tell: &dyn Fn(&str)) -> io::Result<Option<Output>> {
    let mut told = 0;
    let (mut out, mut err) = (Pipe::new(child.stdout.take())?, Pipe::new(child.stderr.take())?);
    loop {
        out.drain()?;
        err.drain()?;
        told = tell_lines(&out.kept, told, tell);
        if let Some(status) = child.try_wait()? {
            out.drain()?;
            err.drain()?;
            tell_lines(&out.kept, told, tell);
            return Ok(Some(output(status, out, err)));
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        rest(&out, &err, deadline)?;
    }
}

/// Tells the whole lines behind `told`, and returns where the rest begins.
fn tell_lines(bytes: &[u8], told: usize, tell: &dyn Fn(&str)) -> usize {
    let new = bytes.get(told..).unwrap_or_default();
    let end = new.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    String::from_utf8_lossy(&new[..end]).lines().for_each(tell);
    told + end
}

fn output(status: ExitStatus, out: Pipe<impl Read>, err: Pipe<impl Read>) -> Output {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Output { code: status.code(), stdout: text(out.kept), stderr: text(err.kept) }
}

/// Sleeps until one of the outputs has data or is closed, or the next check is due.
fn rest(out: &Pipe<impl AsFd>, err: &Pipe<impl AsFd>, deadline: Instant) -> io::Result<()> {
    let mut waits: Vec<PollFd> = [out.open().map(AsFd::as_fd), err.open().map(AsFd::as_fd)]
        .into_iter()
        .flatten()
        .map(|descriptor| PollFd::new(descriptor, PollFlags::POLLIN))
        .collect();
    // Both are closed, so the program is about to end.
    let longest = if waits.is_empty() { Duration::from_millis(1) } else { LOOK };
    let pause = deadline
        .saturating_duration_since(Instant::now())
        .min(longest)
        .max(Duration::from_millis(1));
    match poll(&mut waits, PollTimeout::try_from(pause).unwrap_or(PollTimeout::ZERO)) {
        Ok(_) | Err(nix::Error::EINTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// One output of a program.
struct Pipe<R> {
    source: Option<R>,
    kept: Vec<u8>,
}

impl<R: Read + AsFd> Pipe<R> {
    fn new(source: Option<R>) -> io::Result<Self> {
        if let Some(source) = &source {
            fcntl(source.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        }
        Ok(Self { source, kept: Vec::new() })
    }

    fn drain(&mut self) -> io::Result<()> {
        let mut buffer = [0; 4096];
        while let Some(source) = &mut self.source {
            match source.read(&mut buffer) {
                Ok(0) => self.source = None,
                Ok(count) => {
                    let room = OUTPUT_LIMIT.saturating_sub(self.kept.len());
                    self.kept.extend_from_slice(&buffer[..count.min(room)]);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl<R> Pipe<R> {
    fn open(&self) -> Option<&R> {
        self.source.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn both_outputs_and_the_code_are_kept() {
        let output = run("sh", &["-c", "echo one; echo two >&2; exit 3"], LONG).unwrap();
        assert_eq!(
            (output.code, output.stdout.as_str(), output.stderr.as_str()),
            (Some(3), "one\n", "two\n")
        );
        assert_eq!(output.reason(), "two");
        let failure = run_checked("sh", &["-c", "echo why; exit 1"], LONG).unwrap_err();
        assert!(failure.message.ends_with("failed: why"), "{failure}");
        assert!(run_checked("true", &[], LONG).is_ok());
    }

    #[test]
    fn a_program_that_does_not_end_is_killed() {
        let begin = Instant::now();
        let failure = run("sleep", &["60"], Duration::from_millis(100)).unwrap_err();
        assert!(failure.transient && failure.message.contains("no end after 0.1 s"), "{failure}");
        assert!(begin.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_daemon_that_holds_the_outputs_does_not_hold_the_caller() {
        let begin = Instant::now();
        let output = run("sh", &["-c", "sleep 30 & echo started"], LONG).unwrap();
        assert_eq!(output.stdout, "started\n");
        assert!(begin.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn output_is_bounded() {
        let output = run("sh", &["-c", "head -c 300000 /dev/zero"], LONG).unwrap();
        assert_eq!(output.stdout.len(), OUTPUT_LIMIT);
        assert!(output.success());
    }

    #[test]
    fn a_missing_program_is_a_failure_of_the_host() {
        let failure = run("no-such-program", &["x"], LONG).unwrap_err();
        assert_eq!(failure.message, "running \"no-such-program x\": No such file or directory");
    }

    #[test]
    fn programs_are_found_below_the_root() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        std::fs::create_dir_all(folder.path().join("sbin")).unwrap();
        std::fs::create_dir_all(folder.path().join("bin/ip")).unwrap();
        std::fs::write(folder.path().join("sbin/ip"), "").unwrap();
        assert_eq!(find(&root, "/bin:/sbin", "ip"), None, "a folder, and a file that cannot be run");
        std::fs::set_permissions(folder.path().join("sbin/ip"), std::fs::Permissions::from_mode(0o755))
            .unwrap();
        assert_eq!(find(&root, "bin:/bin:/sbin", "ip"), Some(folder.path().join("sbin/ip")));
    }
}
