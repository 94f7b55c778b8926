//! Reporters: ways to tell a receiver outside the machine how a run ended.
//!
//! A platform has its reporters in its row of [`crate::platforms::ALL`]; [`crate::report`] has those that
//! belong to no platform, and decides which are used.

pub(crate) mod target;
pub(crate) mod xml;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::error::{ErrorKind, Failure, Result};
use crate::facts::Facts;
use crate::host::root::Root;
use crate::net::retry::{self, Backoff};
use crate::net::service::{Protocol, Service};
use crate::net::trust::Trust;
use crate::net::{Deadline, Error, Network};
use crate::output::{clean, clean_json};
use crate::secret::Secret;
use crate::status::{self, Outcome, Status};
use crate::text::percent;

/// Bounds of the waits between the tries of one report; its time limit allows a few of them.
const WAITS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(4));

/// Outcomes of a run that joined or tried to.
pub(crate) const DONE: &[Outcome] = &[Outcome::Joined, Outcome::Failed];
/// Outcomes of any run: for platforms that wait for the machine rather than for the node.
pub(crate) const UP: &[Outcome] =
    &[Outcome::Joined, Outcome::Failed, Outcome::AlreadyJoined, Outcome::NoConfig];

/// A way to report how a run ended.
#[derive(Debug)]
pub struct Reporter {
    /// Its name, `kind` in the config.
    pub kind: &'static str,
    /// When it is used among several.
    pub urgency: Urgency,
    /// The outcomes that it reports.
    pub when: &'static [Outcome],
    /// The settings that a config may give it.
    pub settings: &'static [Setting],
    /// Whether it is used when the config lists no reports: the platform waits for the report, or names its
    /// receiver.
    pub by_default: fn(&Facts) -> bool,
    /// The receiver, without anything secret; an error names what is missing for a report.
    pub receiver: fn(&ReportTarget, &Facts) -> Result<String>,
    /// Sends the report.
    pub deliver: fn(&ReportTarget, &ReportContext) -> Result<Delivery>,
}

/// The order in which reports are sent, the most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// The platform gives up a machine that does not report.
    Provisioning,
    /// A service of the platform holds something back until the report comes.
    Awaited,
    /// The report is for information.
    Information,
}

/// A setting of a reporter.
#[derive(Debug)]
pub struct Setting {
    /// Its name in the config.
    pub name: &'static str,
    /// Whether it is a secret, and not a name that may be shown.
    pub is_secret: bool,
    /// Whether there is no report without it.
    pub is_required: bool,
    /// Checks a value; the error does not repeat it.
    pub check: fn(&str) -> std::result::Result<(), String>,
}

/// The result of a report that did not fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// The receiver accepted it.
    Accepted,
    /// Nothing waits for it, for this reason.
    NotAwaited(&'static str),
}

/// A report that a config asks for: a kind of reporter with its settings, any of which may be secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportTarget {
    pub(crate) kind: &'static str,
    settings: BTreeMap<&'static str, Secret>,
}

impl ReportTarget {
    /// A target of `reporter` without settings.
    pub(crate) fn of(reporter: &Reporter) -> Self {
        Self { kind: reporter.kind, settings: BTreeMap::new() }
    }

    pub(crate) fn set(&mut self, name: &'static str, value: Secret) {
        self.settings.insert(name, value);
    }

    /// A setting, if the config has it.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.settings.get(name).map(Secret::reveal)
    }
}

/// The contents of a report, and everything needed to send it.
#[derive(Debug)]
pub struct ReportContext<'a> {
    /// The machine's files.
    pub root: &'a Root,
    /// The facts about the machine.
    pub facts: &'a Facts,
    /// How the run ended.
    pub status: &'a Status,
    /// The machine's way to the network.
    pub network: Network,
    /// Time limit of the report.
    pub deadline: Deadline,
    /// Address of the platform's service, where it is not the usual one: tests run a service of their own.
    pub service: Option<String>,
    /// Trust in servers of the platform's API.
    pub trust: Trust,
}

impl ReportContext<'_> {
    /// Whether the run failed.
    pub(crate) fn is_failure(&self) -> bool {
        self.status.outcome == Outcome::Failed
    }

    /// How the run ended, in one line: the warnings of a failed run may be its cause.
    pub(crate) fn message(&self) -> String {
        clean(&match (&self.status.failure, &self.status.node) {
            (Some(reason), _) => {
                let warnings = self.status.warnings.iter().map(|warning| format!("; warning: {warning}"));
                format!("{}: {}{}", reason.class, reason.message, warnings.collect::<String>())
            }
            (None, Some(node)) => format!("{} as {node}", word(self.status.outcome)),
            (None, None) => word(self.status.outcome),
        })
    }

    /// The verdict, with the fields that tell this machine from others.
    pub(crate) fn summary(&self) -> Value {
        let mut summary = status::verdict(self.status);
        if let Value::Object(fields) = &mut summary {
            for (field, fact) in
                [("platform", "platform"), ("instanceId", "instance-id"), ("hostname", "hostname")]
            {
                fields.insert(field.to_owned(), json!(self.facts.text(fact)));
            }
        }
        clean_json(summary)
    }

    /// A fact that a report cannot do without.
    pub(crate) fn fact(&self, name: &str) -> Result<&str> {
        fact(self.facts, name)
    }

    /// A client of a service of the platform.
    pub(crate) fn service(&self, addresses: &[&str], protocol: Protocol) -> Service {
        match &self.service {
            Some(address) => Service::new(&[address], protocol, self.deadline),
            None => Service::new(addresses, protocol, self.deadline),
        }
    }

    /// Tries until it succeeds, fails for good, or the time is over.
    pub(crate) fn retry<T>(&self, attempt: impl FnMut() -> std::result::Result<T, Error>) -> Result<T> {
        retry::until(self.deadline, &mut Backoff::new().between(WAITS.0, WAITS.1), attempt)
    }
}

/// A fact that a report cannot do without.
pub(crate) fn fact<'a>(facts: &'a Facts, name: &str) -> Result<&'a str> {
    facts
        .text(name)
        .ok_or_else(|| Failure::new(ErrorKind::Source, format!("the platform does not say the {name}")))
}

/// `already-joined`
pub(crate) fn word(outcome: Outcome) -> String {
    json!(outcome).as_str().unwrap_or_default().to_owned()
}

/// A form's body (`application/x-www-form-urlencoded`), encoded so that every reader agrees: all but RFC
/// 3986's unreserved bytes.
pub(crate) fn form(fields: &[(&str, &str)]) -> String {
    let encode = |text: &str| percent::encoded(text, b"");
    fields
        .iter()
        .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
        .collect::<Vec<_>>()
        .join("&")
}

/// At most `most` bytes of `text`, cut between characters.
pub(crate) fn cut(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// A name in another program's API: printable ASCII without blanks, not too long.
pub(crate) fn check_name(text: &str) -> std::result::Result<(), String> {
    let is_plain =
        !text.is_empty() && text.len() <= 1024 && text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if is_plain { Ok(()) } else { Err("must be 1 to 1024 printable ASCII characters".to_owned()) }
}

/// For reporters that are never used by default.
pub(crate) fn never(_: &Facts) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_and_cuts() {
        assert_eq!(form(&[("a", "b c&d=é~-._"), ("e", "")]), "a=b%20c%26d%3D%C3%A9~-._&e=");
        assert_eq!((cut("aé", 2), cut("aé", 3), cut("", 3)), ("a", "aé", ""));
        assert!(
            check_name("pool a").is_ok()
                && check_name("").is_err()
                && check_name("a\n").is_err()
                && check_name("é").is_err()
        );
    }
}
