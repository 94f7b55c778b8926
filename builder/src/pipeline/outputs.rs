//! All outputs at the same time: one compresses while another copies, and the disk takes what is finished.

use std::path::Path;
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use super::report::Timer;
use crate::error::{Error, ErrorKind, Result};
use crate::image::squashfs;
use crate::output::{self, Image, Output};
use crate::provenance::sums::{self, Sum};
use crate::store;

/// Writes the outputs that the plan asks for into `folder`; the files, flushed, with sizes and digests.
///
/// # Errors
/// The first in the plan's order, whichever came first in time.
pub fn write(image: &Image<'_>, folder: &Path, timer: &mut Timer) -> Result<Vec<Sum>> {
    let outputs = image.plan.outputs.iter().map(|name| output::find(name)).collect::<Result<Vec<_>>>()?;
    let results: Vec<Result<(Vec<Sum>, Duration)>> = thread::scope(|scope| {
        let threads: Vec<_> =
            outputs.iter().map(|output| scope.spawn(|| write_one(*output, image, folder))).collect();
        threads.into_iter().map(finish).collect()
    });
    let mut files = Vec::new();
    for (output, result) in outputs.iter().zip(results) {
        let (sums, elapsed) = result?;
        timer.record(output.name(), elapsed);
        files.extend(sums);
    }
    Ok(files)
}

/// Writes one output. Its bytes go to the disk while their digests are computed.
fn write_one(output: &dyn Output, image: &Image<'_>, folder: &Path) -> Result<(Vec<Sum>, Duration)> {
    let started = Instant::now();
    let files = output.write(image, folder)?;
    let _step = image.progress.step(&format!("digests of {}", output.name()));
    let sums = thread::scope(|scope| {
        let flushing = scope.spawn(|| {
            files.iter().try_for_each(|written| store::flush(&folder.join(&written.file)))?;
            squashfs::keep(image)
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
