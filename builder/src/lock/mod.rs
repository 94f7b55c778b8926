//! 2. The lock: every byte that goes into an image, pinned.
//!
//! A lock is TOML beside its definition. It names no mirror: artifacts by their upstream address, packages by name, version
//! and path in their archive.

pub mod drift;
pub mod table;
pub mod update;

use std::fs;
use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use crate::definition::compose;
use crate::definition::plan::{Arch, Distribution};
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, IoContext, Result};

/// The version of the lock's format.
const SCHEMA: u32 = 1;

/// A lock file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// Version of the format: 1.
    pub schema: u32,
    /// Name of the image.
    pub image: String,
    /// Architecture.
    pub arch: Arch,
    /// What the package closure was made for.
    pub base: LockedBase,
    /// Artifacts, by layer and name.
    #[serde(default, rename = "artifact")]
    pub artifacts: Vec<LockedArtifact>,
    /// Packages, by name.
    #[serde(default, rename = "package")]
    pub packages: Vec<LockedPackage>,
}

/// What the package closure was made for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedBase {
    /// Operating system.
    pub distribution: Distribution,
    /// Release.
    pub suite: String,
    /// Packages that were asked for; the closure follows from them.
    pub install: Vec<String>,
    /// Packages of which only files are taken.
    pub extract: Vec<String>,
}

impl Lock {
    /// Reads a lock file; `None` when there is none.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        if !path.exists() {
            return Ok(None);
        }
        let remedy = "remove it and run kiln lock";
        let broken = |error: Error| Error::new(ErrorKind::Lock, error.message()).help(remedy);
        let lock: Self =
            compose::read_up_to(path, 16 << 20).and_then(|source| source.parse()).map_err(broken)?;
        if lock.schema != SCHEMA {
            let message =
                format!("{}: schema {} is not known to this release of Kiln", path.display(), lock.schema);
            return Err(Error::new(ErrorKind::Lock, message).help(remedy));
        }
        Ok(Some(lock))
    }

    /// Writes the lock file by atomic rename.
    pub fn write(&self, path: &Path) -> Result<()> {
        let body = toml::to_string(self)
            .map_err(|error| Error::new(ErrorKind::Internal, format!("writing the lock: {error}")))?;
        let text = format!("# Written by `kiln lock`; commit it beside the definition.\n{body}");
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(folder).at("creating", folder)?;
        let mut file = NamedTempFile::new_in(folder).at("creating a file in", folder)?;
        file.write_all(text.as_bytes()).at("writing", path)?;
        file.as_file().sync_all().at("flushing", path)?;
        set_public(file.as_file(), path)?;
        file.persist(path).map_err(|error| Error::io("renaming to", path, &error.error))?;
        Ok(())
    }

    /// The pin of an artifact.
    pub fn artifact(&self, layer: &str, name: &str) -> Option<&LockedArtifact> {
        self.artifacts.iter().find(|artifact| artifact.layer == layer && artifact.name == name)
    }
}

/// A temporary file is private; a lock is not.
fn set_public(file: &fs::File, path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(fs::Permissions::from_mode(0o644)).at("changing the mode of", path)
}

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
