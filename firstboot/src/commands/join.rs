//! From a node config to a verdict: what `firstboot run` and `firstboot join` have in common.

use std::path::Path;
use std::time::Duration;

use super::carried;
use super::config::Sourced;
use super::reset::HostMachine;
use super::tell::Tell;
use crate::config::model::NodeConfig;
use crate::config::refuse_control_plane;
use crate::enrich::name;
use crate::error::{ErrorKind, Failure, Result};
use crate::facts::Facts;
use crate::host::root::Root;
use crate::host::{files, machine};
use crate::join::identity::FOLDER;
use crate::join::phases::{Found, identity};
use crate::join::reset::{self, Outcome as StepOutcome};
use crate::join::{Join, patches};
use crate::journal::{Before, Entries, Journal};
use crate::machine::Machine;
use crate::net::{Deadline, Network};
use crate::verdict::{Outcome, Verdict};

/// How an attempt begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At once.
    Now,
    /// After the config's `spread`: many machines boot at the same time.
    Spread,
}

/// Joins, unless that is done.
pub fn join(
    root: &Root,
    facts: &Facts,
    sourced: &Sourced,
    start: Start,
    verdict: &mut Verdict,
    tell: Tell,
) -> Result<Outcome> {
    let config = &sourced.config;
    verdict.status().node = Some(config.node_name());
    verdict.status().source = Some(sourced.source.clone());
    for warning in &config.warnings {
        tell.line(&format!("warning: {warning}"));
        verdict.status().warnings.push(warning.clone());
    }
    refuse_control_plane(&config.join)?;
    name_host(root, config, tell)?;
    if !config.join.dry_run {
        carried::write(root, &sourced.carried, tell)?;
    }
    let machine = Machine::read(root)?;
    if !config.join.dry_run {
        sweep(root, config);
    }
    let journal = match earlier(root, config, &machine, tell)? {
        Earlier::Joined => return Ok(Outcome::AlreadyJoined),
        Earlier::Begin(entries) => {
            (!config.join.dry_run).then(|| Journal::begin(root, entries)).transpose()?
        }
    };
    if !config.join.dry_run {
        // A reset may just have taken them away.
        carried::write(root, &sourced.carried, tell)?;
    }
    if start == Start::Spread {
        spread(config.agent.spread, &machine, tell);
    }
    let line = |text: &str| tell.line(text);
    let deadline = Deadline::after(config.agent.deadline);
    let network = Network::new(root.clone());
    let mut join = Join {
        root,
        config,
        machine: &machine,
        facts,
        deadline,
        network,
        verdict,
        tell: &line,
        journal,
        found: Found::default(),
    };
    join.run()?;
    if config.join.dry_run {
        print_plan(&join, tell);
    }
    Ok(Outcome::Joined)
}

/// A host without a name of its own gets the node's, before anything asks for it.
fn name_host(root: &Root, config: &NodeConfig, tell: Tell) -> Result<()> {
    if config.join.dry_run || !root.is_machine() || name::of_host(root).is_some() {
        return Ok(());
    }
    let node = config.node_name();
    tell.line(&format!("the host has no name and is called {node}"));
    machine::set_hostname(root, &node)
}

/// Removes what a killed run was just writing.
fn sweep(root: &Root, config: &NodeConfig) {
    let ca_folder = config.join.ca_cert_path.parent();
    let folders =
        ["/etc", "/etc/kubernetes", "/var/lib/kubelet", "/var/lib/firstboot", "/run/firstboot", FOLDER]
            .map(Path::new);
    folders.into_iter().chain(ca_folder).for_each(|folder| files::sweep(&root.path(folder)));
}

/// What earlier runs leave to do.
enum Earlier {
    /// Nothing.
    Joined,
    /// This journal is to be gone on with.
    Begin(Entries),
}

/// Looks at the journal; what belongs to another machine or to another config is reset first.
fn earlier(root: &Root, config: &NodeConfig, machine: &Machine, tell: Tell) -> Result<Earlier> {
    let fingerprint = config.fingerprint(&patch_bytes(root, config)?);
    let fresh = || Entries::new(&machine.identity, &fingerprint, &config.node_name());
    let Some(entries) = Journal::read(root)? else { return Ok(Earlier::Begin(fresh())) };
    let why = match entries.compare(&machine.identity, &fingerprint) {
        Before::Joined if identity::is_good_for(root, config, None) => {
            tell.line(&format!("this machine has joined as {} before: nothing to do", entries.node));
            return Ok(Earlier::Joined);
        }
        Before::Interrupted => {
            let last = entries.phases.last().map_or("its beginning", |finished| &finished.phase);
            tell.line(&format!("going on after {last}: an earlier run was interrupted"));
            return Ok(Earlier::Begin(entries));
        }
        Before::Joined => "the certificate of this node is gone or holds no longer",
        Before::Cloned => "this disk was copied from another machine",
        Before::Different => "this machine joined with another config",
    };
    tell.line(&format!("{why}: resetting it first"));
    if !config.join.dry_run {
        undo(root, machine, tell)?;
    }
    Ok(Earlier::Begin(fresh()))
}

/// The way back. Pods that cannot be removed are left to the new kubelet; anything else that fails ends the join.
fn undo(root: &Root, machine: &Machine, tell: Tell) -> Result<()> {
    let mut host = HostMachine::new(root, machine.services, None);
    let steps = reset::reset(root, &mut host, &reset::Choice::default(), &mut |_| {});
    for step in steps {
        match step.outcome {
            StepOutcome::Failed(failure) if failure.kind == ErrorKind::Runtime => {
                tell.line(&format!("warning: {}: {failure}", step.name))
            }
            StepOutcome::Failed(failure) => return Err(failure.doing(step.name)),
            StepOutcome::Done | StepOutcome::Nothing => {}
        }
    }
    Ok(())
}

fn patch_bytes(root: &Root, config: &NodeConfig) -> Result<Vec<u8>> {
    let Some(folder) = &config.join.patches else { return Ok(Vec::new()) };
    Ok(format!("{:?}", patches::read(&root.path(folder))?).into_bytes())
}

/// Waits for a part of `longest` that is this machine's own.
fn spread(longest: Duration, machine: &Machine, tell: Tell) {
    let share = delay(longest, &machine.identity);
    if !share.is_zero() {
        tell.line(&format!(
            "waiting for {:.1} s, so that not all machines come at once",
            share.as_secs_f64()
        ));
        std::thread::sleep(share);
    }
}

/// The identity's first 32 bits as a fraction of `longest`.
fn delay(longest: Duration, identity: &str) -> Duration {
    let bits = identity
        .get(..8)
        .and_then(|digits| u32::from_str_radix(digits, 16).ok())
        .unwrap_or_default();
    longest.mul_f64(f64::from(bits) / (f64::from(u32::MAX) + 1.0))
}

/// A dry run shows what it would have written. None of these files holds a secret.
fn print_plan(join: &Join, tell: Tell) {
    for file in join.found.plan.iter().flat_map(|plan| &plan.files) {
        tell.line(&format!("would write {} (mode {:o}):", file.path.display(), file.mode));
        String::from_utf8_lossy(&file.bytes)
            .lines()
            .for_each(|line| tell.raw(&format!("  {line}")));
    }
}

/// Ends a run: prints its line, and does to the machine what the config asks after a failure.
pub fn conclude(ended: Result<Outcome>, verdict: &mut Verdict, tell: Tell) -> Result<()> {
    match ended {
        Ok(outcome) => {
            tell.raw(&verdict.end(outcome));
            Ok(())
        }
        Err(failure) => {
            tell.raw(&verdict.fail(&failure));
            Err(failure)
        }
    }
}

/// The failure of an interrupted join whose config is gone.
pub fn gone(node: &str) -> Failure {
    Failure::new(
        ErrorKind::Source,
        format!("the join as {node} was interrupted, and no source has its node config any more"),
    )
    .help("give the config back, or run firstboot reset")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_are_spread_by_the_identity() {
        let longest = Duration::from_secs(100);
        assert_eq!(delay(longest, "00000000aa"), Duration::ZERO);
        assert_eq!(delay(longest, "80000000aa"), Duration::from_secs(50));
        assert!(delay(longest, "ffffffffaa") < longest);
        assert_eq!(delay(longest, "no hash"), Duration::ZERO);
    }
}
