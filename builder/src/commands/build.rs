//! `kiln build`

use std::path::Path;

use super::{Open, Terminal, resolve, seed, warn};
use crate::cli::BuildArgs;
use crate::definition::plan::ImagePlan;
use crate::error::Result;
use crate::pipeline::{self, session::Session};
use crate::progress::Progress;
use crate::provenance::{Finished, MANIFEST};

/// Locks if needed, builds, prints the summary.
pub fn run(args: &BuildArgs, progress: Progress, terminal: &Terminal) -> Result<()> {
    let (resolved, lock_path) = resolve(&args.definition, &args.output_dir, Open::Kept)?;
    warn(&resolved, &progress);
    warn_of_another_image(&resolved.plan, &args.output_dir, &progress);
    let session = Session::open(&args.fetch, progress)?;
    let seed = seed(&args.definition);
    let lock = session.lock_for(&resolved.plan, &lock_path, seed.as_deref(), args.locked)?;
    let report =
        pipeline::build(&session, &resolved.plan, &lock, args.firstboot.as_deref(), &args.output_dir)?;
    terminal.show(&report, ToString::to_string)
}

/// Says that a folder holds another image, whose manifest and digests this build replaces.
fn warn_of_another_image(plan: &ImagePlan, folder: &Path, progress: &Progress) {
    let Ok(other) = Finished::read(&folder.join(MANIFEST)) else { return };
    if (&other.name, other.arch) != (&plan.name, plan.arch) {
        progress.note(&format!(
            "warning: {} holds the image {} for {}: its files stay, but manifest, SBOM and SHA256SUMS become this \
             image's; --output-dir gives each a folder of its own",
            folder.display(),
            other.name,
            other.arch.name()
        ));
    }
}
