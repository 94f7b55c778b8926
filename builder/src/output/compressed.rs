//! A whole disk as a compressed stream, holes and all.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::slice;

use crate::digest::{Digest, DigestWriter};
use crate::error::{IoContext, Result};
use crate::format::resized::Resized;
use crate::layer::compress::{Compression, zstd_encoder};
use crate::layer::gzip;
use crate::threads;

/// Bytes that a copy reads at a time.
const BUFFER: usize = 256 << 10;

/// The ending of a file's name.
pub(super) const fn extension(compression: Compression) -> &'static str {
    match compression {
        Compression::Gzip => "gz",
        Compression::Zstd => "zst",
    }
}

/// Compresses the disk `path` into the file `to`; its digest and length.
pub(super) fn disk(path: &Path, compression: Compression, to: &Path) -> Result<(Digest, u64)> {
    let disk = Resized::whole(path, 1)?;
    let whole = 0..disk.size;
    stream(disk.bytes(slice::from_ref(&whole)), compression, to)
}

/// Compresses all of `from` into the file `to`; its digest and length.
pub(super) fn stream(from: impl Read, compression: Compression, to: &Path) -> Result<(Digest, u64)> {
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
