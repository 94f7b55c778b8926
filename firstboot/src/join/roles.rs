//! The roles that a machine can join in. A role is a list of phases. To add one, add a constant here and its
//! line in [`of`].

use super::phases::{
    Phase, cleanup, cluster, discovery, files, host, identity, kubeadm, kubelet, preflight, wait,
};
#[cfg(windows)]
use super::phases::{kube_proxy, network};
use crate::config::role::Role as Asked;
use crate::error::Result;
use crate::host::root::Root;
use crate::paths;

/// A role and its phases.
pub struct Role {
    /// In the order in which they run. The last one ends the join.
    pub phases: &'static [Phase],
}

/// A worker node.
pub const WORKER: Role = Role {
    phases: &[
        host::PHASE,
        preflight::PHASE,
        #[cfg(windows)]
        network::PHASE,
        discovery::PHASE,
        cluster::PHASE,
        identity::PHASE,
        files::PHASE,
        kubelet::PHASE,
        wait::PHASE,
        #[cfg(windows)]
        kube_proxy::PHASE,
        cleanup::PHASE,
    ],
};

/// A control plane, the first one and those that join it: the work is kubeadm's.
pub const CONTROL_PLANE: Role =
    Role { phases: &[host::PHASE, preflight::PHASE, kubeadm::PHASE, wait::PHASE, cleanup::PHASE] };

/// The role that a node config asks for. This is the one place that refuses a role: where the image lacks the
/// program that it needs.
pub fn of(asked: Asked, root: &Root) -> Result<&'static Role> {
    match asked {
        Asked::Worker => Ok(&WORKER),
        _ if root.path(paths::KUBEADM).exists() => Ok(&CONTROL_PLANE),
        _ => Err(asked.refusal()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_plane_needs_kubeadm_in_the_image() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        let phases = |asked| of(asked, &root).map(|role| role.phases.len());
        assert_eq!(phases(Asked::Worker).ok(), Some(9));
        for asked in [Asked::ControlPlane, Asked::FirstControlPlane] {
            let failure = phases(asked).unwrap_err();
            assert!(failure.help.unwrap().contains("add the layer kubeadm"), "{}", failure.message);
        }
        std::fs::create_dir_all(root.path("/usr/local/bin")).unwrap();
        std::fs::write(root.path(paths::KUBEADM), "").unwrap();
        assert_eq!(phases(Asked::ControlPlane).ok(), Some(5));
    }
}
