//! `kiln build`

use super::{Open, Terminal, resolve, seed, warn};
use crate::cli::BuildArgs;
use crate::error::Result;
use crate::pipeline::{self, session::Session};
use crate::progress::Progress;

/// Locks if needed, builds, prints the summary.
pub fn run(args: &BuildArgs, progress: Progress, terminal: &Terminal) -> Result<()> {
    let (resolved, lock_path) = resolve(&args.definition, &args.output_dir, Open::Kept)?;
    warn(&resolved, &progress);
    let session = Session::open(&args.fetch, progress)?;
    let seed = seed(&args.definition);
    let lock = session.lock_for(&resolved.plan, &lock_path, seed.as_deref(), args.locked)?;
    let report =
        pipeline::build(&session, &resolved.plan, &lock, args.firstboot.as_deref(), &args.output_dir)?;
    terminal.show(&report, ToString::to_string)
}
