//! Decompresses an archive into a spool file, with a limit on the output.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::MultiGzDecoder;
use liblzma::bufread::XzDecoder;
use liblzma::stream::{CONCATENATED, Stream};
use tempfile::{NamedTempFile, TempPath};

use super::{Archive, Packing, bomb, unpack_limit, zip};
use crate::error::{Error, ErrorKind, IoContext, Result};

/// The memory limit of an xz stream; xz -9 needs 65 MiB.
const XZ_MEMORY: u64 = 256 << 20;
/// The largest zstd window, as a power of two: the default limit of `zstd -d`.
const ZSTD_WINDOW_LOG: u32 = 27;
const BUFFER: usize = 256 << 10;

/// A tar on disk: the bytes `start` to `end` of a file.
pub(crate) struct Unpacked {
    pub(super) path: PathBuf,
    pub(super) start: u64,
    pub(super) end: u64,
    /// Removes the new file unless [`Unpacked::keep`] is called.
    pub(super) spool: Option<TempPath>,
}

impl Unpacked {
    /// The length of the tar.
    pub(crate) fn length(&self) -> u64 {
        self.end - self.start
    }

    /// Reads the tar from its start.
    pub(crate) fn reader(&self) -> Result<io::Take<File>> {
        section(&self.path, self.start, self.end)
    }

    /// Keeps the file, because a tree refers to it.
    pub(super) fn keep(self) -> Result<()> {
        match self.spool {
            None => Ok(()),
            Some(spool) => {
                spool.keep().map(drop).map_err(|error| Error::io("keeping", &self.path, &error.error))
            }
        }
    }
}

/// Reads the bytes `start` to `end` of a file.
fn section(path: &Path, start: u64, end: u64) -> Result<io::Take<File>> {
    let mut file = File::open(path).at("opening", path)?;
    file.seek(SeekFrom::Start(start)).at("reading", path)?;
    Ok(file.take(end - start))
}

/// The uncompressed tar of `archive`: the archive itself if it is not compressed, otherwise a new file in
/// `spool_dir`.
pub(super) fn unpack(archive: &Archive, spool_dir: &Path) -> Result<Unpacked> {
    if archive.packing == Packing::Plain {
        return Ok(Unpacked {
            path: archive.path.clone(),
            start: archive.start,
            end: archive.end,
            spool: None,
        });
    }
    if archive.packing == Packing::Zip {
        let mut spool = new_spool(spool_dir)?;
        let end = zip::to_tar(&archive.path, &archive.title, spool.as_file_mut())?;
        return unpacked(spool, end);
    }
    let length = archive.end - archive.start;
    let packed = section(&archive.path, archive.start, archive.end)?;
    let mut reader = decoder(archive.packing, BufReader::with_capacity(BUFFER, packed))
        .map_err(|error| broken(&archive.title, &error))?;
    let mut spool = new_spool(spool_dir)?;
    let end = copy(&archive.title, length, &mut reader, &mut spool)?;
    unpacked(spool, end)
}

fn unpacked(spool: NamedTempFile, end: u64) -> Result<Unpacked> {
    let path = std::path::absolute(spool.path()).at("resolving", spool.path())?;
    Ok(Unpacked { path, start: 0, end, spool: Some(spool.into_temp_path()) })
}

/// Copies what a tool unpacks from the file `packed` into a new file in `spool_dir`, with the same limit.
pub(super) fn spool(from: &mut dyn Read, packed: &Path, title: &str, spool_dir: &Path) -> Result<PathBuf> {
    let length = packed.metadata().at("reading", packed)?.len();
    let mut spool = new_spool(spool_dir)?;
    copy(title, length, from, &mut spool)?;
    let path = std::path::absolute(spool.path()).at("resolving", spool.path())?;
    let spool = spool.into_temp_path();
    spool.keep().map_err(|error| Error::io("keeping", &path, &error.error))?;
    Ok(path)
}

fn new_spool(spool_dir: &Path) -> Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder
        .prefix("archive-")
        .suffix(".tar")
        .tempfile_in(spool_dir)
        .at("creating a file in", spool_dir)
}

fn decoder<'a>(packing: Packing, input: BufReader<io::Take<File>>) -> io::Result<Box<dyn Read + 'a>> {
    Ok(match packing {
        Packing::Plain | Packing::Zip => Box::new(input),
        Packing::Bzip2 => Box::new(MultiBzDecoder::new(input)),
        Packing::Gzip => Box::new(MultiGzDecoder::new(input)),
        Packing::Xz => {
            Box::new(XzDecoder::new_stream(input, Stream::new_stream_decoder(XZ_MEMORY, CONCATENATED)?))
        }
        Packing::Zstd => {
            let mut decoder = zstd::Decoder::with_buffer(input)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            Box::new(decoder)
        }
    })
}

/// Copies until the end. A read error is a problem of the archive, a write error a problem of the disk.
fn copy(title: &str, length: u64, from: &mut dyn Read, to: &mut NamedTempFile) -> Result<u64> {
    let limit = unpack_limit(length);
    let mut buffer = vec![0; BUFFER];
    let mut total = 0;
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => return Ok(total),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(broken(title, &error)),
        };
        total += count as u64;
        if total > limit {
            return Err(bomb(title, length, limit));
        }
        to.as_file_mut().write_all(&buffer[..count]).at("writing", to.path())?;
    }
}

fn broken(title: &str, error: &io::Error) -> Error {
    Error::new(ErrorKind::Archive, format!("archive {title}: it cannot be unpacked: {error}"))
        .help("fetch it again: it was cut off or damaged")
}
