//! A whole disk as a compressed stream, holes and all.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::slice;

use super::{Disk, Work};

use crate::digest::{Digest, DigestWriter};
use crate::error::{IoContext, Result};
use crate::format::resized::Resized;
use crate::layer::compress::{Compression, zstd_encoder};
use crate::layer::gzip;
use crate::threads;

/// Bytes that a copy reads at a time.
const BUFFER: usize = 256 << 10;

/// A disk that was compressed.
#[derive(Debug)]
pub struct CompressedDisk {
    /// The file.
    pub path: PathBuf,
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
}

impl CompressedDisk {
    /// Copies it to the file `to`. No link, because gzip unpacks no file that has other names.
    pub fn copy(&self, to: &Path) -> Result<()> {
        fs::copy(&self.path, to).at("writing", to).map(drop)
    }
}

/// Compresses `disk` into a file of the scratch folder.
pub(super) fn make(disk: &Disk, compression: Compression, work: &Work<'_>) -> Result<CompressedDisk> {
    let _step = work.progress.step("compressing the raw disk");
    let path = work.scratch.join(format!("disk.raw.{}", extension(compression)));
    let whole = Resized::whole(&disk.path, 1)?;
    let all = 0..whole.size;
    let (digest, size) = stream(whole.bytes(slice::from_ref(&all)), compression, &path)?;
    Ok(CompressedDisk { path, digest, size })
}

/// The ending of a file's name.
pub const fn extension(compression: Compression) -> &'static str {
    match compression {
        Compression::Gzip => "gz",
        Compression::Zstd => "zst",
    }
}

/// Compresses all of `from` into the file `to`; its digest and length.
pub fn stream(from: impl Read, compression: Compression, to: &Path) -> Result<(Digest, u64)> {
    let file = DigestWriter::new(File::create(to).at("creating", to)?);
    let (_, digest, size) = write(from, compression, file).at("writing", to)?.finish();
    Ok((digest, size))
}

fn write<W: io::Write>(from: impl Read, compression: Compression, mut to: W) -> io::Result<W> {
    match compression {
        Compression::Gzip => gzip::compress(from, &mut to, gzip::LEVEL, threads::count())?,
        Compression::Zstd => {
            let mut encoder = zstd_encoder(&mut to, threads::count())?;
            io::copy(&mut io::BufReader::with_capacity(BUFFER, from), &mut encoder)?;
            encoder.finish()?;
        }
    }
    Ok(to)
}
