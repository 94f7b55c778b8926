//! The phases of a join, one file each. [`super::roles`] sets their order.

pub mod cleanup;
pub mod cluster;
pub mod discovery;
pub mod files;
pub mod host;
pub mod identity;
#[cfg(windows)]
pub mod kube_proxy;
pub mod kubeadm;
pub mod kubelet;
#[cfg(windows)]
pub mod network;
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
    /// The phase of kubeadm that it belongs to. Skipping that phase skips this one.
    pub kubeadm: &'static str,
    /// When it must run.
    pub need: Need,
    pub(crate) run: fn(&mut Join) -> Result<()>,
}

/// When a phase must run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// In every run that can change the machine.
    Writing,
    /// In every run that can change the running machine. A folder has no kubelet.
    Running,
    /// Until it has succeeded with this config.
    Once,
    /// The same, in a run that can change the running machine.
    RunningOnce,
    /// While data from the cluster is missing on the disk.
    UntilFilesAreWritten,
}

/// Results of phases that later ones need.
#[derive(Default)]
pub struct Results {
    /// The input of the preflight checks.
    pub facts: crate::preflight::Facts,
    pub(crate) kubelet_version: Option<Version>,
    /// Asks the service manager during the network requests.
    pub units: Option<JoinHandle<crate::preflight::Units>>,
    /// Waits for the container runtime during the network requests.
    pub runtime: Option<JoinHandle<Result<crate::preflight::Runtime>>>,
    pub(crate) cluster: Option<Cluster>,
    /// The ClusterConfiguration; none if the cluster was not asked.
    pub configuration: Option<ClusterConfiguration>,
    pub(crate) plan: Option<Plan>,
}
