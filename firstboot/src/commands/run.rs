//! `firstboot run`: what the image's unit runs.

use super::config::{Sourced, gather_at, of_machine, publish};
use super::join::{Start, conclude, gone, join};
use super::preflight::checks;
use super::tell::Tell;
use super::{carried, protect};
use crate::config::model::{NodeConfig, OnFailure};
use crate::error::{Failure, Result};
use crate::evidence::Evidence;
use crate::facts::Facts;
use crate::host::root::Root;
use crate::host::services::Services;
use crate::host::{command, files};
use crate::journal::Journal;
use crate::machine::Machine;
use crate::metadata::Metadata;
use crate::platforms::detect::detect;
use crate::policy::Policy;
use crate::report::{self, ReportTarget};
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
    report: Option<Vec<ReportTarget>>,
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
    let policy = Policy::of(root)?;
    let evidence = Evidence::of(root);
    let detection = detect(&evidence, policy.platform.as_deref())?;
    protect::at_boot(root, &policy, detection.platform, tell)?;
    let mut metadata = gather_at(&evidence, detection, &policy, tell)?;
    learnt.facts = metadata.facts.clone();
    let found = of_machine(root, &mut metadata, tell);
    if !found
        .as_ref()
        .is_ok_and(|found| found.as_ref().is_some_and(|sourced| sourced.config.join.dry_run))
    {
        publish(root, &metadata, tell);
    }
    let Some(sourced) = found? else { return without_config(root, verdict, tell) };
    learnt.take(&sourced.config);
    protect::by_config(root, &policy, &sourced.config, metadata.platform, tell)?;
    if is_parked(root, &metadata.facts, &sourced)? {
        return prepare(root, &metadata.facts, &sourced, verdict, tell);
    }
    let outcome = join(root, &metadata.facts, &sourced, Start::Spread, verdict, tell)?;
    afterwards(root, &metadata, &sourced, tell);
    Ok(outcome)
}

/// How the target states of instances begin that a warm pool holds
/// (<https://docs.aws.amazon.com/autoscaling/ec2/userguide/warm-pool-instance-lifecycle.html>).
const WARMED: &str = "Warmed:";

/// Whether the machine is only to be prepared: a node that joined would get pods, and then be stopped.
fn is_parked(root: &Root, facts: &Facts, sourced: &Sourced) -> Result<bool> {
    let is_warmed = facts.text("lifecycle").is_some_and(|state| state.starts_with(WARMED));
    if !is_warmed || sourced.config.join.dry_run {
        return Ok(false);
    }
    let machine = Machine::read(root)?;
    Ok(!Journal::read(root)?.is_some_and(|entries| entries.joined && entries.machine == machine.identity))
}

/// Makes the checks of a join, for which the runtime has to be up, and leaves the rest to the start that brings the machine into service.
fn prepare(
    root: &Root,
    facts: &Facts,
    sourced: &Sourced,
    verdict: &mut Verdict,
    tell: Tell,
) -> Result<Outcome> {
    verdict.status().node = Some(sourced.config.node_name());
    verdict.status().source = Some(sourced.source.clone());
    checks(root, facts, sourced, verdict, tell)?;
    tell.line("this machine is in a warm pool: it is prepared, and joins when it is started for service");
    Ok(Outcome::Parked)
}

/// What is left to do when the machine has joined.
fn afterwards(root: &Root, metadata: &Metadata, sourced: &Sourced, tell: Tell) {
    if sourced.config.join.dry_run {
        return;
    }
    forget(root, sourced, tell);
    protect::scrub(root, metadata, sourced, tell);
    if let Some(sentinel) = &sourced.sentinel
        && let Err(failure) = carried::write_sentinel(root, sentinel)
    {
        tell.line(&format!(
            "warning: {failure}: whoever waits for it does not hear that this machine has joined"
        ));
    }
}

/// A config in a file of this machine holds a token that nobody needs any more: the file goes.
fn forget(root: &Root, sourced: &Sourced, tell: Tell) {
    let Some(path) = &sourced.file else { return };
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
