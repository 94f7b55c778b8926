//! The join: phases, one file each in `phases`, in the order of [`phases::ALL`]. What they are made of stands beside them and is mostly pure.
//!
//! ```text
//! preflight ─► discovery ─► cluster ─► identity ─► files ─► kubelet ─► register ─► seal
//!              (jws)        (ConfigMaps) (certificate_request) (plan: kubelet_config, kubelet_flags, patches, names)
//! ```

pub mod certificate_request;
pub mod cluster;
pub mod discovery;
pub mod identity;
pub mod jws;
pub mod kubelet_config;
pub mod kubelet_flags;
pub mod names;
pub mod patches;
pub mod phases;
pub mod plan;
pub mod reset;

use std::time::{SystemTime, UNIX_EPOCH};

use crate::api::{Deadline, Network};
use crate::config::model::NodeConfig;
use crate::error::Result;
use crate::host::root::Root;
use crate::journal::Journal;
use crate::machine::Machine;
use crate::verdict::Verdict;
use phases::{Found, Need, Phase};

/// One join, from its node config to a node.
pub struct Join<'a> {
    /// Where the machine's files begin.
    pub root: &'a Root,
    /// What is asked for.
    pub config: &'a NodeConfig,
    /// Who this machine is.
    pub machine: &'a Machine,
    /// Bound of the whole.
    pub deadline: Deadline,
    /// How the API server is reached, and what that cost.
    pub network: Network,
    /// Who is told.
    pub verdict: &'a mut Verdict,
    /// What is done already; none when nothing may be written.
    pub journal: Option<Journal>,
    /// What the phases have found out so far.
    pub found: Found,
}

impl Join<'_> {
    /// Runs the phases that are left.
    pub fn run(&mut self) -> Result<()> {
        for phase in phases::ALL {
            self.verdict.phase(phase.name);
            let state = match self.reason_to_skip(phase) {
                Some(reason) => reason,
                None => {
                    (phase.run)(self)?;
                    self.record(phase)?;
                    "done"
                }
            };
            self.count_traffic();
            self.verdict.phase_ended(state);
        }
        Ok(())
    }

    /// Whether `phase` is left out, and the word for why.
    fn reason_to_skip(&self, phase: &Phase) -> Option<&'static str> {
        let skips = |name: &str| self.config.join.skip_phases.iter().any(|skipped| skipped == name);
        if skips(phase.kubeadm) || skips(phase.name) {
            return Some("skipped");
        }
        match phase.need {
            Need::Always => None,
            Need::OncePerConfig => self.is_done(phase.name).then_some("kept"),
            Need::UntilFilesAreWritten => self.files_are_written().then_some("kept"),
            Need::Writing if self.config.join.dry_run => Some("skipped"),
            Need::Writing => None,
        }
    }

    /// Whether everything that a kubelet needs lies on the disk: then a run that was interrupted needs the cluster no more.
    pub fn files_are_written(&self) -> bool {
        self.is_done(phases::files::PHASE.name) && phases::identity::is_good(self)
    }

    fn is_done(&self, phase: &str) -> bool {
        self.journal.as_ref().is_some_and(|journal| journal.is_done(phase, &journal.entries().config))
    }

    fn record(&mut self, phase: &Phase) -> Result<()> {
        let Some(journal) = &mut self.journal else { return Ok(()) };
        let input = journal.entries().config.clone();
        journal.done(phase.name, &input, seconds_since_1970())
    }

    /// Tells the verdict what the network cost so far.
    pub fn count_traffic(&mut self) {
        let traffic = self.network.traffic();
        let status = self.verdict.status();
        status.requests = u32::try_from(traffic.requests).unwrap_or(u32::MAX);
        status.bytes = traffic.received;
    }
}

fn seconds_since_1970() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
