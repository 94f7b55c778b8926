//! The disk for vSphere, and for AWS's import of snapshots: a streamOptimized VMDK.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::assembly::Part;
use crate::determinism;
use crate::digest::{Digest, DigestWriter};
use crate::error::{Error, IoContext, Result};
use crate::format::resized::Resized;
use crate::format::vmdk;
use crate::output::{Output, OutputFile, Writer};
use crate::part::Parts;
use crate::size::MIB;
use crate::threads;

pub(super) const OUTPUT: Output = Output::new::<Vmdk>(
    "vmdk",
    "a compressed VMDK (streamOptimized) for vSphere's libraries and for imports of snapshots",
    &[Part::Disk],
);

const BUFFER: usize = 256 << 10;

/// `<name>.vmdk`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Vmdk {}

impl Writer for Vmdk {
    fn write(&self, parts: &Parts<'_>, folder: &Path) -> Result<Vec<OutputFile>> {
        let file = format!("{}.vmdk", parts.image.plan.name);
        let made = make(parts, &file, &folder.join(&file))?;
        Ok(vec![OutputFile { file, digest: Some(made.digest) }])
    }
}

/// A finished VMDK.
#[derive(Debug)]
pub(super) struct Made {
    pub digest: Digest,
    /// Length of the file.
    pub size: u64,
    /// Length of the disk.
    pub capacity: u64,
}

/// Writes the VMDK of the image's disk to `path`; it calls itself `file`.
pub(super) fn make(parts: &Parts<'_>, file: &str, path: &Path) -> Result<Made> {
    let disk = Resized::whole(&parts.disk()?.path, MIB)?;
    let _step = parts.work.progress.step("compressing the disk to a VMDK");
    let id = determinism::uuid(&parts.image.identity, "vmdk");
    let to = DigestWriter::new(File::create(path).at("creating", path)?);
    let mut to = BufWriter::with_capacity(BUFFER, to);
    vmdk::write(&disk, file, id, threads::count(), &mut to).at("writing", path)?;
    let to = to.into_inner().map_err(|error| Error::io("writing", path, error.error()))?;
    let (_, digest, size) = to.finish();
    Ok(Made { digest, size, capacity: disk.size })
}
