//! What a user of the simulator did wrong, or what this machine refuses.

use std::fmt;

/// The result of everything fallible here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error: what failed, on what, and what to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What failed, in lower case.
    pub message: String,
    /// What to do next, when known.
    pub help: Option<String>,
    /// Whether this machine is at fault and not what was asked for.
    pub is_system: bool,
}

impl Error {
    /// What was asked for makes no sense.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None, is_system: false }
    }

    /// This machine does not let the simulator do something.
    pub fn system(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None, is_system: true }
    }

    /// Adds what to do next.
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
