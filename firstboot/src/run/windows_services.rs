//! The services of a node with Windows, which do not start by themselves: started at each boot, and looked at
//! when a run ends.

use std::time::Duration;

use super::Session;
use crate::checkpoint::Checkpoint;
use crate::error::{ErrorKind, Failure, Result};
use crate::host::services::Wait;
use crate::join::phases::{kube_proxy, network};
use crate::net::Deadline;
use crate::paths;
use crate::status::Outcome;

/// How long the network may take at a later boot.
const BOOT_LIMIT: Duration = Duration::from_secs(120);

/// The services of a node do not start by themselves, so that none of a copied disk runs. What does not start
/// is a warning: the run may have something to say of it.
pub(super) fn start(session: &Session) -> Result<()> {
    if !Checkpoint::read(session.root)?.is_some_and(|checkpoint| checkpoint.joined) {
        return Ok(());
    }
    let services = session.machine()?.services;
    let network = network::prepare(session.root, Deadline::after(BOOT_LIMIT), &|line| session.print(line));
    let kubelet = services.start("kubelet", Wait::Queued);
    let kube_proxy =
        if kube_proxy::is_wanted(services)? && session.root.path(paths::KUBE_PROXY_CONFIG).exists() {
            services.start(kube_proxy::UNIT, Wait::Queued)
        } else {
            Ok(())
        };
    [network, kubelet, kube_proxy]
        .into_iter()
        .filter_map(Result::err)
        .for_each(|failure| session.warn(failure));
    Ok(())
}

/// Fails where the image has kube-proxy as a service and a run that is well leaves it without.
pub(super) fn check(session: &Session, outcome: Outcome) -> Result<Outcome> {
    let services = session.machine()?.services;
    let is_node = matches!(outcome, Outcome::Joined | Outcome::AlreadyJoined);
    if !is_node || !kube_proxy::is_wanted(services)? || services.is_active(kube_proxy::UNIT)? {
        return Ok(outcome);
    }
    let failure = Failure::new(ErrorKind::Host, "kube-proxy, which the image has as a service, does not run");
    Err(if session.root.path(paths::KUBE_PROXY_CONFIG).exists() {
        failure.help(services.advice(kube_proxy::UNIT))
    } else {
        failure.help("this machine joined without it: run firstboot reset, then join again")
    })
}
