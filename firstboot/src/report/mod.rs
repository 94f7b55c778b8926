//! Reports: how a run ended, sent to those who wait for the node. The verdict on the console comes first and
//! always; reports are for receivers that do not read consoles.
//!
//! ```text
//! config `report` ─┐
//! facts ───────────┴─► targets ─► reporters by urgency ─► a request each (pure) ─► sent: 10 s, tried again where that helps
//! ```
//!
//! A reporter of a platform belongs to the platform's row; one of no platform is a file here and one line in
//! [`GENERAL`]. A report that fails is a warning, and changes neither verdict nor exit code.

mod phone_home;
mod webhook;

use std::time::Duration;

use crate::evidence::Evidence;
use crate::facts::Facts;
use crate::host::root::Root;
use crate::net::trust::Trust;
use crate::net::{Deadline, Network};
use crate::platforms;
use crate::platforms::detect::detect;
use crate::reporter::{Delivery, ReportContext};
pub use crate::reporter::{ReportTarget, Reporter};
use crate::status::Progress;

/// Reporters that belong to no platform.
const GENERAL: &[&Reporter] = &[&phone_home::REPORTER, &webhook::REPORTER];

/// Time limit of one report, all its tries together.
const LIMIT: Duration = Duration::from_secs(10);

/// All reporters in the order in which they are used: by urgency, those of platforms first.
pub fn reporters() -> Vec<&'static Reporter> {
    let of_platforms = platforms::ALL.iter().flat_map(|platform| platform.reporters);
    let mut all: Vec<&'static Reporter> = of_platforms.chain(GENERAL).copied().collect();
    all.sort_by_key(|reporter| reporter.urgency);
    all
}

/// The reporter of this kind.
pub fn named(kind: &str) -> Option<&'static Reporter> {
    reporters().into_iter().find(|reporter| reporter.kind == kind)
}

/// The reports to send, in their order: those that the config lists (`configured`), else the platform's
/// default.
fn targets(configured: Option<&[ReportTarget]>, facts: &Facts) -> Vec<(&'static Reporter, ReportTarget)> {
    let of = |reporter: &'static Reporter| match configured {
        Some(targets) => targets
            .iter()
            .filter(|target| target.kind == reporter.kind)
            .map(|target| (reporter, target.clone()))
            .collect(),
        None if (reporter.by_default)(facts) => vec![(reporter, ReportTarget::of(reporter))],
        None => Vec::new(),
    };
    reporters().into_iter().flat_map(of).collect()
}

/// The reports that the end of a join would cause, for people: one line each, without anything secret.
pub fn planned(configured: Option<&[ReportTarget]>, facts: &Facts) -> Vec<String> {
    let line = |(reporter, target): (&Reporter, ReportTarget)| match (reporter.receiver)(&target, facts) {
        Ok(receiver) => format!("{}: {receiver}", reporter.kind),
        Err(failure) => format!("{}: it cannot be told: {failure}", reporter.kind),
    };
    targets(configured, facts).into_iter().map(line).collect()
}

/// Sends all reports of a run. `configured` is the config's list; none when it has no list, or there is no
/// config.
pub fn send(
    root: &Root,
    configured: Option<&[ReportTarget]>,
    facts: &Facts,
    progress: &mut Progress,
    line: &dyn Fn(&str),
) {
    if !progress.is_published() || !root.is_machine() {
        return;
    }
    send_all(root, configured, &with_platform(root, facts), progress, LIMIT, line);
}

fn send_all(
    root: &Root,
    configured: Option<&[ReportTarget]>,
    facts: &Facts,
    progress: &mut Progress,
    limit: Duration,
    line: &dyn Fn(&str),
) {
    let status = progress.status().clone();
    for (reporter, target) in targets(configured, facts)
        .into_iter()
        .filter(|(reporter, _)| reporter.when.contains(&status.outcome))
    {
        let (network, deadline) = (Network::new(root.clone()), Deadline::after(limit));
        let context = ReportContext {
            root,
            facts,
            status: &status,
            network,
            deadline,
            service: None,
            trust: Trust::System,
        };
        match deliver(reporter, &target, &context) {
            Ok(result) => line(&result),
            Err(warning) => {
                line(&format!("warning: {warning}"));
                progress.warn(warning);
            }
        }
    }
}

/// Sends one report; returns its result for people.
pub(crate) fn deliver(
    reporter: &Reporter,
    target: &ReportTarget,
    context: &ReportContext,
) -> std::result::Result<String, String> {
    let kind = reporter.kind;
    let receiver = (reporter.receiver)(target, context.facts)
        .map_err(|failure| format!("the verdict could not be told to {kind}: {failure}"))?;
    match (reporter.deliver)(target, context) {
        Ok(Delivery::Accepted) => Ok(format!("told {kind}: {receiver}")),
        Ok(Delivery::NotAwaited(why)) => Ok(format!("{kind}: {receiver}: {why}")),
        Err(failure) => Err(format!("the verdict could not be told to {kind} ({receiver}): {failure}")),
    }
}

/// A run may fail before it knows any facts: then local evidence says which platform this is.
fn with_platform(root: &Root, facts: &Facts) -> Facts {
    let mut facts = facts.clone();
    if facts.platform.value().is_none()
        && let Ok(detection) = detect(&Evidence::of(root), None)
        && let Some(platform) = detection.platform
    {
        facts.platform.add(platform.name.to_owned(), detection.seen);
    }
    facts
}

#[cfg(test)]
pub(crate) mod tests;
