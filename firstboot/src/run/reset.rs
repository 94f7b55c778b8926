//! `firstboot reset`: undoes a join, as `kubeadm reset` does for a worker.

use std::time::Duration;

use super::Session;
use crate::cli::request::Reset;
use crate::config::file;
use crate::config::reset::{ResetConfiguration, parse_reset};
use crate::error::{Failure, Result};
use crate::guard;
use crate::host::command;
use crate::host::services::Services;
use crate::join::reset::{self, Choice, Outcome, Step};
use crate::join::reset_host::LocalHost;
use crate::paths;

/// kubeadm's phase that takes a member out of etcd.
const REMOVE_MEMBER: &str = "remove-etcd-member";
const LIMIT_OF_ETCD: Duration = Duration::from_secs(120);

/// A ResetConfiguration without fields.
const EMPTY: &[u8] = b"{\"apiVersion\":\"kubeadm.k8s.io/v1beta4\",\"kind\":\"ResetConfiguration\"}";

/// Reads the file that the request names; flags override its fields.
pub fn configuration(request: &Reset) -> Result<ResetConfiguration> {
    let path = request.config.as_deref();
    let bytes = path.map(file::read).transpose()?.unwrap_or_else(|| EMPTY.to_vec());
    let mut merged = parse_reset(&bytes)
        .map_err(|failure| path.map_or(failure.clone(), |path| failure.doing(path.display().to_string())))?;
    merged.force |= request.force;
    merged.dry_run |= request.dry_run;
    merged.cleanup_tmp_dir |= request.cleanup_tmp_dir;
    merged.certificates_dir = request.cert_dir.clone().or(merged.certificates_dir);
    merged.cri_socket = request.cri_socket.clone().or(merged.cri_socket);
    merged.skip_phases.extend(request.skip_phases.iter().cloned());
    Ok(merged)
}

/// Descriptions of the steps of a reset with this configuration.
pub fn plan(session: &Session, configuration: &ResetConfiguration) -> Vec<String> {
    reset::plan(session.root, &choice(configuration))
}

/// Whether a reset with this configuration stays with what is a node's.
pub fn check(session: &Session, configuration: &ResetConfiguration) -> Result<()> {
    configuration.check()?;
    reset::check(session.root, &mut host(session, configuration), &choice(configuration))
}

/// Resets the node. Passes each step to `report`. Returns the first failure after all steps were tried.
pub fn reset(
    session: &Session,
    configuration: &ResetConfiguration,
    report: &mut dyn FnMut(&Step),
) -> Result<()> {
    let root = session.root;
    leave_etcd(session, configuration);
    let steps = reset::reset(root, &mut host(session, configuration), &choice(configuration), report);
    if root.is_machine() && guard::remove()? {
        session.print("let pods reach metadata services again: done");
    }
    steps.into_iter().find_map(failure).map_or(Ok(()), |failure| {
        Err(failure.help("mend what failed and run it again: finished steps do no harm"))
    })
}

/// Lets the real kubeadm take a control plane's member out of etcd while etcd still runs. A cluster that is
/// gone does not keep the machine.
fn leave_etcd(session: &Session, configuration: &ResetConfiguration) {
    let root = session.root;
    let has = |path| root.path(path).exists();
    let is_skipped = |phase| configuration.skip_phases.iter().any(|skipped| skipped == phase);
    if !root.is_machine() || !has(paths::KUBEADM) || !has(paths::ETCD_MANIFEST) || is_skipped(REMOVE_MEMBER) {
        return;
    }
    match command::run_checked(paths::KUBEADM, &["reset", "phase", REMOVE_MEMBER], LIMIT_OF_ETCD) {
        Ok(_) => session.print("take this member out of etcd: done"),
        Err(failure) => session.warn(format_args!("{failure}: etcd may still count on this member")),
    }
}

fn host<'a>(session: &Session<'a>, configuration: &ResetConfiguration) -> LocalHost<'a> {
    let services = Services::of(session.root);
    LocalHost::new(session.root, services, configuration.cri_socket.clone())
}

fn choice(configuration: &ResetConfiguration) -> Choice {
    let default = Choice::default();
    Choice {
        certificates: configuration.certificates_dir.clone().unwrap_or(default.certificates),
        scratch: configuration.cleanup_tmp_dir,
        unmount: configuration.unmount_flags,
    }
}

fn failure(step: Step) -> Option<Failure> {
    match step.outcome {
        Outcome::Failed(failure) => Some(failure.doing(step.name)),
        Outcome::Done | Outcome::Nothing => None,
    }
}
