//! `firstboot run`: what the image's unit runs.

use super::config::{Sourced, gather, of_machine, publish};
use super::join::{Start, conclude, gone, join};
use super::tell::Tell;
use crate::config::model::{NodeConfig, OnFailure};
use crate::error::{Failure, Result};
use crate::facts::Facts;
use crate::host::root::Root;
use crate::host::services::Services;
use crate::host::{command, files};
use crate::journal::Journal;
use crate::machine::Machine;
use crate::report::{self, Wish};
use crate::verdict::{Outcome, Verdict, notify};

/// Finds the node config of this machine and joins with it.
pub fn run(root: &Root, tell: Tell) -> Result<()> {
    let mut verdict = Verdict::begin(root);
    let mut learnt = Learnt { on_failure: OnFailure::Nothing, report: None, facts: Facts::default() };
    let ended = attempt(root, &mut verdict, &mut learnt, tell);
    let concluded = conclude(ended, &mut verdict, tell);
    report::send(root, learnt.report.as_deref(), &learnt.facts, &mut verdict, &|line| tell.line(line));
    if concluded.is_err() {
        give_up(root, learnt.on_failure, tell);
    }
    concluded
}

/// What a run learns for its end, however early that comes.
struct Learnt {
    on_failure: OnFailure,
    report: Option<Vec<Wish>>,
    facts: Facts,
}

impl Learnt {
    /// A dry run tells nobody.
    fn take(&mut self, config: &NodeConfig) {
        self.on_failure = config.agent.on_failure;
        self.report = if config.join.dry_run { Some(Vec::new()) } else { config.agent.report.clone() };
    }
}

fn attempt(root: &Root, verdict: &mut Verdict, learnt: &mut Learnt, tell: Tell) -> Result<Outcome> {
    let mut metadata = gather(root, tell)?;
    learnt.facts = metadata.facts.clone();
    let found = of_machine(root, &mut metadata, tell);
    if !found.as_ref().is_ok_and(|found| found.as_ref().is_some_and(|sourced| sourced.config.join.dry_run)) {
        publish(root, &metadata, tell);
    }
    match found? {
        Some(sourced) => {
            learnt.take(&sourced.config);
            let outcome = join(root, &sourced, Start::Spread, verdict, tell)?;
            forget(root, &sourced, tell);
            Ok(outcome)
        }
        None => without_config(root, verdict, tell),
    }
}

/// A config in a file of this machine holds a token that nobody needs any more: the file goes.
fn forget(root: &Root, sourced: &Sourced, tell: Tell) {
    let Some(path) = sourced.file.as_ref().filter(|_| !sourced.config.join.dry_run) else { return };
    match files::remove(&root.path(path)) {
        Ok(()) => tell.line(&format!("removed {}: it held a token", path.display())),
        Err(failure) => tell.line(&format!("warning: {failure}: it holds a token")),
    }
}

/// A machine that has joined needs its config no more; one that has not has nothing to do.
fn without_config(root: &Root, verdict: &mut Verdict, tell: Tell) -> Result<Outcome> {
    let Some(entries) = Journal::read(root)? else {
        tell.line("no source has a node config: nothing to do");
        return Ok(Outcome::NoConfig);
    };
    verdict.status().node = Some(entries.node.clone());
    if entries.machine != Machine::read(root)?.identity || !entries.joined {
        return Err(gone(&entries.node));
    }
    tell.line(&format!("this machine has joined as {} before: nothing to do", entries.node));
    Ok(Outcome::AlreadyJoined)
}

/// Lets an autoscaler replace the machine, if the config says so.
fn give_up(root: &Root, on_failure: OnFailure, tell: Tell) {
    let verb = match on_failure {
        OnFailure::Nothing => return,
        OnFailure::PowerOff => "poweroff",
        OnFailure::Reboot => "reboot",
    };
    tell.line(&format!("the config asks for it: {verb}"));
    notify::send(&format!("STATUS=failed: {verb}"));
    if root.is_machine()
        && let Err(failure) = stop_machine(root, verb)
    {
        tell.line(&format!("warning: {failure}"));
    }
}

fn stop_machine(root: &Root, verb: &str) -> std::result::Result<(), Failure> {
    let limit = std::time::Duration::from_secs(30);
    match Services::of(root) {
        Services::Systemd => command::run_checked("systemctl", &["--no-block", verb], limit).map(drop),
        Services::OpenRc | Services::None => command::run_checked(verb, &[], limit).map(drop),
    }
}
