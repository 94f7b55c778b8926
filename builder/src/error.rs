//! The one error type of the builder: what failed, on what, and what to do next.

use std::fmt;
use std::io;
use std::path::Path;

use contract::text::visible_lines;

use crate::address::said;

/// The kind of an [`Error`]. Each kind has its own exit code (`docs/reference.md`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// A defect of Kiln itself.
    Internal,
    /// The command line does not make sense.
    Usage,
    /// The image definition, or a layer definition, is wrong.
    Definition,
    /// The lock file is missing, stale or contradicts upstream.
    Lock,
    /// Something could not be fetched.
    Fetch,
    /// Bytes are not the bytes that were promised.
    Verification,
    /// An archive is broken or hostile.
    Archive,
    /// A tool that Kiln calls is missing or failed.
    Tool,
    /// The local file system failed: disk full, permission denied.
    Io,
}

impl ErrorKind {
    /// The exit code of the process for this kind.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Internal => 1,
            Self::Usage => 2,
            Self::Definition => 3,
            Self::Lock => 4,
            Self::Fetch => 5,
            Self::Verification => 6,
            Self::Archive => 7,
            Self::Tool => 8,
            Self::Io => 9,
        }
    }

    /// The name used in `--json` output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Internal => "internal",
            Self::Usage => "usage",
            Self::Definition => "definition",
            Self::Lock => "lock",
            Self::Fetch => "fetch",
            Self::Verification => "verification",
            Self::Archive => "archive",
            Self::Tool => "tool",
            Self::Io => "io",
        }
    }
}

/// An error with its kind, the operations that led to it, and a hint.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    help: Option<String>,
}

/// The exit code when a command that looks for something has found it. It is no error.
pub const FOUND: u8 = 10;

/// The result of everything fallible in the builder.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A new error: `message` says what failed and on what, in lower case.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, message: said(&message.into()), help: None }))
    }

    /// Adds what the user should do next. The first hint given wins: it is the closest to the cause.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.0.help.get_or_insert_with(|| visible_lines(&help.into()).into_owned());
        self
    }

    /// Puts `help` in place of other help.
    #[must_use]
    pub fn other_help(mut self, help: &str) -> Self {
        self.0.help = None;
        self.help(help)
    }

    /// Puts the operation that failed in front of the message.
    #[must_use]
    pub fn context(mut self, doing: impl fmt::Display) -> Self {
        self.0.message = format!("{}: {}", said(&doing.to_string()), self.0.message);
        self
    }

    /// The kind, hence the exit code.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What failed, without the hint.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What to do next, when known.
    pub fn hint(&self) -> Option<&str> {
        self.0.help.as_deref()
    }

    /// An I/O error while `doing` something to `path`.
    pub fn io(doing: &str, path: &Path, error: &io::Error) -> Self {
        let new = Self::new(ErrorKind::Io, format!("{doing} {}: {error}", path.display()));
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                new.help("free some space on that file system, or choose another folder with --cache-dir or --output-dir")
            }
            io::ErrorKind::PermissionDenied => new.help("check who owns that path"),
            io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::AlreadyExists
            | io::ErrorKind::NotADirectory => {
                new.help("that place cannot hold a folder: choose another with --cache-dir or --output-dir")
            }
            io::ErrorKind::NotFound if doing == "creating" => {
                new.help("it has no folder above it: choose another with --cache-dir or --output-dir")
            }
            _ => new,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        match &self.0.help {
            Some(help) => write!(f, "\n  help: {help}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)
    }
}

impl std::error::Error for Error {}

/// Names the operation in which an I/O call failed.
pub trait IoContext<T> {
    /// `doing` is a gerund ("reading"), `path` the object.
    fn at(self, doing: &str, path: impl AsRef<Path>) -> Result<T>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn at(self, doing: &str, path: impl AsRef<Path>) -> Result<T> {
        self.map_err(|error| Error::io(doing, path.as_ref(), &error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_hint_wins_and_context_stacks() {
        let error = Error::new(ErrorKind::Fetch, "no route")
            .help("near")
            .help("far")
            .context("fetching kubelet");
        assert_eq!(error.to_string(), "fetching kubelet: no route\n  help: near");
        assert_eq!(error.kind().exit_code(), 5);
    }

    #[test]
    fn what_a_server_says_moves_no_cursor() {
        let error = Error::new(ErrorKind::Fetch, "503 \u{1b}[2Jx").help("\u{202e}y").context("\r");
        assert_eq!(error.to_string(), "\\u000d: 503 \\u001b[2Jx\n  help: \\u202ey");
    }
}
