//! Removes what only the join needed, and records that it is over.

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
    files::remove(&join.root.path(KEY))?;
    join.journal.as_mut().map_or(Ok(()), crate::journal::Journal::joined)
}
