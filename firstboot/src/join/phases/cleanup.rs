//! Removes files that only the join needed. This is the last phase: once it is in the checkpoint, the join is
//! over.

use super::identity::BOOTSTRAP_CONF;
use super::{Need, Phase};
use crate::error::Result;
use crate::host::files;
use crate::join::Join;
use crate::join::identity::KEY;

pub(crate) const PHASE: Phase = Phase { name: "cleanup", kubeadm: "kubelet-start", need: Need::Writing, run };

fn run(join: &mut Join) -> Result<()> {
    files::remove(&join.root.entry(BOOTSTRAP_CONF))?;
    files::remove(&join.root.entry(KEY))
}
