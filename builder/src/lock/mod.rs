//! 2. The lock: every byte that goes into an image, pinned.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// An artifact of a layer, pinned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedArtifact {
    /// The layer that asks for it.
    pub layer: String,
    /// Its name in that layer.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The upstream address; mirrors are applied when fetching and never appear here.
    pub url: String,
    /// Length in bytes; absent when the digest came from a table and nobody has fetched the file yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Its digest.
    pub sha256: Digest,
}

/// A distribution package, pinned. It has no address: any mirror of the archive serves it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedPackage {
    /// Binary package name.
    pub name: String,
    /// Version, with epoch and revision.
    pub version: String,
    /// `amd64`, `arm64` or `all`.
    pub architecture: String,
    /// Source package name, for the SBOM and vulnerability scanners.
    pub source: String,
    /// Which archive: `debian` or `debian-security`.
    pub archive: String,
    /// Path below the archive's root ("pool/main/b/bash/bash_5.2-2_amd64.deb").
    pub path: String,
    /// Length in bytes.
    pub size: u64,
    /// Its digest.
    pub sha256: Digest,
    /// Whether it is installed in the base; otherwise only files are taken out of it.
    pub install: bool,
}
