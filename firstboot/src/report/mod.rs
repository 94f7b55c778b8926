//! The verdict, told to whoever ordered the node. The console line of [`crate::status`] comes first and always; this is for those who do not
//! read consoles.
//!
//! ```text
//! config `report` ─┐
//! facts ───────────┴─► wishes ─► REPORTERS, in this order ─► a request each (pure) ─► sent: 10 s, tried again where that helps
//! ```
//!
//! A way of telling is one file here and one line in [`REPORTERS`]. What fails is a warning, and changes neither verdict nor exit code.

mod auto_scaling;
mod aws;
pub mod azure;
mod cloudformation;
mod equinix;
mod gce;
mod hyperv;
mod phone_home;
mod scaleway;
mod sigv4;
mod target;
mod webhook;
mod xml;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::error::{ErrorKind, Failure, Result};
use crate::evidence::Evidence;
use crate::facts::Facts;
use crate::host::root::Root;
use crate::net::retry::{self, Backoff};
use crate::net::service::{Protocol, Service};
use crate::net::trust::Trust;
use crate::net::{Deadline, Error, Network};
use crate::platforms::detect::detect;
use crate::secret::Secret;
use crate::status::{self, Outcome, Progress, Status};
use crate::text::percent;

/// All ways of telling, in the order in which they are used: what a platform waits for comes first.
pub const REPORTERS: &[&Reporter] = &[
    &azure::REPORTER,
    &scaleway::REPORTER,
    &equinix::REPORTER,
    &auto_scaling::REPORTER,
    &cloudformation::REPORTER,
    &gce::REPORTER,
    &hyperv::REPORTER,
    &phone_home::REPORTER,
    &webhook::REPORTER,
];

/// How long one report may take, its tries together.
const LIMIT: Duration = Duration::from_secs(10);
/// Bounds of the waits between the tries of one report: there are a few in that time.
const WAITS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(4));

/// How joins end that did something.
const DONE: &[Outcome] = &[Outcome::Joined, Outcome::Failed];
/// How any run ends: for platforms that wait for the machine, not for the node.
const UP: &[Outcome] = &[Outcome::Joined, Outcome::Failed, Outcome::AlreadyJoined, Outcome::NoConfig];

/// A way of telling the verdict.
#[derive(Debug)]
pub struct Reporter {
    /// Its name, `kind` in the config.
    pub kind: &'static str,
    /// The outcomes that it tells.
    pub when: &'static [Outcome],
    /// What a config may say of it.
    pub settings: &'static [Setting],
    /// Whether it is used when the config does not say who is told: the platform waits for it, or names it.
    pub usual: fn(&Facts) -> bool,
    /// Who is told, without anything secret; an error says what is missing for that.
    pub whom: fn(&Wish, &Facts) -> Result<String>,
    /// Tells it.
    pub tell: fn(&Wish, &Telling) -> Result<Told>,
}

/// A setting of a reporter.
#[derive(Debug)]
pub struct Setting {
    /// Its name in the config.
    pub name: &'static str,
    /// Whether there is no report without it.
    pub is_required: bool,
    /// What is wrong with a value, in words that do not repeat it.
    pub check: fn(&str) -> std::result::Result<(), String>,
}

/// How telling ended, when it did not fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// The other side took it.
    Taken,
    /// Nobody waits for it, for this reason.
    NotAwaited(&'static str),
}

/// That someone shall be told: a reporter with its settings, any of which may be secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    kind: &'static str,
    settings: BTreeMap<&'static str, Secret>,
}

impl Wish {
    /// A report of `reporter` without settings.
    pub fn of(reporter: &Reporter) -> Self {
        Self { kind: reporter.kind, settings: BTreeMap::new() }
    }

    /// Sets a setting.
    pub fn set(&mut self, name: &'static str, value: String) {
        self.settings.insert(name, Secret::new(value));
    }

    /// A setting, if the config has it.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.settings.get(name).map(Secret::reveal)
    }
}

/// What is told, and what it takes to tell it.
#[derive(Debug)]
pub struct Telling<'a> {
    /// The machine's files.
    pub root: &'a Root,
    /// What is known of the machine.
    pub facts: &'a Facts,
    /// How the run ended.
    pub status: &'a Status,
    /// How the machine reaches out.
    pub network: Network,
    /// By when it must be told.
    pub deadline: Deadline,
    /// Where services of the platform answer; as their reporters know it when none is given.
    pub service: Option<String>,
    /// Why servers of the platform's API are trusted.
    pub trust: Trust,
}

impl Telling<'_> {
    /// Whether the run failed.
    fn is_failure(&self) -> bool {
        self.status.outcome == Outcome::Failed
    }

    /// One sentence on how the run ended.
    fn message(&self) -> String {
        match (&self.status.failure, &self.status.node) {
            (Some(reason), _) => format!("{}: {}", reason.class, reason.message),
            (None, Some(node)) => format!("{} as {node}", word(self.status.outcome)),
            (None, None) => word(self.status.outcome),
        }
    }

    /// The verdict with what tells this machine from others.
    fn summary(&self) -> Value {
        let mut summary = status::verdict(self.status);
        if let Value::Object(fields) = &mut summary {
            for (field, fact) in
                [("platform", "platform"), ("instanceId", "instance-id"), ("hostname", "hostname")]
            {
                fields.insert(field.to_owned(), json!(self.facts.text(fact)));
            }
        }
        summary
    }

    /// A fact that a report cannot do without.
    fn fact(&self, name: &str) -> Result<&str> {
        fact(self.facts, name)
    }

    /// A client of a service of the platform.
    fn service(&self, addresses: &[&str], protocol: Protocol) -> Service {
        match &self.service {
            Some(address) => Service::new(&[address], protocol, self.deadline),
            None => Service::new(addresses, protocol, self.deadline),
        }
    }

    /// Tries until it succeeds, fails for good, or the time is over.
    fn until_told<T>(&self, attempt: impl FnMut() -> std::result::Result<T, Error>) -> Result<T> {
        retry::until(self.deadline, &mut Backoff::new().between(WAITS.0, WAITS.1), attempt)
    }
}

fn fact<'a>(facts: &'a Facts, name: &str) -> Result<&'a str> {
    facts
        .text(name)
        .ok_or_else(|| Failure::new(ErrorKind::Source, format!("the platform does not say the {name}")))
}

/// `already-joined`
fn word(outcome: Outcome) -> String {
    json!(outcome).as_str().unwrap_or_default().to_owned()
}

/// The reporter of this kind.
pub fn named(kind: &str) -> Option<&'static Reporter> {
    REPORTERS.iter().copied().find(|reporter| reporter.kind == kind)
}

/// Who is told: as the config says, else as the platform needs it. In the order of the table.
fn wishes(said: Option<&[Wish]>, facts: &Facts) -> Vec<(&'static Reporter, Wish)> {
    let of = |reporter: &&'static Reporter| match said {
        Some(wishes) => wishes
            .iter()
            .filter(|wish| wish.kind == reporter.kind)
            .map(|wish| (*reporter, wish.clone()))
            .collect(),
        None if (reporter.usual)(facts) => vec![(*reporter, Wish::of(reporter))],
        None => Vec::new(),
    };
    REPORTERS.iter().flat_map(of).collect()
}

/// Who would be told of a join's end, for people: a line each, without anything secret.
pub fn planned(said: Option<&[Wish]>, facts: &Facts) -> Vec<String> {
    let line = |(reporter, wish): (&Reporter, Wish)| match (reporter.whom)(&wish, facts) {
        Ok(whom) => format!("{}: {whom}", reporter.kind),
        Err(failure) => format!("{}: it cannot be told: {failure}", reporter.kind),
    };
    wishes(said, facts).into_iter().map(line).collect()
}

/// Tells the verdict to all who shall know it. `said` is the config's word; none when it has none, or there is no config.
pub fn send(root: &Root, said: Option<&[Wish]>, facts: &Facts, progress: &mut Progress, line: &dyn Fn(&str)) {
    if !progress.is_published() || !root.is_machine() {
        return;
    }
    send_all(root, said, &with_platform(root, facts), progress, LIMIT, line);
}

fn send_all(
    root: &Root,
    said: Option<&[Wish]>,
    facts: &Facts,
    progress: &mut Progress,
    limit: Duration,
    line: &dyn Fn(&str),
) {
    let status = progress.status().clone();
    for (reporter, wish) in wishes(said, facts)
        .into_iter()
        .filter(|(reporter, _)| reporter.when.contains(&status.outcome))
    {
        let (network, deadline) = (Network::new(root.clone()), Deadline::after(limit));
        let telling =
            Telling { root, facts, status: &status, network, deadline, service: None, trust: Trust::System };
        match tell(reporter, &wish, &telling) {
            Ok(said) => line(&said),
            Err(warning) => {
                line(&format!("warning: {warning}"));
                progress.warn(warning);
            }
        }
    }
}

/// One report: what to say of it.
fn tell(reporter: &Reporter, wish: &Wish, telling: &Telling) -> std::result::Result<String, String> {
    let kind = reporter.kind;
    let whom = (reporter.whom)(wish, telling.facts)
        .map_err(|failure| format!("the verdict could not be told to {kind}: {failure}"))?;
    match (reporter.tell)(wish, telling) {
        Ok(Told::Taken) => Ok(format!("told {kind}: {whom}")),
        Ok(Told::NotAwaited(why)) => Ok(format!("{kind}: {whom}: {why}")),
        Err(failure) => Err(format!("the verdict could not be told to {kind} ({whom}): {failure}")),
    }
}

/// A run may fail before it knows anything: the platform shows in local evidence.
fn with_platform(root: &Root, facts: &Facts) -> Facts {
    let mut facts = facts.clone();
    if facts.platform.value().is_none()
        && let Ok(detection) = detect(&Evidence::of(root), None)
        && let Some(found) = detection.platform
    {
        facts.platform.say(found.name.to_owned(), detection.seen);
    }
    facts
}

/// A form's body (`application/x-www-form-urlencoded`), encoded so that every reader agrees: all but RFC 3986's unreserved bytes.
fn form(fields: &[(&str, &str)]) -> String {
    let encode = |text: &str| percent::encoded(text, b"");
    fields
        .iter()
        .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
        .collect::<Vec<_>>()
        .join("&")
}

/// At most `most` bytes of `text`, cut between characters.
fn cut(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// A name that someone else's API knows: printable ASCII without blanks, not too long.
fn check_name(text: &str) -> std::result::Result<(), String> {
    let is_plain =
        !text.is_empty() && text.len() <= 1024 && text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if is_plain { Ok(()) } else { Err("must be 1 to 1024 printable ASCII characters".to_owned()) }
}

/// A reporter's settings may be used by no default.
fn never(_: &Facts) -> bool {
    false
}

#[cfg(test)]
mod test_places;
#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
