//! 2. The lock: every byte that goes into an image, pinned.
//!
//! A lock is TOML beside its definition. It names no mirror: artifacts have their upstream address, and each
//! kind of base has its own pins ([`LockedBase`]).

pub mod diff;
pub mod drift;
pub mod preload;
pub mod table;
pub mod update;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use crate::base::{BaseSection, LockedBase, LockedPackage, Sections};
use crate::definition::compose;
use crate::definition::plan::Arch;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, IoContext, Result};
use preload::LockedImage;

/// The version of the lock's format.
const SCHEMA: u32 = 1;

/// A lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "LockFile", into = "LockFile")]
pub struct Lock {
    /// Version of the format: 1.
    pub schema: u32,
    /// Name of the image.
    pub image: String,
    /// Architecture.
    pub arch: Arch,
    /// The versions that the definition left open and the compatibility table gave, and Kubernetes': they
    /// stay until the lock is upgraded.
    pub versions: BTreeMap<String, String>,
    /// The base.
    pub base: LockedBase,
    /// Artifacts, by layer and name.
    pub artifacts: Vec<LockedArtifact>,
    /// Container images that are preloaded, in the order of the definition, but for archives that it pins
    /// itself.
    pub preload: Vec<LockedImage>,
}

/// A lock as it is written. The sections of the base come from its kind.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LockFile {
    schema: u32,
    image: String,
    arch: Arch,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    versions: BTreeMap<String, String>,
    base: BaseSection,
    #[serde(default, rename = "artifact")]
    artifacts: Vec<LockedArtifact>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    preload: Vec<LockedImage>,
    #[serde(default, rename = "package")]
    packages: Vec<LockedPackage>,
}

impl TryFrom<LockFile> for Lock {
    type Error = &'static str;

    fn try_from(file: LockFile) -> Result<Self, &'static str> {
        let LockFile { schema, image, arch, versions, base, artifacts, preload, packages } = file;
        let base = Sections { base, packages }.try_into()?;
        Ok(Self { schema, image, arch, versions, base, artifacts, preload })
    }
}

impl From<Lock> for LockFile {
    fn from(lock: Lock) -> Self {
        let Lock { schema, image, arch, versions, base, artifacts, preload } = lock;
        let Sections { base, packages } = base.into();
        Self { schema, image, arch, versions, base, artifacts, preload, packages }
    }
}

const EXPECTED: compose::Expected = compose::Expected {
    kind: ErrorKind::Lock,
    largest: 16 << 20,
    help: "name a file that kiln lock wrote, or will write",
};

impl Lock {
    /// Reads a lock file; `None` when there is none.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        if !path.exists() {
            return Ok(None);
        }
        let broken = |error: Error| {
            Error::new(ErrorKind::Lock, error.message())
                .help("if this is a lock file, remove it and run kiln lock; if it is something else, name the lock file")
        };
        let source = compose::read_as(path, &EXPECTED)?;
        let lock: Self = source.parse().map_err(broken)?;
        if lock.schema != SCHEMA {
            let message =
                format!("{}: schema {} is not known to this release of Kiln", path.display(), lock.schema);
            return Err(Error::new(ErrorKind::Lock, message)
                .help("use the Kiln that wrote it, or remove the lock file and run kiln lock"));
        }
        lock.check()
            .map_err(|why| broken(Error::new(ErrorKind::Lock, format!("{}: {why}", path.display()))))?;
        Ok(Some(lock))
    }

    /// What is there twice, as after a merge of two branches, would be pinned to the one and said of the
    /// other.
    fn check(&self) -> std::result::Result<(), String> {
        let (mut seen, mut sizes) = (BTreeSet::new(), BTreeMap::new());
        for LockedArtifact { layer, name, sha256, size, .. } in &self.artifacts {
            if !seen.insert((layer, name)) {
                return Err(format!("the artifact {name} of the layer {layer} is in it twice"));
            }
            let Some(size) = size else { continue };
            let first = *sizes.entry(sha256).or_insert(size);
            if first != size {
                return Err(format!("{sha256} has {first} bytes in one place and {size} in another"));
            }
        }
        let mut images = BTreeSet::new();
        match self.preload.iter().find(|pin| !images.insert(&pin.reference)) {
            Some(pin) => Err(format!("the container image {} is in it twice", pin.reference)),
            None => Ok(()),
        }
    }

    /// The text of the lock file.
    pub fn text(&self) -> Result<String> {
        let body = toml::to_string(self)
            .map_err(|error| Error::new(ErrorKind::Internal, format!("writing the lock: {error}")))?;
        Ok(format!("# Written by `kiln lock`; commit it beside the definition.\n{body}"))
    }

    /// Writes the lock file by atomic rename.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = self.text()?;
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
    /// Says that nothing vouches for the digest but the first download.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<NoChecksum>,
    /// Who has signed the digest, or the artifact: an OpenPGP fingerprint, or a public key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<String>,
    /// Length in bytes; absent when the digest came from a table and the file was not fetched yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Its digest.
    pub sha256: Digest,
}

/// Why an artifact has no published checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NoChecksum {
    /// Upstream publishes none: the digest is that of what it served when it was first asked.
    Unpublished,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_artifact_with_two_pins_or_sizes_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("../images");
        let mut lock = Lock::read(&images.join("debian-13.lock")).unwrap().unwrap();
        lock.artifacts[0].size = Some(2);
        let first = lock.artifacts[0].clone();
        let path = folder.path().join("x.lock");
        let other_pin = LockedArtifact { sha256: Digest::of(b"other"), ..first.clone() };
        let other_size = LockedArtifact { name: "x".to_owned(), size: Some(1), ..first };
        for (more, why) in
            [(other_pin, "is in it twice"), (other_size, "bytes in one place and 1 in another")]
        {
            lock.artifacts.push(more);
            lock.write(&path).unwrap();
            let error = Lock::read(&path).unwrap_err();
            assert!(error.kind() == ErrorKind::Lock && error.message().contains(why), "{error}");
            lock.artifacts.pop();
        }
    }

    #[test]
    fn the_committed_locks_are_written_as_they_were_read() {
        let folder = tempfile::tempdir().unwrap();
        let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("../images");
        for name in ["debian-12.lock", "debian-13.lock"] {
            let (from, to) = (images.join(name), folder.path().join(name));
            Lock::read(&from).unwrap().unwrap().write(&to).unwrap();
            assert!(fs::read(&from).unwrap() == fs::read(to).unwrap(), "{name}");
            // It works after the next point release too.
            assert!(
                Lock::read(&from).unwrap().unwrap().base.snapshot().is_some(),
                "{name} names no snapshot"
            );
        }
    }
}
