//! The roles that a machine can join in. A role is a list of phases. To add one, add a constant here and its
//! line in [`ALL`].

use super::phases::{Phase, cleanup, cluster, discovery, files, host, identity, kubelet, preflight, wait};
use crate::config::role::Role as Asked;
use crate::error::Result;

/// A role and its phases.
pub struct Role {
    pub(crate) asked: Asked,
    /// In the order in which they run. The last one ends the join.
    pub phases: &'static [Phase],
}

/// A worker node.
pub const WORKER: Role = Role {
    asked: Asked::Worker,
    phases: &[
        host::PHASE,
        preflight::PHASE,
        discovery::PHASE,
        cluster::PHASE,
        identity::PHASE,
        files::PHASE,
        kubelet::PHASE,
        wait::PHASE,
        cleanup::PHASE,
    ],
};

/// All roles of this agent.
const ALL: &[&Role] = &[&WORKER];

/// The role that a node config asks for. This is the one place that refuses a role.
pub fn of(asked: Asked) -> Result<&'static Role> {
    ALL.iter().copied().find(|role| role.asked == asked).ok_or_else(|| asked.refusal())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_workers_join() {
        assert_eq!(of(Asked::Worker).map(|role| role.phases.len()).ok(), Some(9));
        for asked in [Asked::ControlPlane, Asked::FirstControlPlane] {
            let failure = of(asked).err().unwrap();
            assert!(failure.message.contains("this agent joins workers") && failure.help.is_some());
        }
    }
}
