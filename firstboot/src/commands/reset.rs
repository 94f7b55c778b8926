//! `firstboot reset`: what `kubeadm reset` does for a worker.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use super::tell::Tell;
use crate::cli::request::Reset;
use crate::config::file;
use crate::config::reset::{ResetConfiguration, parse_reset};
use crate::error::{ErrorKind, Failure, Result};
use crate::guard;
use crate::host::cri::{self, Client};
use crate::host::root::Root;
use crate::host::services::Services;
use crate::join::reset::{self, Machine, Outcome, Step};
use crate::machine;

/// What no file says.
const NOTHING: &[u8] = b"{\"apiVersion\":\"kubeadm.k8s.io/v1beta4\",\"kind\":\"ResetConfiguration\"}";
/// How long the runtime may take to be there.
const RUNTIME_LIMIT: Duration = Duration::from_secs(30);
/// How long it may take to stop one pod.
const POD_LIMIT: Duration = Duration::from_secs(60);

/// Services and pods of this machine.
pub struct HostMachine<'a> {
    root: &'a Root,
    services: Services,
    cri_socket: Option<String>,
}

impl<'a> HostMachine<'a> {
    /// `cri_socket`: the runtime's, else the one that is there.
    pub fn new(root: &'a Root, services: Services, cri_socket: Option<String>) -> Self {
        Self { root, services, cri_socket }
    }

    /// The runtime's socket, if there is one: without it there are no pods.
    fn socket(&self) -> Result<Option<std::path::PathBuf>> {
        let named = match &self.cri_socket {
            Some(socket) => socket.clone(),
            None => cri::detect_socket(
                self.root,
                machine::kubelet_version(self.root).map_or(u16::MAX, |version| version.minor),
            )?,
        };
        let path = self.root.path(cri::socket_path(&named)?);
        let is_expected = self.cri_socket.is_some() || self.services.is_active("containerd").unwrap_or(false);
        Ok((path.exists() || is_expected).then_some(path))
    }
}

impl Machine for HostMachine<'_> {
    fn stop_kubelet(&mut self) -> Result<()> {
        self.services.stop("kubelet")
    }

    fn remove_pods(&mut self) -> Result<usize> {
        let Some(socket) = self.socket()? else { return Ok(0) };
        let (mut client, _) = Client::wait_until_ready(&socket, Instant::now() + RUNTIME_LIMIT, |_| None)?;
        let sandboxes = client.sandboxes(Instant::now() + POD_LIMIT)?;
        for sandbox in &sandboxes {
            client.stop_sandbox(&sandbox.id, Instant::now() + POD_LIMIT)?;
            client.remove_sandbox(&sandbox.id, Instant::now() + POD_LIMIT)?;
        }
        Ok(sandboxes.len())
    }
}

/// Resets this machine, after a question unless that is forced.
pub fn reset(request: &Reset, tell: Tell) -> Result<()> {
    let asked = asked(request, tell)?;
    let root = &request.common.root;
    let is_skipped = |phase: &str| asked.skip_phases.iter().any(|skipped| skipped == phase);
    if !asked.force && !asked.dry_run && !is_skipped("preflight") {
        confirm()?;
    }
    let choice = reset::Choice {
        certificates: asked.certificates_dir.clone().unwrap_or_else(|| reset::Choice::default().certificates),
        scratch: asked.cleanup_tmp_dir,
        unmount: asked.unmount_flags,
    };
    if is_skipped("cleanup-node") {
        tell.line("cleanup-node is skipped: nothing is left to do for a worker");
        return Ok(());
    }
    if asked.dry_run {
        reset::plan(&choice).iter().for_each(|step| tell.line(&format!("would {step}")));
        return Ok(());
    }
    let mut host = HostMachine::new(root, Services::of(root), asked.cri_socket);
    let steps = reset::reset(root, &mut host, &choice, &mut |step| report(step, tell));
    if root.is_machine() && guard::remove()? {
        tell.line("let pods reach metadata services again: done");
    }
    match steps.into_iter().find_map(failed) {
        Some(failure) => Err(failure.help("mend what failed and run it again: finished steps do no harm")),
        None => {
            tell.line("this machine is as its image made it; its Node, if any, is removed by: kubectl delete node NAME");
            Ok(())
        }
    }
}

/// What the file says, and over it what the flags say.
fn asked(request: &Reset, tell: Tell) -> Result<ResetConfiguration> {
    let path = request.config.as_deref();
    let bytes = path.map(file::read).transpose()?.unwrap_or_else(|| NOTHING.to_vec());
    let from_file = parse_reset(&bytes);
    let mut asked = from_file
        .map_err(|failure| path.map_or(failure.clone(), |path| failure.doing(path.display().to_string())))?;
    asked.warnings.iter().for_each(|warning| tell.line(&format!("warning: {warning}")));
    asked.force |= request.force;
    asked.dry_run |= request.dry_run;
    asked.cleanup_tmp_dir |= request.cleanup_tmp_dir;
    asked.certificates_dir = request.cert_dir.clone().or(asked.certificates_dir);
    asked.cri_socket = request.cri_socket.clone().or(asked.cri_socket);
    asked.skip_phases.extend(request.skip_phases.iter().cloned());
    asked.check()?;
    Ok(asked)
}

fn failed(step: Step) -> Option<Failure> {
    match step.outcome {
        Outcome::Failed(failure) => Some(failure.doing(step.name)),
        Outcome::Done | Outcome::Nothing => None,
    }
}

fn report(step: &Step, tell: Tell) {
    let word = match &step.outcome {
        Outcome::Done => "done",
        Outcome::Nothing => "nothing to do",
        Outcome::Failed(failure) => &failure.message,
    };
    tell.line(&format!("{}: {word}", step.name));
}

/// Asks as kubeadm does; without a terminal nobody can answer.
fn confirm() -> Result<()> {
    let refused =
        || Failure::new(ErrorKind::Usage, "not confirmed: nothing was changed").help("say y, or use --force");
    if !std::io::stdin().is_terminal() {
        return Err(refused());
    }
    print!(
        "firstboot: are you sure you want to reset this node: its pods, certificates and configuration? [y/N]: "
    );
    let mut answer = String::new();
    let read = std::io::stdout().flush().and_then(|()| std::io::stdin().read_line(&mut answer));
    if read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes") { Ok(()) } else { Err(refused()) }
}
