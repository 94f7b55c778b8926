//! Joins the machine with a node config.

use std::path::Path;
use std::time::Duration;

use super::earlier::{Earlier, binding_of, earlier, permit_kubelet};
#[cfg(windows)]
use super::features::{self, Next};
use super::{ResolvedConfig, Session, extra_files};
use crate::binding::Binding;
use crate::checkpoint::CheckpointFile;
use crate::config::model::NodeConfig;
use crate::error::Result;
use crate::facts::Facts;
use crate::host::root::Root;
use crate::host::{files, machine};
use crate::join::Join;
use crate::join::identity::FOLDER;
use crate::join::phases::{Results, preflight};
use crate::join::roles::{self, Role};
use crate::metadata::Metadata;
use crate::net::{Deadline, Network};
use crate::paths;
use crate::status::{Outcome, Progress};

/// When a join begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// At once.
    Now,
    /// After a wait from the config's `spread`, because many machines may boot at the same time.
    Spread,
}

/// Joins, unless the machine has joined before.
pub(super) fn join(
    session: &Session,
    metadata: &Metadata,
    resolved: &ResolvedConfig,
    start: Start,
    progress: &mut Progress,
) -> Result<Outcome> {
    let (config, is_dry_run) = (&resolved.config, resolved.config.join.dry_run);
    introduce(session, resolved, progress);
    let role = roles::of(config.join.role, session.root)?;
    name_host(session, config)?;
    if !is_dry_run {
        hide_config(session, resolved);
        extra_files::write(session, &resolved.files, config)?;
    }
    let machine = session.machine()?;
    if !is_dry_run {
        sweep(session.root, config);
    }
    let mut binding = binding_of(session.root, resolved, metadata.platform);
    let begin = match earlier(session, config)? {
        Earlier::Joined => {
            adopt(session, resolved, metadata)?;
            return Ok(Outcome::AlreadyJoined);
        }
        Earlier::Begin(begin) => {
            // A run that goes on does not ask for the cluster's names again.
            let known = Binding::read(session.root)?.filter(|known| known.objection(&binding).is_none());
            binding = known.unwrap_or(binding);
            begin
        }
        Earlier::BeginAfterReset(begin) => {
            // The reset may have removed the files.
            extra_files::write(session, &resolved.files, config)?;
            begin
        }
    };
    if !is_dry_run {
        permit_kubelet(session)?;
        binding.write(session.root)?;
    }
    let checkpoint = if is_dry_run {
        CheckpointFile::in_memory(begin)
    } else {
        CheckpointFile::begin(session.root, begin)?
    };
    #[cfg(windows)]
    if start == Start::Spread && !is_dry_run && enable_features(session, progress)? == Next::Restart {
        return Ok(Outcome::Restart);
    }
    if start == Start::Spread {
        spread(session, config.agent.spread, &machine.identity);
    }
    with_join(session, role, &metadata.facts, resolved, Some(checkpoint), progress, |join| {
        join.run()?;
        if is_dry_run {
            print_plan(session, join);
            return Ok(Outcome::DryRun);
        }
        Ok(Outcome::Joined)
    })
}

/// Enables what the image asks of Windows. Who joins by hand decides about restarts.
#[cfg(windows)]
fn enable_features(session: &Session, progress: &mut Progress) -> Result<Next> {
    progress.phase("features");
    let next = features::enable_here(session.root, &|line| session.print(line))?;
    progress.phase_ended("done");
    Ok(next)
}

/// Says which config the run uses, and what is to be said of it.
fn introduce(session: &Session, resolved: &ResolvedConfig, progress: &mut Progress) {
    progress.status().node = Some(resolved.config.node_name());
    progress.status().source = Some(resolved.source.clone());
    resolved.config.warnings.iter().for_each(|warning| session.warn(warning));
    session.hand_warnings_to(progress);
}

/// Binds a machine that an older agent joined to the source that still has the same config.
fn adopt(session: &Session, resolved: &ResolvedConfig, metadata: &Metadata) -> Result<()> {
    if resolved.config.join.dry_run || Binding::read(session.root)?.is_some() {
        return Ok(());
    }
    binding_of(session.root, resolved, metadata.platform).write(session.root)
}

/// Runs the checks of a join on this machine, except those that need the cluster.
pub fn check(
    session: &Session,
    facts: &Facts,
    resolved: &ResolvedConfig,
    progress: &mut Progress,
) -> Result<()> {
    introduce(session, resolved, progress);
    session.machine()?;
    with_join(session, &roles::WORKER, facts, resolved, None, progress, preflight::alone)
}

fn with_join<T>(
    session: &Session,
    role: &'static Role,
    facts: &Facts,
    resolved: &ResolvedConfig,
    checkpoint: Option<CheckpointFile>,
    progress: &mut Progress,
    run: impl FnOnce(&mut Join) -> Result<T>,
) -> Result<T> {
    let config = &resolved.config;
    let mut join = Join {
        root: session.root,
        role,
        config,
        machine: session.machine()?,
        facts,
        deadline: Deadline::after(config.agent.deadline),
        network: Network::new(session.root.clone()),
        progress,
        print: &|line| session.print(line),
        checkpoint,
        results: Results::default(),
    };
    run(&mut join)
}

/// The name that the host gets from the node; none if it has one of its own.
pub fn name_for_host(session: &Session, config: &NodeConfig) -> Option<String> {
    if !session.root.is_machine() || machine::own_hostname(session.root).is_some() {
        return None;
    }
    Some(config.node_name()).filter(|node| !machine::is_placeholder_name(node))
}

/// If the host has no name, sets the node's name, before another program asks for it.
fn name_host(session: &Session, config: &NodeConfig) -> Result<()> {
    let Some(node) = name_for_host(session, config).filter(|_| !config.join.dry_run) else {
        return Ok(());
    };
    session.print(&format!("the host has no name and is called {node}"));
    machine::set_hostname(session.root, &node)
}

/// The file that the config came from holds a token, so only root may read it.
fn hide_config(session: &Session, resolved: &ResolvedConfig) {
    if let Some(path) =
        resolved.file.as_ref().map(|file| session.root.path(file)).filter(|path| path.exists())
        && let Err(failure) = files::make_private(&path)
    {
        session.warn(format_args!("{failure}: it may hold a token"));
    }
}

/// Removes the unfinished files of a killed run.
fn sweep(root: &Root, config: &NodeConfig) {
    let ca_folder = config.join.ca_cert_path.parent();
    let folders =
        [paths::ETC, paths::KUBERNETES, paths::KUBELET, paths::STATE_FOLDER, paths::RUN_FOLDER, FOLDER]
            .map(Path::new);
    folders.into_iter().chain(ca_folder).for_each(|folder| files::sweep(&root.path(folder)));
}

/// Waits for this machine's share of `longest`.
fn spread(session: &Session, longest: Duration, identity: &str) {
    let share = delay(longest, identity);
    if !share.is_zero() {
        session.print(&format!(
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

/// Prints the files that a dry run would write, and the phases that it would run. None of the files holds a
/// secret.
fn print_plan(session: &Session, join: &mut Join) {
    session.print(&format!("would run the phases {}", join.phases_of_a_join().join(", ")));
    for file in join.results.plan.iter().flat_map(|plan| &plan.files) {
        session.print(&format!("would write {} (mode {:o}):", file.path.display(), file.mode));
        String::from_utf8_lossy(&file.bytes)
            .lines()
            .for_each(|line| session.console.print_quoted(line));
    }
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
