//! `firstboot reset`: undoes a join, as `kubeadm reset` does for a worker.

use super::Session;
use crate::cli::request::Reset;
use crate::config::file;
use crate::config::reset::{ResetConfiguration, parse_reset};
use crate::error::{Failure, Result};
use crate::guard;
use crate::host::services::Services;
use crate::join::reset::{self, Choice, Outcome, Step};
use crate::join::reset_host::LocalHost;

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
pub fn plan(configuration: &ResetConfiguration) -> Vec<String> {
    reset::plan(&choice(configuration))
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
    let steps = reset::reset(root, &mut host(session, configuration), &choice(configuration), report);
    if root.is_machine() && guard::remove()? {
        session.print("let pods reach metadata services again: done");
    }
    steps.into_iter().find_map(failure).map_or(Ok(()), |failure| {
        Err(failure.help("mend what failed and run it again: finished steps do no harm"))
    })
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
