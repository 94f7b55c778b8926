//! Runs other programs, and says why they failed.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use crate::disk_space;
use crate::error::{Error, ErrorKind, Result};

/// How many bytes of a failed program's command line are shown.
const COMMAND_LINE: usize = 200;

/// How much of a long-running program's messages is kept, in bytes.
const LOG_LIMIT: usize = 64 << 10;

/// How many bytes of a failed program's standard error are shown.
const STDERR_TAIL: usize = 2000;

/// A command for the program `name` with a neutral locale and time zone, so that its output does not depend
/// on the user.
pub fn tool(name: &str) -> Command {
    let mut command = Command::new(name);
    command.env("LC_ALL", "C.UTF-8").env("TZ", "UTC").stdin(Stdio::null());
    command
}

/// Runs programs to their end.
pub trait Run {
    /// Runs to the end and returns what was printed; an exit code other than zero is an error with the tail
    /// of standard error. `package` is the package that provides the program, named in the hint when it is
    /// missing.
    fn run(&mut self, package: &str) -> Result<Output>;

    /// Starts the program. If it is missing, the error names its package.
    fn start(&mut self, package: &str) -> Result<Child>;
}

impl Run for Command {
    fn run(&mut self, package: &str) -> Result<Output> {
        self.stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = self
            .start(package)?
            .wait_with_output()
            .map_err(|error| Error::new(ErrorKind::Tool, format!("waiting for {}: {error}", name(self))))?;
        check(self, output.status, &output.stderr)?;
        Ok(output)
    }

    fn start(&mut self, package: &str) -> Result<Child> {
        self.spawn().map_err(|error| missing(self, package, &error))
    }
}

/// Whether execvp(3) finds the program in the folders of `path` (in the format of the variable PATH).
pub fn is_there(program: &str, path: &OsStr) -> bool {
    let is_program = |path: &Path| {
        path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    match program.contains('/') {
        true => is_program(Path::new(program)),
        false => {
            !program.is_empty() && std::env::split_paths(path).any(|folder| is_program(&folder.join(program)))
        }
    }
}

/// An error unless the program `name` of the package `package` is on the PATH.
///
/// # Errors
/// The same as [`Run::start`]'s when it is missing.
pub fn require(name: &str, package: &str) -> Result<()> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if is_there(name, &path) {
        Ok(())
    } else {
        Err(missing(&tool(name), package, &io::ErrorKind::NotFound.into()))
    }
}

/// An error unless `status` is success; `stderr` is the program's standard error.
pub fn check(command: &Command, status: ExitStatus, stderr: &[u8]) -> Result<()> {
    if status.success() {
        return Ok(());
    }
    let tail = &stderr[stderr.len().saturating_sub(STDERR_TAIL)..];
    let said = String::from_utf8_lossy(tail);
    let message = format!("{} failed ({status}):\n{}", line(command), said.trim_end());
    match disk_space::is_missed_in(&said) {
        true => Err(Error::new(ErrorKind::Io, message).help(disk_space::HELP)),
        false => Err(Error::new(ErrorKind::Tool, message)),
    }
}

/// The end of everything that `from` gives.
pub fn tail(mut from: impl Read) -> String {
    let mut kept = Vec::new();
    let mut buffer = [0; 8192];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        kept.extend_from_slice(&buffer[..count]);
        if kept.len() > 2 * LOG_LIMIT {
            kept.drain(..kept.len() - LOG_LIMIT);
        }
    }
    String::from_utf8_lossy(&kept).into_owned()
}

fn missing(command: &Command, package: &str, error: &std::io::Error) -> Error {
    let error_text = format!("starting {}: {error}", name(command));
    let new = Error::new(ErrorKind::Tool, error_text);
    if error.kind() == io::ErrorKind::NotFound {
        new.help(format!("install it: apt-get install {package}"))
    } else {
        new
    }
}

fn name(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

/// The command for messages, shortened.
fn line(command: &Command) -> String {
    let mut line = name(command);
    for argument in command.get_args().map(OsStr::to_string_lossy) {
        if line.len() + argument.len() > COMMAND_LINE {
            line.push_str(" …");
            break;
        }
        line.push(' ');
        line.push_str(&argument);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_shows_the_command_and_what_it_said() {
        let error = tool("sh").args(["-c", "echo broken >&2; exit 3"]).run("dash").unwrap_err();
        assert!(error.message().contains("broken") && error.message().contains("exit"), "{error}");
    }

    #[test]
    fn a_program_whose_disk_is_full_has_not_read_something_broken() {
        let error = tool("sh").args(["-c", "head -c 1 /dev/zero >/dev/full"]).run("dash").unwrap_err();
        assert_eq!((error.kind(), error.hint()), (ErrorKind::Io, Some(disk_space::HELP)), "{error}");
    }

    #[test]
    fn what_a_program_says_of_a_mirror_has_no_password() {
        let script = "echo Failed to fetch https://me:s3cr3t@mirror/dists >&2; exit 100";
        let error = tool("sh").args(["-c", script]).run("dash").unwrap_err();
        assert!(error.message().contains("https://***@mirror/dists"), "{error}");
        assert!(!error.message().contains("s3cr3t"), "{error}");
    }

    #[test]
    fn only_the_end_of_a_long_log_is_kept() {
        let text = "x".repeat(LOG_LIMIT * 3) + "end";
        let kept = tail(text.as_bytes());
        assert!(kept.len() <= 2 * LOG_LIMIT && kept.ends_with("end"));
    }

    #[test]
    fn a_missing_program_names_its_package() {
        let error = tool("kiln-no-such-program").run("some-package").unwrap_err();
        assert_eq!(error.hint(), Some("install it: apt-get install some-package"));
    }
}
