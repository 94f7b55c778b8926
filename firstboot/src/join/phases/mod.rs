//! The phases of a join, one file each. [`super::roles`] puts them in order.

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
    pub(crate) run: fn(&mut Join) -> Result<()>,
}

/// When a phase has to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// In every run that may change the machine.
    Writing,
    /// In every run that may change the running machine: a folder has no kubelet.
    Running,
    /// Until it has succeeded with this config.
    Once,
    /// As long as something of the cluster is missing on the disk.
    UntilFilesAreWritten,
}

/// The results of phases for later ones.
#[derive(Default)]
pub struct Results {
    /// The input of the preflight checks.
    pub facts: crate::preflight::Facts,
    pub(crate) kubelet_version: Option<Version>,
    /// Asks the service manager while the network is asked.
    pub units: Option<JoinHandle<crate::preflight::Units>>,
    /// Waits for the container runtime while the network is asked.
    pub runtime: Option<JoinHandle<Result<crate::preflight::Runtime>>>,
    pub(crate) cluster: Option<Cluster>,
    /// The ClusterConfiguration; none when the cluster was not asked.
    pub configuration: Option<ClusterConfiguration>,
    pub(crate) plan: Option<Plan>,
}
