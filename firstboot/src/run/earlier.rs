//! The checkpoint of an earlier run on this disk decides what this run does: nothing, resume the join, or
//! reset the node first because the disk was cloned or the config changed.

use super::Session;
use crate::checkpoint::{Before, Checkpoint};
use crate::config::model::NodeConfig;
use crate::error::{ErrorKind, Failure, Result};
use crate::host::root::Root;
use crate::join::patches;
use crate::join::phases::identity;
use crate::join::reset::{self, Outcome as StepOutcome};
use crate::join::reset_host::LocalHost;
use crate::machine::Machine;
use crate::status::{Outcome, Progress};

/// The next step of the run.
pub(super) enum Earlier {
    /// Nothing: the machine has joined.
    Joined,
    /// The join begins or resumes from this checkpoint.
    Begin(Checkpoint),
    /// As `Begin`, after a reset.
    BeginAfterReset(Checkpoint),
}

/// Reads the checkpoint. If it belongs to another machine or another config, resets the node.
pub(super) fn earlier(session: &Session, config: &NodeConfig) -> Result<Earlier> {
    let (root, machine) = (session.root, session.machine()?);
    let fingerprint = config.fingerprint(&patch_bytes(root, config)?);
    let fresh = || Checkpoint::new(&machine.identity, &fingerprint, &config.node_name());
    let Some(checkpoint) = Checkpoint::read(root)? else { return Ok(Earlier::Begin(fresh())) };
    let why = match checkpoint.compare(&machine.identity, &fingerprint) {
        Before::Joined if identity::is_good_for(root, config, None) => {
            session.print(&format!("this machine has joined as {} before: nothing to do", checkpoint.node));
            return Ok(Earlier::Joined);
        }
        Before::Interrupted => {
            let last = checkpoint.phases.last().map_or("the start", |finished| &finished.phase);
            session.print(&format!("an earlier run was interrupted after {last}: resuming"));
            return Ok(Earlier::Begin(checkpoint));
        }
        Before::Joined => "the certificate of this node is gone or holds no longer",
        Before::Cloned => "this disk was copied from another machine",
        Before::Different => "this machine joined with another config",
    };
    session.print(&format!("{why}: resetting it first"));
    if config.join.dry_run {
        return Ok(Earlier::Begin(fresh()));
    }
    reset_node(session, machine)?;
    Ok(Earlier::BeginAfterReset(fresh()))
}

/// Resets the node. Pods that cannot be removed are left to the new kubelet. Any other failure ends the join.
fn reset_node(session: &Session, machine: &Machine) -> Result<()> {
    let mut host = LocalHost::new(session.root, machine.services, None);
    let steps = reset::reset(session.root, &mut host, &reset::Choice::default(), &mut |_| {});
    for step in steps {
        match step.outcome {
            StepOutcome::Failed(failure) if failure.kind == ErrorKind::Runtime => {
                session.warn(format_args!("{}: {failure}", step.name));
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

/// The outcome of a run without a node config. A machine that has joined needs none.
pub(super) fn without_config(session: &Session, progress: &mut Progress) -> Result<Outcome> {
    let Some(checkpoint) = Checkpoint::read(session.root)? else {
        session.print("found no node config: nothing to do");
        return Ok(Outcome::NoConfig);
    };
    progress.status().node = Some(checkpoint.node.clone());
    if checkpoint.machine != session.machine()?.identity || !checkpoint.joined {
        let message =
            format!("the join as {} was interrupted, and its node config no longer exists", checkpoint.node);
        return Err(
            Failure::new(ErrorKind::Source, message).help("restore the node config, or run firstboot reset")
        );
    }
    session.print(&format!("this machine has joined as {} before: nothing to do", checkpoint.node));
    Ok(Outcome::AlreadyJoined)
}
