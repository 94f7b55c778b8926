//! The roles that a node config or user data can ask for, and the refusal of those that this agent does not
//! have.

use crate::error::{ErrorKind, Failure};

/// The role of a machine in its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// `kubeadm join`
    Worker,
    /// `kubeadm join --control-plane`, or `controlPlane` in the JoinConfiguration.
    ControlPlane,
    /// `kubeadm init`
    FirstControlPlane,
}

impl Role {
    /// The failure for a role that `join::roles` does not have.
    pub fn refusal(self) -> Failure {
        let (message, help) = match self {
            Self::Worker => ("the role worker is not supported", "this is a bug of this agent"),
            Self::ControlPlane => (
                "controlPlane: this agent joins workers, and the node config asks for a control plane node",
                "remove controlPlane (or --control-plane), or use kubeadm on this node",
            ),
            Self::FirstControlPlane => (
                "the user-data runs kubeadm init, which makes a new control plane: this agent joins workers",
                "give this machine the user data of a worker, or use an image with kubeadm for it",
            ),
        };
        Failure::new(ErrorKind::Config, message).help(help)
    }
}
