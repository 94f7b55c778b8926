//! The phases of a join. To add one: a file here, and its line in [`ALL`].

pub mod cleanup;
pub mod cluster;
pub mod discovery;
pub mod files;
pub mod host;
pub mod identity;
pub mod kubelet;
pub mod preflight;
pub mod wait;

use std::thread::JoinHandle;

use super::Join;
use super::cluster::ClusterConfiguration;
use super::discovery::Cluster;
use super::plan::Plan;
use crate::error::Result;
use crate::kubernetes::version::Version;

/// A phase.
pub struct Phase {
    /// Its name in the checkpoint and in the status.
    pub name: &'static str,
    /// The phase of kubeadm that it is a part of: skipping that one skips this one.
    pub kubeadm: &'static str,
    /// When it has to run.
    pub need: Need,
    /// What it does.
    pub run: fn(&mut Join) -> Result<()>,
}

/// When a phase has to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// In every run that may change the machine.
    Writing,
    /// In every run that may change the machine, where that is the one we run on: a folder has no kubelet.
    Running,
    /// Until it has succeeded with this config.
    Once,
    /// As long as something of the cluster is missing on the disk.
    UntilFilesAreWritten,
}

/// All phases, in order.
pub const ALL: &[Phase] = &[
    host::PHASE,
    preflight::PHASE,
    discovery::PHASE,
    cluster::PHASE,
    identity::PHASE,
    files::PHASE,
    kubelet::PHASE,
    wait::PHASE,
    cleanup::PHASE,
];

/// What phases hand on to later ones.
#[derive(Default)]
pub struct Found {
    /// What the checks of the machine were made with.
    pub facts: crate::preflight::Facts,
    /// The kubelet's version.
    pub kubelet_version: Option<Version>,
    /// Asks the service manager while the network is asked.
    pub units: Option<JoinHandle<crate::preflight::Units>>,
    /// Waits for the container runtime while the network is asked.
    pub runtime: Option<JoinHandle<Result<crate::preflight::Runtime>>>,
    /// The verified API server.
    pub cluster: Option<Cluster>,
    /// What kubeadm wrote about the cluster; none when it was not asked.
    pub configuration: Option<ClusterConfiguration>,
    /// What is to be written.
    pub plan: Option<Plan>,
}
