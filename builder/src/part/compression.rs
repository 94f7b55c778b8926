//! Files of an image that its distribution compressed: kernel modules, firmware.

use std::io::Read;

use crate::error::{IoContext, Result};

/// The endings of compressed files.
pub const ENDINGS: [&str; 3] = [".xz", ".zst", ".gz"];

/// The content of a file, decompressed as the end of its name says, but for bytes from `limit` on.
///
/// # Errors
/// When it is not compressed in that way.
pub fn plain(path: &str, bytes: &[u8], limit: u64) -> Result<Vec<u8>> {
    let reader: Box<dyn Read + '_> = match path.rsplit_once('.').map_or("", |(_, end)| end) {
        "xz" => Box::new(liblzma::read::XzDecoder::new(bytes)),
        "zst" => Box::new(zstd::Decoder::new(bytes).at("reading", path)?),
        "gz" => Box::new(flate2::read::GzDecoder::new(bytes)),
        _ => Box::new(bytes),
    };
    let mut plain = Vec::new();
    reader.take(limit).read_to_end(&mut plain).at("decompressing", path)?;
    Ok(plain)
}
