//! The roles that a node config or user data can ask for, and the refusal of those that need more than the
//! image has.

use crate::error::{ErrorKind, Failure};

/// The role of a machine in its cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Role {
    /// `kubeadm join`
    #[default]
    Worker,
    /// `kubeadm join --control-plane`, or `controlPlane` in the JoinConfiguration.
    ControlPlane,
    /// `kubeadm init`
    FirstControlPlane,
}

impl Role {
    /// The failure of a control plane on an image without kubeadm.
    pub fn refusal(self) -> Failure {
        let asked = if self == Self::ControlPlane { "join as one" } else { "begin one" };
        let message =
            format!("a control plane needs kubeadm, which this image lacks: the node config asks to {asked}");
        Failure::new(ErrorKind::Config, message)
            .help("add the layer kubeadm to the image, or give this machine the config of a worker")
    }
}
