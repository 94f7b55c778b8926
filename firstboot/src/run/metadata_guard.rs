//! Decides whether pods are kept from the platform's metadata service: by the image's trust policy, else the
//! node config, else the default, which is yes.

use std::net::IpAddr;

use super::Session;
use crate::config::model::NodeConfig;
use crate::error::Result;
use crate::guard;
use crate::platforms::Platform;

/// At each boot, before any data is read and any pod starts: turns the guard on, unless the policy or the
/// node config of an earlier boot turns it off. A failure is an error only if the policy requires the guard.
pub(super) fn at_boot(session: &Session, platform: Option<&Platform>) -> Result<()> {
    let (root, by_policy) = (session.root, session.policy()?.guard);
    let addresses = guarded(platform);
    if !root.is_machine() || addresses.is_empty() || !by_policy.unwrap_or_else(|| !guard::is_off(root)) {
        return Ok(());
    }
    match guard::apply(&addresses) {
        Err(failure) if by_policy != Some(true) => session.warn(failure),
        applied => applied?,
    }
    Ok(())
}

/// Follows the node config if the policy does not decide.
pub(super) fn by_config(session: &Session, config: &NodeConfig, platform: Option<&Platform>) -> Result<()> {
    let (root, wish) = (session.root, config.agent.guard_metadata);
    let addresses = guarded(platform);
    if !root.is_machine() || config.join.dry_run || addresses.is_empty() {
        return Ok(());
    }
    if let Some(by_policy) = session.policy()?.guard {
        if wish.is_some_and(|wish| wish != by_policy) {
            session.print("guardMetadata does not count: the image's policy says whether pods are kept from metadata services");
        }
        return Ok(());
    }
    let (is_off, was_off) = (wish == Some(false), guard::is_off(root));
    if is_off != was_off {
        guard::remember(root, is_off)?;
    }
    if is_off {
        if guard::remove()? {
            session.print("pods may reach metadata services: guardMetadata is false");
        }
    } else if was_off {
        guard::apply(&addresses)?;
    }
    Ok(())
}

fn guarded(platform: Option<&Platform>) -> Vec<IpAddr> {
    guard::addresses(platform.map(|platform| platform.guarded).unwrap_or_default())
}
