//! Compressed forms of a layer's tar, as registries need them.

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use zstd::zstd_safe::{CParameter, Strategy};

use super::{PackedLayer, gzip};
use crate::digest::{Digest, DigestWriter};
use crate::error::{Error, IoContext, Result};
use crate::store::{Content, Key, Store};

const KIND: &str = "compressed";
const BLOB: &str = "blob";
const BUFFER: usize = 256 << 10;
/// Raise it when the same input and algorithm come to give other bytes.
const FORMAT: u32 = 3;
/// The level, which decides what [`ZSTD_PARAMETERS`] leave open.
const ZSTD_LEVEL: i32 = 3;
/// Measured on trees of programs and libraries: the size is within one percent of level 3, in five sixths of
/// its time. The speed comes from a single hash table that stays in the processor's cache. A window of 4 MiB
/// instead of 2 compensates for the size (every reader accepts 8, RFC 8878).
const ZSTD_PARAMETERS: [CParameter; 4] = [
    CParameter::Strategy(Strategy::ZSTD_fast),
    CParameter::WindowLog(22),
    CParameter::HashLog(17),
    CParameter::MinMatch(5),
];

/// How to compress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// gzip (RFC 1952): every tool reads it
    #[default]
    Gzip,
    /// Zstandard (RFC 8878): smaller, and quicker to read; tools of older distributions do not know it
    Zstd,
}

/// A compressed layer in the store.
#[derive(Debug, Clone)]
pub struct CompressedLayer {
    pub(crate) path: PathBuf,
    /// Its digest, which names it in an OCI layout.
    pub digest: Digest,
    /// The length in bytes.
    pub size: u64,
    /// Whether it was in the store before this build.
    pub cached: bool,
}

#[derive(Serialize)]
struct Inputs<'a> {
    layer: &'a Digest,
    compression: Compression,
    level: i32,
}

/// The compressed form of `layer`. If it is not in the store, it is made on `threads` threads (at least one).
/// The bytes do not depend on `threads`.
///
/// # Errors
/// Those of [`Store::built`].
pub fn compress(
    store: &Store,
    layer: &PackedLayer,
    compression: Compression,
    threads: usize,
) -> Result<CompressedLayer> {
    let level = if compression == Compression::Gzip { gzip::LEVEL.cast_signed() } else { ZSTD_LEVEL };
    let inputs = Inputs { layer: &layer.diff_id, compression, level };
    let built = store.built(&Key::new(KIND, FORMAT, &inputs, &[])?, BLOB, |path| {
        write(layer, compression, threads, path)
    })?;
    let Content { sha256: digest, size } = built.content;
    Ok(CompressedLayer { path: built.path, digest, size, cached: built.cached })
}

fn write(layer: &PackedLayer, compression: Compression, threads: usize, path: &Path) -> Result<Content> {
    let from = File::open(&layer.tar).at("opening", &layer.tar)?;
    let file = File::create(path).at("creating", path)?;
    let mut to = BufWriter::with_capacity(BUFFER, DigestWriter::new(file));
    match compression {
        Compression::Zstd => copy_zstd(from, &mut to, threads),
        Compression::Gzip => gzip::compress(from, &mut to, gzip::LEVEL, threads),
    }
    .at("compressing", path)?;
    let to = to.into_inner().map_err(|error| Error::io("writing", path, error.error()))?;
    let (_, sha256, size) = to.finish();
    Ok(Content { sha256, size })
}

fn copy_zstd(mut from: File, to: impl io::Write, threads: usize) -> io::Result<()> {
    let mut encoder = zstd_encoder(to, threads)?;
    let mut from = io::BufReader::with_capacity(BUFFER, &mut from);
    io::copy(&mut from, &mut encoder)?;
    encoder.finish().map(drop)
}

/// A Zstandard writer on `threads` threads (at least one).
///
/// # Errors
/// If the library has no memory.
pub fn zstd_encoder<'a, W: io::Write>(to: W, threads: usize) -> io::Result<zstd::Encoder<'a, W>> {
    let mut encoder = zstd::Encoder::new(to, ZSTD_LEVEL)?;
    for parameter in ZSTD_PARAMETERS {
        encoder.set_parameter(parameter)?;
    }
    // With workers the library cuts the input into jobs of a fixed length, for any number of workers. Without
    // workers it does not cut, which gives other bytes.
    encoder.multithread(u32::try_from(threads.max(1)).unwrap_or(1))?;
    Ok(encoder)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn zstd_gives_the_same_bytes_on_any_number_of_threads() {
        // A bit more than three jobs of the library, which cuts at four times the window.
        let length = 3 * (16 << 20) + 12_345;
        let mut state = 1_u32;
        let mut input = Vec::with_capacity(length);
        while input.len() < length {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let run = &state.to_le_bytes()[2..];
            input.extend(run.iter().cycle().take(64));
        }
        let packed: Vec<Vec<u8>> = [0, 1, 2, 4]
            .map(|threads| {
                let mut encoder = zstd_encoder(Vec::new(), threads).unwrap();
                // Uneven pieces: the size of a write must not matter either.
                for piece in input.chunks(100_003 * (threads + 1)) {
                    encoder.write_all(piece).unwrap();
                }
                encoder.finish().unwrap()
            })
            .into();
        assert!(packed.iter().all(|other| *other == packed[0]));
        assert!(zstd::decode_all(packed[0].as_slice()).unwrap() == input);
    }
}
