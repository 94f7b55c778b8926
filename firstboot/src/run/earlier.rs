//! The checkpoint of an earlier run on this disk decides what this run does: nothing, resume the join, or
//! reset the node first because the disk was cloned or the config changed.

use contract::trust_policy::NO_PLATFORM;

use super::session::Joined;
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

/// What an earlier run on this disk means for this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Joined,
    Interrupted,
    /// The node is reset first.
    Other,
}

/// What the checkpoint means for a run with this config, and the sentence that says so.
fn look(root: &Root, config: &NodeConfig, checkpoint: &Checkpoint, now: &Checkpoint) -> (Found, String) {
    let why = match checkpoint.compare(&now.machine, &now.config) {
        Before::Joined if identity::is_good_for(root, config, None) => {
            return (Found::Joined, joined_before(checkpoint));
        }
        Before::Interrupted => {
            let last = checkpoint.phases.last().map_or("the start", |finished| &finished.phase);
            return (Found::Interrupted, format!("an earlier run was interrupted after {last}: resuming"));
        }
        Before::Joined => "the certificate of this node is gone or holds no longer",
        Before::Cloned => "this disk was copied from another machine",
        Before::Different if checkpoint.joined => "this machine joined with another config",
        Before::Different => "an earlier run began to join with another config",
    };
    (Found::Other, format!("{why}: resetting it first"))
}

fn joined_before(checkpoint: &Checkpoint) -> String {
    format!("this machine has joined as {} before: nothing to do", checkpoint.node)
}

/// The checkpoint with which this machine would begin a join.
fn fresh(session: &Session, config: &NodeConfig) -> Result<Checkpoint> {
    let fingerprint = config.fingerprint(&patch_bytes(session.root, config)?);
    Ok(Checkpoint::new(&session.machine()?.identity, &fingerprint, &config.node_name()))
}

/// What a run would say of an earlier one, without changing anything; none if there was none.
pub fn foreseen(
    session: &Session,
    resolved: Option<&ResolvedConfig>,
    platform: Option<&Platform>,
) -> Result<Option<String>> {
    let unknown = resolved.map(|resolved| unknown_node(session, resolved)).transpose()?.flatten();
    if unknown.is_some() {
        return Ok(unknown);
    }
    let Some(checkpoint) = Checkpoint::read(session.root)? else { return Ok(None) };
    let Some(resolved) = resolved else {
        let gone = |failure: Failure| failure.message;
        return Ok(Some(still_joined(&checkpoint).map_or_else(gone, |()| joined_before(&checkpoint))));
    };
    if let Some((_, refused)) = refused(session, resolved, platform)? {
        return Ok(Some(refused));
    }
    let now = fresh(session, &resolved.config)?;
    let (found, sentence) = look(session.root, &resolved.config, &checkpoint, &now);
    let is_unbound = found == Found::Joined && Binding::read(session.root)?.is_none();
    let more =
        if is_unbound { "; an older agent joined it, and it keeps to this config from now on" } else { "" };
    Ok(Some(format!("{sentence}{more}")))
}

/// Reads the checkpoint. If it belongs to another machine or another config, resets the node.
pub(super) fn earlier(session: &Session, config: &NodeConfig) -> Result<Earlier> {
    let fresh = fresh(session, config)?;
    let Some(checkpoint) = Checkpoint::read(session.root)? else { return Ok(Earlier::Begin(fresh)) };
    let (found, sentence) = look(session.root, config, &checkpoint, &fresh);
    session.print(&sentence);
    match found {
        Found::Joined => Ok(Earlier::Joined),
        Found::Interrupted => Ok(Earlier::Begin(checkpoint)),
        Found::Other if config.join.dry_run => Ok(Earlier::Begin(fresh)),
        Found::Other if session.root.path(paths::API_SERVER_MANIFEST).exists() => Err(Failure::new(
            ErrorKind::Refused,
            "a control plane is not reset by itself: it may hold the cluster's data",
        )
        .help("run firstboot reset if that data is not needed any more")),
        Found::Other => {
            reset_node(session, session.machine()?)?;
            Ok(Earlier::BeginAfterReset(fresh))
        }
    }
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
    if let Some(writer) = Checkpoint::machine(session.root)? {
        let machine = session.machine()?;
        if writer != machine.identity {
            session.print(&copied(Checkpoint::read(session.root)?.as_ref()));
            reset_node(session, machine)?;
        } else {
            keep_hostname(session)?;
        }
    }
    permit_kubelet(session)?;
    #[cfg(windows)]
    super::windows_services::start(session)?;
    Ok(())
}

fn copied(checkpoint: Option<&Checkpoint>) -> String {
    let original = checkpoint.map(|checkpoint| {
        let did = if checkpoint.joined { "joined" } else { "began to join" };
        format!(", which {did} as {}", checkpoint.node)
    });
    format!("this disk was copied from another machine{}: resetting it first", original.unwrap_or_default())
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
    if let Some(sentence) = unknown_node(session, resolved)? {
        return Err(Failure::new(ErrorKind::Preflight, sentence).help(TO_FOLLOW));
    }
    let Some((joined, refused)) = refused(session, resolved, platform)? else { return Ok(None) };
    if !joined.checkpoint.joined {
        return Err(Failure::new(ErrorKind::Untrusted, refused).help(TO_FOLLOW));
    }
    session.warn(format_args!("{refused}; {TO_FOLLOW}"));
    Ok(Some(has_joined(session, &joined.checkpoint, progress)))
}

/// How a joined machine comes to follow another config.
const TO_FOLLOW: &str = "run firstboot reset to join with it, or allow rejoin in the image's trust policy";

/// Why a config that this machine found is not followed: the machine is a node, and no checkpoint says that
/// it became one with a config of the agent. `kubeadm join` made it one, or the checkpoint is lost.
fn unknown_node(session: &Session, resolved: &ResolvedConfig) -> Result<Option<String>> {
    let root = session.root;
    let is_node = root.path(paths::KUBELET_CONF).exists();
    if resolved.origin.is_none() || !is_node || session.policy()?.rejoin {
        return Ok(None);
    }
    // A power cut may come between the certificate and its checkpoint.
    let is_own = match Checkpoint::read(root)? {
        Some(checkpoint) if !checkpoint.has_identity() => {
            checkpoint.config == fresh(session, &resolved.config)?.config
        }
        checkpoint => checkpoint.is_some(),
    };
    Ok((!is_own).then(|| {
        let why = format!("{} exists already, and this agent did not join the machine", paths::KUBELET_CONF);
        format!("the node config from {} is not followed: {why}", resolved.source)
    }))
}

/// The join that keeps this machine from following the config, and the sentence that says why.
fn refused<'s>(
    session: &'s Session,
    resolved: &ResolvedConfig,
    platform: Option<&Platform>,
) -> Result<Option<(&'s Joined, String)>> {
    let Some(joined) = session.joined()?.filter(|_| resolved.origin.is_some()) else { return Ok(None) };
    let objection = match &joined.binding {
        Some(binding) => binding.objection(&binding_of(session.root, resolved, platform)),
        None => objection_without_binding(session, &joined.checkpoint, &resolved.config)?,
    };
    let sentence =
        |objection| format!("the node config from {} is not followed: {objection}", resolved.source);
    Ok(objection.map(|objection| (joined, sentence(objection))))
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
    session.print(&joined_before(checkpoint));
    Outcome::AlreadyJoined
}

/// The outcome of a run without a node config. A machine that has joined needs none.
pub(super) fn without_config(session: &Session, progress: &mut Progress) -> Result<Outcome> {
    let Some(checkpoint) = Checkpoint::read(session.root)? else {
        session.print("found no node config: nothing to do");
        return Ok(Outcome::NoConfig);
    };
    progress.status().node = Some(checkpoint.node.clone());
    still_joined(&checkpoint)?;
    Ok(has_joined(session, &checkpoint, progress))
}

/// Fails if the join is not over, because without its config it cannot go on.
fn still_joined(checkpoint: &Checkpoint) -> Result<()> {
    if checkpoint.joined {
        return Ok(());
    }
    let message =
        format!("the join as {} was interrupted, and its node config no longer exists", checkpoint.node);
    Err(Failure::new(ErrorKind::Source, message).help("restore the node config, or run firstboot reset"))
}

#[cfg(test)]
#[path = "earlier_tests.rs"]
mod tests;
