//! The findings of the checks.

use super::{Level, Problem};
use crate::error::{ErrorKind, Failure};

/// The severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The join continues.
    Warning,
    /// The join stops.
    Error,
}

/// A problem, with the name of the check that found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The check, by its name in ignorePreflightErrors.
    pub name: String,
    /// Its severity. An ignored error is a warning.
    pub severity: Severity,
    /// The problem.
    pub message: String,
    /// How to fix it.
    pub help: Option<String>,
}

/// All findings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The errors, which stop the join.
    pub errors: Vec<Finding>,
    /// The warnings.
    pub warnings: Vec<Finding>,
}

impl Report {
    pub(super) fn add(&mut self, name: &str, problem: Problem, level: Level, is_ignored: bool) {
        let is_error = problem.level.unwrap_or(level) == Level::Error && !is_ignored;
        let (list, severity) = if is_error {
            (&mut self.errors, Severity::Error)
        } else {
            (&mut self.warnings, Severity::Warning)
        };
        list.push(Finding { name: name.to_owned(), severity, message: problem.message, help: problem.help });
    }

    /// All errors as one failure; none if there are no errors. Some errors have their own kind if they are
    /// the only one.
    pub fn failure(&self) -> Option<Failure> {
        let first = self.errors.first()?;
        let class = match (self.errors.len(), first.name.as_str()) {
            (1, "ClockSkew") => ErrorKind::Clock,
            (1, "VersionSkew") => ErrorKind::Refused,
            (1, "CRI") => ErrorKind::Runtime,
            _ => ErrorKind::Preflight,
        };
        let lines: Vec<String> = self
            .errors
            .iter()
            .map(|finding| format!("{}: {}", finding.name, finding.message))
            .collect();
        let failure = Failure::new(class, format!("preflight: {}", lines.join("; ")));
        let advice: Vec<&str> = self.errors.iter().filter_map(|finding| finding.help.as_deref()).collect();
        let otherwise = "a check can be made non-fatal in nodeRegistration.ignorePreflightErrors";
        Some(failure.help(if advice.is_empty() {
            otherwise.to_owned()
        } else {
            format!("{}; {otherwise}", advice.join("; "))
        }))
    }
}
