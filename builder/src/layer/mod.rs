//! 4. Verified artifacts and files become layers: deterministic tars, named by content.

pub mod assemble;
pub mod compress;
pub(crate) mod gzip;
pub mod pack;
pub mod read;
pub mod tee;
pub mod write;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use serde::Serialize;

use crate::digest::Digest;

/// A layer as an uncompressed, deterministic tar in the store.
#[derive(Debug, Clone, Serialize)]
pub struct PackedLayer {
    /// The name of the layer. The base has the name of its suite.
    pub name: String,
    /// The hash of everything that determines its content. It is the name in the store.
    pub key: Digest,
    /// The uncompressed tar.
    #[serde(skip)]
    pub tar: PathBuf,
    /// SHA-256 of the uncompressed tar (OCI's diffID).
    pub diff_id: Digest,
    /// Length of the uncompressed tar in bytes.
    pub size: u64,
    /// Whether it was in the store before this build.
    pub cached: bool,
}
