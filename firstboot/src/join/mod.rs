//! The join: runs the phases of a role. `phases` holds the phases and `roles` their order. The other modules
//! here hold the parts of the phases; most are pure.
//!
//! ```text
//! host ─► preflight ─► discovery ─► cluster ─► identity ─► files ─► kubelet ─► wait ─► cleanup
//!                       (jws)        (ConfigMaps) (certificate_request) (plan: kubelet_config, kubelet_flags, patches, names)
//! a control plane: host ─► preflight ─► kubeadm ─► wait ─► cleanup
//! ```

pub mod attest;
pub mod certificate_request;
pub mod cluster;
pub mod discovery;
pub mod identity;
pub mod image;
pub mod jws;
pub mod kubelet_config;
pub mod kubelet_flags;
#[cfg(any(windows, test))]
pub mod kube_proxy;
#[cfg(any(windows, test))]
pub mod flannel;
#[cfg(any(windows, test))]
pub mod kubelet_service;
pub mod names;
pub mod node_defaults;
pub mod patches;
pub mod phases;
pub mod plan;
pub mod reset;
pub mod reset_host;
pub mod roles;
#[cfg(any(windows, test))]
pub mod service_line;
#[cfg(any(windows, test))]
pub mod source_vip;
pub mod token_from;

use std::time::{SystemTime, UNIX_EPOCH};

use crate::checkpoint::CheckpointFile;
use crate::config::model::NodeConfig;
use crate::error::{Failure, Result};
use crate::facts::Facts;
use crate::host::cri;
use crate::host::root::Root;
use crate::kubernetes::version::Version;
use crate::machine::{self, Machine};
use crate::net::retry::Backoff;
use crate::net::{Deadline, Network};
use crate::status::Progress;
use phases::{Need, Phase, Results};
use roles::Role;

/// The state of a phase that an earlier run finished.
const KEPT: &str = "kept";

/// One join.
pub struct Join<'a> {
    /// The root of the machine's files.
    pub root: &'a Root,
    pub(crate) role: &'static Role,
    pub(crate) config: &'a NodeConfig,
    pub(crate) machine: &'a Machine,
    /// The facts of its platform.
    pub facts: &'a Facts,
    /// The deadline of the whole join.
    pub deadline: Deadline,
    /// The network, which counts requests and bytes.
    pub network: Network,
    /// The status of the run.
    pub progress: &'a mut Progress,
    /// Prints a line for the operator.
    pub print: &'a dyn Fn(&str),
    /// The checkpoint; none for checks alone.
    pub checkpoint: Option<CheckpointFile>,
    /// The results of the phases so far.
    pub results: Results,
}

impl<'a> Join<'a> {
    /// Runs the phases that are not finished.
    pub fn run(&mut self) -> Result<()> {
        self.role.phases.iter().try_for_each(|phase| self.run_phase(phase))
    }

    fn run_phase(&mut self, phase: &Phase) -> Result<()> {
        self.progress.phase(phase.name);
        if let Some(reason) = self.reason_to_skip(phase) {
            self.progress.phase_ended(reason);
            return Ok(());
        }
        let ran = (phase.run)(self);
        self.count_traffic();
        ran.map_err(|failure| self.out_of_time(failure))?;
        self.progress.phase_ended("done");
        self.record(phase)
    }

    /// The waits between tries, which the operator hears of.
    pub(crate) fn backoff(&self) -> Backoff<'a> {
        Backoff::new().telling(self.print)
    }

    /// The phases that a join would run in place of this dry run: also those that a dry run leaves out.
    pub fn phases_of_a_join(&mut self) -> Vec<&'static str> {
        let phases = &self.progress.status().phases;
        let kept: Vec<&str> =
            phases.iter().filter(|phase| phase.state == KEPT).map(|phase| &*phase.name).collect();
        let (role, is_machine) = (self.role, self.root.is_machine());
        let can_run = |phase: &&Phase| is_machine || !matches!(phase.need, Need::Running | Need::RunningOnce);
        let left: Vec<&Phase> =
            role.phases.iter().filter(can_run).filter(|phase| !kept.contains(&phase.name)).collect();
        left.into_iter().filter(|phase| !self.is_skipped(phase)).map(|phase| phase.name).collect()
    }

    /// If `phase` is left out, the word for the reason.
    fn reason_to_skip(&self, phase: &Phase) -> Option<&'static str> {
        let (is_skipped, is_written) = (self.is_skipped(phase), self.files_are_written());
        match phase.need {
            _ if is_skipped => Some("skipped"),
            Need::Writing | Need::Running | Need::RunningOnce if self.config.join.dry_run => Some("skipped"),
            Need::Running | Need::RunningOnce if !self.root.is_machine() => Some("skipped"),
            Need::Once | Need::RunningOnce if self.is_done(phase.name) => Some(KEPT),
            Need::UntilFilesAreWritten if is_written => Some(KEPT),
            _ => None,
        }
    }

    /// Whether the config leaves this phase out, by its name or by kubeadm's.
    pub fn is_skipped(&self, phase: &Phase) -> bool {
        self.config
            .join
            .skip_phases
            .iter()
            .any(|skipped| skipped == phase.name || skipped == phase.kubeadm)
    }

    /// Whether the disk has everything that a kubelet needs. Then an interrupted run no longer needs the
    /// cluster.
    pub fn files_are_written(&self) -> bool {
        self.is_done(phases::files::PHASE.name) && phases::identity::is_good(self)
    }

    /// Whether an earlier run on this machine began this join.
    pub fn is_resumed(&self) -> bool {
        let begun = |checkpoint: &CheckpointFile| {
            checkpoint
                .checkpoint()
                .phases
                .iter()
                .any(|finished| finished.phase != phases::host::PHASE.name)
        };
        self.checkpoint.as_ref().is_some_and(begun)
    }

    fn is_done(&self, phase: &str) -> bool {
        self.checkpoint
            .as_ref()
            .is_some_and(|checkpoint| checkpoint.is_done(phase, &checkpoint.checkpoint().config))
    }

    fn record(&mut self, phase: &Phase) -> Result<()> {
        let Some(checkpoint) = &mut self.checkpoint else { return Ok(()) };
        let input = checkpoint.checkpoint().config.clone();
        let is_last = self.role.phases.last().is_some_and(|last| last.name == phase.name);
        checkpoint.done(phase.name, &input, seconds_since_1970(), is_last)
    }

    /// If the whole join ran out of time, the failure says so.
    fn out_of_time(&self, failure: Failure) -> Failure {
        if !self.deadline.has_passed() {
            return failure;
        }
        let limit = self.config.agent.deadline.as_secs();
        Failure {
            message: format!("the join was not done within its deadline of {limit} s: {}", failure.message),
            ..failure
        }
    }

    /// Counts the requests and bytes so far in the status.
    fn count_traffic(&mut self) {
        let traffic = self.network.traffic();
        let status = self.progress.status();
        status.requests = u32::try_from(traffic.requests).unwrap_or(u32::MAX);
        status.bytes = traffic.received;
    }

    /// Prints a line for the operator.
    pub fn print(&self, line: &str) {
        (self.print)(line);
    }

    /// Adds a warning for the operator to the status.
    pub fn warn(&mut self, warning: String) {
        (self.print)(&format!("warning: {warning}"));
        self.progress.warn(warning);
    }

    /// The kubelet's version.
    pub fn kubelet_version(&mut self) -> Result<Version> {
        if let Some(version) = self.results.kubelet_version {
            return Ok(version);
        }
        let version = machine::kubelet_version(self.root)?;
        self.results.kubelet_version = Some(version);
        Ok(version)
    }

    /// The runtime's socket: from the config, else the one that was detected.
    pub fn cri_socket(&mut self) -> Result<String> {
        match &self.config.join.node.cri_socket {
            Some(socket) => Ok(socket.clone()),
            None => cri::detect_socket(self.root, self.kubelet_version()?.minor),
        }
    }
}

fn seconds_since_1970() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{HostDefaults, parse};

    #[test]
    fn a_dry_run_names_the_phases_of_a_join() {
        let text = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\ndryRun: true\ndiscovery: {file: {kubeConfigPath: /x}}\n";
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        std::fs::create_dir(root.path("/etc")).unwrap();
        std::fs::write(root.path("/etc/machine-id"), "0123456789abcdef0123456789abcdef\n").unwrap();
        let config = parse(text.as_bytes(), &HostDefaults { hostname: "n1".to_owned() }).unwrap();
        let mut join = Join {
            root: &root,
            role: &roles::WORKER,
            config: &config,
            machine: &Machine::read(&root).unwrap(),
            facts: &Facts::default(),
            deadline: Deadline::after(std::time::Duration::from_secs(1)),
            network: Network::new(root.clone()),
            progress: &mut Progress::unpublished(&root),
            print: &|_| {},
            checkpoint: None,
            results: Results::default(),
        };
        join.progress.phase("preflight");
        join.progress.phase_ended(KEPT);
        assert_eq!(join.phases_of_a_join(), ["discovery", "cluster", "identity", "files", "cleanup"]);
    }
}
