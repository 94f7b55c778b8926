//! What a program left when it ended.

use crate::error::{ErrorKind, Failure, Result};

/// The result of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// Standard output, up to 64 KiB.
    pub stdout: String,
    /// Standard error, up to 64 KiB.
    pub stderr: String,
}

impl Output {
    /// Whether the program ended with 0.
    pub fn success(&self) -> bool {
        self.code == Some(0)
    }

    /// The last line of standard error, else of standard output, which usually has the reason.
    pub fn reason(&self) -> String {
        let last = |text: &str| text.lines().map(str::trim).rfind(|line| !line.is_empty()).map(str::to_owned);
        last(&self.stderr).or_else(|| last(&self.stdout)).unwrap_or_else(|| match self.code {
            Some(code) => format!("exit code {code}"),
            None => "ended by a signal".to_owned(),
        })
    }

    /// Itself, but an error for an exit code other than 0 of `program`.
    pub fn checked(self, program: &str, arguments: &[&str]) -> Result<Self> {
        if self.success() {
            return Ok(self);
        }
        Err(Failure::new(ErrorKind::Host, format!("{} failed: {}", shown(program, arguments), self.reason())))
    }
}

/// A command in messages.
pub fn shown(program: &str, arguments: &[&str]) -> String {
    let words: Vec<&str> = std::iter::once(program).chain(arguments.iter().copied()).collect();
    format!("\"{}\"", words.join(" "))
}
