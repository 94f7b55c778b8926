//! 8. The contents of the image and their origin: `manifest.json`, the SBOM, `SHA256SUMS`.

mod finished;
mod manifest;
mod sbom;

use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::base::LockedBase;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::lock::LockedArtifact;
use crate::lock::preload::LockedImage;
use crate::output::sums::{self, Sum};
use crate::part::Parts;

pub use finished::{Finished, FinishedKernel, FinishedLayer};

/// The pins of a lock.
#[derive(Debug, Clone, Copy)]
pub struct Pins<'a> {
    /// Artifacts of its layers.
    pub artifacts: &'a [LockedArtifact],
    /// Its base.
    pub base: &'a LockedBase,
    /// Its preloaded container images, where the definition does not pin them.
    pub preload: &'a [LockedImage],
}

/// The manifest's file name.
pub const MANIFEST: &str = "manifest.json";
/// The SBOM's file name; `.cdx.json` is how other tools know CycloneDX.
pub const SBOM: &str = "sbom.cdx.json";
/// The name of the list of digests.
pub const SUMS: &str = "SHA256SUMS";

/// Writes the three files beside the outputs in `folder`, whose sizes and digests are `sums`. Returns the
/// sums with those of the manifest and the SBOM.
///
/// # Errors
/// When a file cannot be read or written.
pub fn write(parts: &Parts<'_>, pins: Pins<'_>, mut sums: Vec<Sum>, folder: &Path) -> Result<Vec<Sum>> {
    sums.sort();
    write_json(&folder.join(SBOM), &sbom::Bom::new(&parts.image, pins))?;
    write_json(&folder.join(MANIFEST), &manifest::Manifest::new(parts, pins, &sums)?)?;
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
