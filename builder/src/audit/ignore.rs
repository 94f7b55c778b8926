//! Vulnerabilities that somebody has looked at, each with the reason why it does not count.

use std::path::Path;

use serde::Deserialize;

use super::Finding;
use crate::definition::compose;
use crate::error::{Error, ErrorKind, Result};

const EXPECTED: compose::Expected = compose::Expected {
    kind: ErrorKind::Definition,
    largest: 1 << 20,
    help: "name a TOML file with [[ignore]] tables: id, reason, and package if it is about one alone",
};

/// The file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ignored {
    #[serde(default)]
    ignore: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: String,
    #[serde(default)]
    package: Option<String>,
    reason: String,
}

impl Ignored {
    /// Reads the file.
    ///
    /// # Errors
    /// [`ErrorKind::Definition`], also if an entry has no reason.
    pub fn read(path: &Path) -> Result<Self> {
        let ignored: Self = compose::read_as(path, &EXPECTED)?.parse()?;
        match ignored.ignore.iter().find(|entry| entry.reason.trim().is_empty() || entry.id.is_empty()) {
            Some(entry) => {
                let message = format!("{}: \"{}\" is ignored without a reason", path.display(), entry.id);
                Err(Error::new(ErrorKind::Definition, message)
                    .help("write reason = \"…\" for those who come later"))
            }
            None => Ok(ignored),
        }
    }

    /// The reason why `finding` does not count.
    pub fn reason(&self, finding: &Finding) -> Option<&str> {
        self.ignore
            .iter()
            .find(|entry| entry.is_about(finding))
            .map(|entry| entry.reason.as_str())
    }

    /// The entries that none of `findings` needs.
    pub fn unused<'a>(&'a self, findings: &'a [Finding]) -> impl Iterator<Item = &'a str> {
        let needed = |entry: &Entry| findings.iter().any(|finding| entry.is_about(finding));
        self.ignore.iter().filter(move |entry| !needed(entry)).map(|entry| entry.id.as_str())
    }
}

impl Entry {
    fn is_about(&self, finding: &Finding) -> bool {
        let is_named = self.id == finding.id || finding.records.contains(&self.id);
        is_named && self.package.as_ref().is_none_or(|package| *package == finding.package)
    }
}
