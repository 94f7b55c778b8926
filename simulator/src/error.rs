//! Errors: a mistake of the user, or something that this machine does not allow.

use std::fmt;

/// The result type of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error: what failed, on what, and what to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What failed, in lower case.
    pub message: String,
    /// What to do next, when known.
    pub help: Option<String>,
    /// Whether this machine caused the error and not the request.
    pub is_system: bool,
}

impl Error {
    /// The request is invalid.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None, is_system: false }
    }

    /// This machine does not allow the simulator to do something.
    pub fn system(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None, is_system: true }
    }

    /// Adds a hint: what to do next.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
