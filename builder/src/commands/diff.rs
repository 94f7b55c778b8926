//! `kiln diff`

use std::path::Path;

use super::Terminal;
use crate::cli::DiffArgs;
use crate::error::Result;
use crate::lock::Lock;
use crate::lock::diff::Diff;
use crate::pipeline::session::no_lock;

/// Shows what two locks differ in.
pub fn run(args: &DiffArgs, terminal: &Terminal) -> Result<()> {
    let read = |path: &Path| Lock::read(path)?.ok_or_else(|| no_lock(path));
    let diff = Diff::of(&read(&args.old)?, &read(&args.new)?);
    terminal.show(&diff, ToString::to_string)
}
