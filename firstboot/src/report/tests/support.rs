//! What tests of reports share: services of a platform by script, facts, and runs that ended.

use std::time::Duration;

use testkit::{Reply, TestServer};

use crate::facts::Facts;
use crate::host::root::Root;
use crate::net::trust::Trust;
use crate::net::{Deadline, Network};
use crate::report::{deliver, named};
use crate::reporter::{ReportContext, ReportTarget};
use crate::secret::Secret;
use crate::status::{Outcome, Progress, Reason, Status};

/// An answer with this status, header lines each ended by `\r\n`, and body.
pub fn says(status: u16, headers: &str, body: &str) -> Reply {
    Reply::Text(status, format!("Connection: close\r\n{headers}"), body.to_owned())
}

pub fn ok(body: &str) -> Reply {
    says(200, "", body)
}

pub fn refuse(status: u16) -> Reply {
    says(status, "", "")
}

/// A service without TLS that answers each request with the next reply; after the last one it is gone.
pub fn place(script: Vec<Reply>) -> TestServer {
    TestServer::sequence(script)
}

/// How a run ended.
pub fn status(outcome: Outcome) -> Status {
    let root = Root::at("/nonexistent");
    let mut progress = Progress::unpublished(&root);
    let status = progress.status();
    (status.outcome, status.node, status.seconds, status.requests) = (outcome, Some("n1".to_owned()), 1.5, 6);
    if outcome == Outcome::Failed {
        let message = "the CA <x> & \"pins\" differ".to_owned();
        status.failure = Some(Reason { class: "untrusted".to_owned(), exit: 12, message, help: None });
    }
    status.clone()
}

/// Facts by name.
pub fn facts(known: &[(&'static str, &str)]) -> Facts {
    let mut facts = Facts::default();
    known.iter().for_each(|(name, value)| facts.fact(name).add((*value).to_owned(), "test"));
    facts
}

/// Facts with tags.
pub fn tagged(mut facts: Facts, tags: &[(&str, &str)]) -> Facts {
    facts
        .tags
        .add(tags.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(), "test");
    facts
}

/// A target with settings.
pub fn target(kind: &str, settings: &[(&'static str, &str)]) -> ReportTarget {
    let mut target = ReportTarget::of(named(kind).unwrap());
    settings
        .iter()
        .for_each(|(name, value)| target.set(name, Secret::new((*value).to_owned())));
    target
}

/// Tells `target` to the service at `address`, and to servers that `trust` covers.
pub fn deliver_to(
    address: &str,
    trust: Trust,
    target: &ReportTarget,
    facts: &Facts,
    status: &Status,
    limit: Duration,
) -> std::result::Result<String, String> {
    let root = Root::at("/nonexistent");
    let context = context(&root, facts, status, Some(address.to_owned()), trust, limit);
    deliver(named(target.kind).unwrap(), target, &context)
}

/// What is told.
pub fn context<'a>(
    root: &'a Root,
    facts: &'a Facts,
    status: &'a Status,
    service: Option<String>,
    trust: Trust,
    limit: Duration,
) -> ReportContext<'a> {
    ReportContext {
        root,
        facts,
        status,
        network: Network::new(root.clone()),
        deadline: Deadline::after(limit),
        service,
        trust,
    }
}

/// Enough for a few tries.
pub const SECONDS: Duration = Duration::from_secs(5);
