//! Keeps pods from metadata services and secrets from whoever comes later: what a run does about its platform beside the join.

use super::config::Sourced;
use super::tell::Tell;
use crate::config::model::NodeConfig;
use crate::error::Result;
use crate::guard;
use crate::host::root::Root;
use crate::metadata::Metadata;
use crate::platforms::Platform;
use crate::policy::Policy;

/// At each boot, before anything is read and any pod starts: pods are kept from the platform's services, unless the policy, or the node config of
/// an earlier boot, says otherwise. What cannot be done is an error only where the policy asks for it.
pub fn at_boot(root: &Root, policy: &Policy, platform: Option<&Platform>, tell: Tell) -> Result<()> {
    let addresses = guarded(platform);
    if !root.is_machine() || addresses.is_empty() || !policy.guard.unwrap_or_else(|| !guard::is_off(root)) {
        return Ok(());
    }
    match guard::apply(&addresses) {
        Err(failure) if policy.guard != Some(true) => tell.line(&format!("warning: {failure}")),
        applied => applied?,
    }
    Ok(())
}

/// Once there is a node config: what it says of the guard counts where the policy says nothing.
pub fn by_config(
    root: &Root,
    policy: &Policy,
    config: &NodeConfig,
    platform: Option<&Platform>,
    tell: Tell,
) -> Result<()> {
    let addresses = guarded(platform);
    if !root.is_machine() || config.join.dry_run || addresses.is_empty() {
        return Ok(());
    }
    let is_off = config.agent.guard_metadata == Some(false);
    if let Some(guard) = policy.guard {
        if config.agent.guard_metadata.is_some_and(|wish| wish != guard) {
            tell.line("guardMetadata does not count: the image's policy says whether pods are kept from metadata services");
        }
        return Ok(());
    }
    let was_off = guard::is_off(root);
    if is_off != was_off {
        guard::remember(root, is_off)?;
    }
    if is_off {
        if guard::remove()? {
            tell.line("pods may reach metadata services: guardMetadata is false");
        }
    } else if was_off {
        guard::apply(&addresses)?;
    }
    Ok(())
}

fn guarded(platform: Option<&Platform>) -> Vec<std::net::IpAddr> {
    guard::addresses(platform.map(|platform| platform.guarded).unwrap_or_default())
}

/// After a join: the platform's copy of what was just used is made unreadable, where that is possible and the config came from there.
pub fn scrub(root: &Root, metadata: &Metadata, sourced: &Sourced, tell: Tell) {
    let config = &sourced.config;
    let came_from = |platform: &&Platform| sourced.origin == Some(platform.name);
    let Some(platform) =
        metadata.platform.filter(came_from).filter(|_| config.agent.scrub && !config.join.dry_run)
    else {
        return;
    };
    let Some(scrub) = platform.scrub.filter(|_| root.is_machine()) else { return };
    match scrub(root) {
        Ok(done) => done.iter().for_each(|done| tell.line(done)),
        Err(failure) => tell.line(&format!("warning: {failure}: it may hold a token")),
    }
}
