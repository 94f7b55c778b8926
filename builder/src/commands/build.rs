//! `kiln build`

use super::{Terminal, resolve, seed, warn};
use crate::cli::BuildArgs;
use crate::error::Result;
use crate::pipeline::{self, session::Session};
use crate::progress::Progress;

/// Locks if needed, builds, prints the summary.
pub fn run(args: &BuildArgs, progress: Progress, terminal: &Terminal) -> Result<()> {
    let (resolved, lock_path) = resolve(&args.definition, &args.output_dir)?;
    warn(&resolved, &progress);
    let session = Session::open(&args.fetch, progress)?;
    let lock =
        session.lock_for(&resolved.plan, &lock_path, seed(&args.definition, &resolved), args.locked)?;
    let report =
        pipeline::build(&session, &resolved.plan, &lock, args.firstboot.as_deref(), &args.output_dir)?;
    terminal.show(&report, ToString::to_string)
}
