//! Writes the kubelet's files, `config.yaml` last, because the kubelet's unit waits for that file.

use super::{Need, Phase};
use crate::error::{ErrorKind, Failure, Result};
use crate::host::files;
use crate::join::{Join, names};

pub(crate) const PHASE: Phase = Phase { name: "files", kubeadm: "kubelet-start", need: Need::Writing, run };

fn run(join: &mut Join) -> Result<()> {
    if join.files_are_written() {
        return Ok(());
    }
    let plan = join
        .results
        .plan
        .as_ref()
        .ok_or_else(|| Failure::new(ErrorKind::Internal, "no files were planned"))?;
    names::add(join.root, &plan.node_name)?;
    for file in &plan.files {
        files::write(&join.root.entry(&file.path), &file.bytes, file.mode)?;
    }
    Ok(())
}
