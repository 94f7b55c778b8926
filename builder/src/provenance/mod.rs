//! 8. What is in the image and where it came from: `manifest.json`, the SBOM, `SHA256SUMS`.

pub mod manifest;
pub mod purl;
pub mod sbom;
pub mod sums;

use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::lock::{LockedArtifact, LockedPackage};
use crate::output::Image;
use crate::provenance::sums::Sum;

/// What the lock says of an image.
#[derive(Debug, Clone, Copy)]
pub struct Locked<'a> {
    /// Artifacts of its layers.
    pub artifacts: &'a [LockedArtifact],
    /// Packages of its distribution.
    pub packages: &'a [LockedPackage],
}

/// The manifest's file name.
pub const MANIFEST: &str = "manifest.json";
/// The SBOM's file name; `.cdx.json` is how other tools know CycloneDX.
pub const SBOM: &str = "sbom.cdx.json";
/// The name of the list of digests.
pub const SUMS: &str = "SHA256SUMS";

/// Describes `image` and `sums`, the files of its outputs in `folder`, and writes the three files beside them. Returns all files in `folder` but the last, with sizes and digests.
///
/// # Errors
/// When a file cannot be read or written.
pub fn write(image: &Image<'_>, locked: Locked<'_>, mut sums: Vec<Sum>, folder: &Path) -> Result<Vec<Sum>> {
    sums.sort();
    write_json(&folder.join(SBOM), &sbom::Bom::new(image, locked))?;
    write_json(&folder.join(MANIFEST), &manifest::Manifest::new(image, locked, &sums))?;
    sums.extend(sums::of(&[MANIFEST, SBOM].map(|file| file.to_owned().into()), folder)?);
    sums.sort();
    let path = folder.join(SUMS);
    fs::write(&path, sums::list(&sums)).at("writing", &path)?;
    Ok(sums)
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value)
        .map_err(|error| Error::new(ErrorKind::Internal, format!("writing {}: {error}", path.display())))?;
    text.push('\n');
    fs::write(path, text).at("writing", path)
}
