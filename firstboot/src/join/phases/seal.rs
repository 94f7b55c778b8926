//! Removes what only the join needed. It is the last phase: its record says that the join is over.

use super::identity::BOOTSTRAP_CONF;
use super::{Need, Phase};
use crate::error::Result;
use crate::host::files;
use crate::join::Join;
use crate::join::identity::KEY;

/// See the module.
pub const PHASE: Phase = Phase { name: "seal", kubeadm: "kubelet-start", need: Need::Writing, run };

fn run(join: &mut Join) -> Result<()> {
    files::remove(&join.root.path(BOOTSTRAP_CONF))?;
    files::remove(&join.root.path(KEY))
}
