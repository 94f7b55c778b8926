//! Writes all outputs at the same time: one compresses while another copies or is flushed.

use std::path::Path;
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use super::report::Timer;
use crate::error::{Error, ErrorKind, Result};
use crate::output::sums::{self, Sum};
use crate::output::{self, Writer};
use crate::part::Parts;
use crate::store;

/// Writes the outputs that the plan asks for into `folder`; the files, flushed, with sizes and digests.
///
/// # Errors
/// The first in the plan's order, whichever came first in time.
pub fn write(parts: &Parts<'_>, folder: &Path, timer: &mut Timer) -> Result<Vec<Sum>> {
    let plan = parts.image.plan;
    let configured = |name| output::configured(name, plan.output_options.get(name));
    let writers = plan
        .outputs
        .iter()
        .map(|name| Ok((name.as_str(), configured(name)?)))
        .collect::<Result<Vec<_>>>()?;
    let results: Vec<Result<(Vec<Sum>, Duration)>> = thread::scope(|scope| {
        let threads: Vec<_> = writers
            .iter()
            .map(|(name, writer)| scope.spawn(|| write_one(name, writer.as_ref(), parts, folder)))
            .collect();
        threads.into_iter().map(finish).collect()
    });
    let mut files = Vec::new();
    for ((name, _), result) in writers.iter().zip(results) {
        let (sums, elapsed) = result?;
        timer.record(name, elapsed);
        files.extend(sums);
    }
    Ok(files)
}

/// Writes one output. Its bytes go to the disk while their digests are computed.
fn write_one(
    name: &str,
    writer: &dyn Writer,
    parts: &Parts<'_>,
    folder: &Path,
) -> Result<(Vec<Sum>, Duration)> {
    let started = Instant::now();
    let files = writer.write(parts, folder)?;
    let _step = parts.work.progress.step(&format!("digests of {name}"));
    let sums = thread::scope(|scope| {
        let flushing = scope.spawn(|| {
            files.iter().try_for_each(|written| store::flush(&folder.join(&written.file)))?;
            parts.keep()
        });
        let sums = sums::of(&files, folder)?;
        finish(flushing)?;
        Ok(sums)
    })?;
    Ok((sums, started.elapsed()))
}

fn finish<T>(thread: ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread
        .join()
        .unwrap_or_else(|_| Err(Error::new(ErrorKind::Internal, "a thread that writes an output panicked")))
}
