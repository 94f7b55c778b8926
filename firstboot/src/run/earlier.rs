//! The checkpoint of an earlier run on this disk decides what this run does: nothing, resume the join, or
//! reset the node first because the disk was cloned or the config changed.

use contract::trust_policy::NO_PLATFORM;

use super::{ResolvedConfig, Session, cluster_names};
use crate::binding::Binding;
use crate::checkpoint::{Before, Checkpoint};
use crate::config::model::NodeConfig;
use crate::error::{ErrorKind, Failure, Result};
use crate::host::root::Root;
use crate::host::{files, machine};
use crate::join::patches;
use crate::join::phases::identity;
use crate::join::reset::{self, Outcome as StepOutcome};
use crate::join::reset_host::LocalHost;
use crate::machine::Machine;
use crate::paths;
use crate::platforms::Platform;
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
    Ok(format!("{:?}", patches::read(root, folder)?).into_bytes())
}

/// The first act of a run, before anything else is read: a copy of a joined disk loses the identity of the
/// original, any other joined machine gets its name back. Then the kubelet may start, however the run ends.
pub(super) fn settle_identity(session: &Session) -> Result<()> {
    if let Some(checkpoint) = Checkpoint::read(session.root)? {
        let machine = session.machine()?;
        if checkpoint.machine != machine.identity {
            session.print(&format!(
                "this disk was copied from another machine, which joined as {}: resetting it first",
                checkpoint.node
            ));
            reset_node(session, machine)?;
        } else {
            keep_hostname(session)?;
        }
    }
    permit_kubelet(session)
}

/// Calls the host as it was called when it joined: DHCP may have another name for it, and a node does not
/// leave its cluster for that.
fn keep_hostname(session: &Session) -> Result<()> {
    let root = session.root;
    let Some(kept) = Binding::read(root)?.and_then(|binding| binding.hostname) else { return Ok(()) };
    if machine::static_hostname(root).is_some() || machine::hostname(root).as_ref() == Some(&kept) {
        return Ok(());
    }
    match machine::set_transient_hostname(root, &kept) {
        Ok(()) => session.print(&format!("the host is called {kept} again, as when it joined")),
        Err(failure) => session.warn(format_args!("{failure}: the host was called so when it joined")),
    }
    Ok(())
}

/// Lets the kubelet's unit start during this boot.
pub(super) fn permit_kubelet(session: &Session) -> Result<()> {
    files::write(&session.root.entry(paths::KUBELET_PERMIT), b"", files::PUBLIC)
}

/// The outcome of a run whose config a machine that has joined must not follow; none if it may.
pub(super) fn stays(
    session: &Session,
    resolved: &ResolvedConfig,
    platform: Option<&Platform>,
    progress: &mut Progress,
) -> Result<Option<Outcome>> {
    let Some(joined) = session.joined()?.filter(|_| resolved.origin.is_some()) else { return Ok(None) };
    let objection = match &joined.binding {
        Some(binding) => binding.objection(&binding_of(session.root, resolved, platform)),
        None => objection_without_binding(session, &joined.checkpoint, &resolved.config)?,
    };
    let Some(objection) = objection else { return Ok(None) };
    let refused = format!("the node config from {} is not followed: {objection}", resolved.source);
    let help = "run firstboot reset to join with it, or allow rejoin in the image's trust policy";
    if !joined.checkpoint.joined {
        return Err(Failure::new(ErrorKind::Untrusted, refused).help(help));
    }
    let warning = format!("{refused}; {help}");
    session.warn(&warning);
    progress.warn(warning);
    Ok(Some(has_joined(session, &joined.checkpoint, progress)))
}

/// An older agent remembered only a hash of the config.
fn objection_without_binding(
    session: &Session,
    checkpoint: &Checkpoint,
    config: &NodeConfig,
) -> Result<Option<String>> {
    let is_same = checkpoint.config == config.fingerprint(&patch_bytes(session.root, config)?);
    Ok((!is_same).then(|| "an older agent joined this machine with another config".to_owned()))
}

/// What a machine that joins with this config is bound to.
pub(super) fn binding_of(root: &Root, resolved: &ResolvedConfig, platform: Option<&Platform>) -> Binding {
    let platform = platform.map_or(NO_PLATFORM, |platform| platform.name);
    Binding {
        platform: resolved.origin.map(|_| platform.to_owned()),
        source: resolved.origin.map(str::to_owned),
        disk: resolved.disk.clone(),
        cluster: cluster_names::of(root, resolved),
        hostname: machine::own_hostname(root),
    }
}

/// Whether a finished join makes metadata dispensable: a node does not stop because its platform is silent.
pub(super) fn needs_no_metadata(session: &Session) -> Result<bool> {
    Ok(session.joined()?.is_some_and(|joined| joined.checkpoint.joined))
}

fn has_joined(session: &Session, checkpoint: &Checkpoint, progress: &mut Progress) -> Outcome {
    progress.status().node = Some(checkpoint.node.clone());
    session.print(&format!("this machine has joined as {} before: nothing to do", checkpoint.node));
    Outcome::AlreadyJoined
}

/// The outcome of a run without a node config. A machine that has joined needs none.
pub(super) fn without_config(session: &Session, progress: &mut Progress) -> Result<Outcome> {
    let Some(checkpoint) = Checkpoint::read(session.root)? else {
        session.print("found no node config: nothing to do");
        return Ok(Outcome::NoConfig);
    };
    if checkpoint.joined {
        return Ok(has_joined(session, &checkpoint, progress));
    }
    progress.status().node = Some(checkpoint.node.clone());
    let message =
        format!("the join as {} was interrupted, and its node config no longer exists", checkpoint.node);
    Err(Failure::new(ErrorKind::Source, message).help("restore the node config, or run firstboot reset"))
}

#[cfg(test)]
#[path = "earlier_tests.rs"]
mod tests;
