//! `firstboot preflight`: only the checks of a join.

use crate::cli::request;
use crate::error::Result;
use crate::run::{self, Console, Session, node_config};
use crate::status::Progress;

/// Runs the checks on this machine. Those that need the cluster are skipped.
pub fn preflight(request: &request::Join, console: Console) -> Result<()> {
    let session = Session::new(&request.common.root, console);
    let (metadata, resolved) = node_config::by_hand(&session, &request.flags)?;
    run::check(&session, &metadata.facts, &resolved, &mut Progress::unpublished(session.root))?;
    console.print("preflight: no errors");
    Ok(())
}
