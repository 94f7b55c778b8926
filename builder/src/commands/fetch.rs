//! `kiln fetch`

use indicatif::DecimalBytes;
use serde::Serialize;

use super::{Open, Terminal, resolve, seed, warn};
use crate::cli::FetchArgs;
use crate::error::Result;
use crate::pipeline::{self, session::Session};
use crate::progress::Progress;

#[derive(Serialize)]
struct Summary {
    fetched: usize,
    fetched_bytes: u64,
    in_store: usize,
}

/// Fills the store with everything the lock names.
pub fn run(args: &FetchArgs, progress: Progress, terminal: &Terminal) -> Result<()> {
    let (resolved, lock_path) = resolve(&args.definition, &args.output_dir, Open::Kept)?;
    warn(&resolved, &progress);
    let session = Session::open(&args.fetch, progress)?;
    let seed = seed(&args.definition);
    let lock = session.lock_for(&resolved.plan, &lock_path, seed.as_deref(), false)?;
    let fetched = session.fetcher()?.fetch_all(&pipeline::requests(&session, &resolved.plan, &lock)?)?;
    // A store is carried to other machines: what is damaged is told here, not there.
    fetched.iter().try_for_each(|file| session.store.verified(&file.digest).map(drop))?;
    let new = || fetched.iter().filter(|file| !file.cached);
    let summary = Summary {
        fetched: new().count(),
        fetched_bytes: new().map(|file| file.size).sum(),
        in_store: fetched.len() - new().count(),
    };
    terminal.show(&summary, |summary| {
        let bytes = DecimalBytes(summary.fetched_bytes);
        format!("fetched {} files, {bytes}; {} were in the store", summary.fetched, summary.in_store)
    })
}
