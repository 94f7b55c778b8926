//! `kiln build`

use std::collections::BTreeSet;
use std::path::Path;

use super::{Open, Terminal, resolve, seed, warn};
use crate::cli::BuildArgs;
use crate::definition::plan::ImagePlan;
use crate::error::Result;
use crate::output::sums::Sum;
use crate::pipeline::{self, session::Session};
use crate::progress::Progress;
use crate::provenance::{Finished, MANIFEST};

/// Locks if needed, builds, prints the summary.
pub fn run(args: &BuildArgs, progress: Progress, terminal: &Terminal) -> Result<()> {
    let (resolved, lock_path) = resolve(&args.definition, &args.output_dir, Open::Kept)?;
    warn(&resolved, &progress);
    let earlier = Finished::read(&args.output_dir.join(MANIFEST)).ok();
    let is_same = earlier.as_ref().is_none_or(|earlier| is_of(earlier, &resolved.plan));
    if let Some(other) = earlier.as_ref().filter(|_| !is_same) {
        warn_of_another_image(other, &args.output_dir, &progress);
    }
    let session = Session::open(&args.fetch, progress.clone())?;
    let seed = seed(&args.definition);
    let lock = session.lock_for(&resolved.plan, &lock_path, seed.as_deref(), args.locked)?;
    let report =
        pipeline::build(&session, &resolved.plan, &lock, args.firstboot.as_deref(), &args.output_dir)?;
    if let Some(earlier) = earlier.filter(|_| is_same) {
        warn_of_leftovers(&earlier, &report.files, &args.output_dir, &progress);
    }
    terminal.show(&report, ToString::to_string)
}

fn is_of(finished: &Finished, plan: &ImagePlan) -> bool {
    (&finished.name, finished.arch) == (&plan.name, plan.arch)
}

/// Says that a folder holds another image, whose manifest and digests this build replaces.
fn warn_of_another_image(other: &Finished, folder: &Path, progress: &Progress) {
    progress.note(&format!(
        "warning: {} holds the image {} for {}: its files stay, but manifest, SBOM and SHA256SUMS become this \
         image's; --output-dir gives each a folder of its own",
        folder.display(),
        other.name,
        other.arch.name()
    ));
}

/// Says which files of an earlier build of the image this one has not made anew.
fn warn_of_leftovers(earlier: &Finished, files: &[Sum], folder: &Path, progress: &Progress) {
    let outputs = |files: &[Sum]| -> BTreeSet<String> {
        files.iter().filter_map(|sum| sum.file.split('/').next()).map(str::to_owned).collect()
    };
    let mut left = outputs(&earlier.outputs);
    left.retain(|name| folder.join(name).exists());
    let left: Vec<String> = left.difference(&outputs(files)).cloned().collect();
    if !left.is_empty() {
        progress.note(&format!(
            "warning: {} still has outputs of an earlier build, which are in neither manifest nor SHA256SUMS now: {}",
            folder.display(),
            left.join(", ")
        ));
    }
}
