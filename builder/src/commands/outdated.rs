//! `kiln outdated`

use std::process::ExitCode;

use super::{Open, Terminal, earlier_lock, resolve, warn};
use crate::base::BaseRequest;
use crate::cli::OutdatedArgs;
use crate::error::{FOUND, Result};
use crate::lock::diff::{Diff, Pins};
use crate::lock::update::{Policy, update};
use crate::pipeline::session::{Session, no_lock};
use crate::progress::Progress;

/// Shows what a new lock would have instead. Writes nothing.
pub fn run(args: &OutdatedArgs, progress: Progress, terminal: &Terminal) -> Result<ExitCode> {
    let (resolved, path) = resolve(&args.definition, &args.output_dir, Open::Chosen)?;
    warn(&resolved, &progress);
    let old = earlier_lock(&args.definition, &path)?.ok_or_else(|| no_lock(&path))?;
    let session = Session::open(&args.fetch, progress)?;
    let policy = Policy { upgrade_packages: true, ..Policy::default() };
    let lock_base = |request: &BaseRequest<'_>| session.lock_base(request);
    let new = update(&resolved.plan, Some(&old), &policy, &session.fetcher()?, lock_base)?;
    let mut diff = Diff::of(&Pins::from(&old), &Pins::from(&new));
    // A newer list with the same packages is nothing to move to.
    diff.settings.retain(|change| change.name != "snapshot");
    terminal.show(&diff, |diff| match diff.is_empty() {
        true => "nothing newer of what the definition lets move; versions that it names stay".to_owned(),
        false => diff.to_string(),
    })?;
    Ok(ExitCode::from(if diff.is_empty() { 0 } else { FOUND }))
}
