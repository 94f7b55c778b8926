//! The disk for Google Compute Engine: `disk.raw`, whole GiB long, in a tar archive of GNU's old format, as
//! `tar --format=oldgnu -Sczf` makes it (cloud.google.com/compute/docs/import/import-existing-image).

use std::fs::File;
use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::assembly::Part;
use crate::digest::DigestWriter;
use crate::error::{IoContext, Result};
use crate::format::resized::Resized;
use crate::format::sparse_tar;
use crate::layer::gzip;
use crate::output::{Output, OutputFile, Writer};
use crate::part::Parts;
use crate::threads;

pub(super) const OUTPUT: Output =
    Output::new::<Gce>("gce", "disk.raw in a tar.gz for Google Compute Engine", &[Part::Disk]);

/// The only name that an import takes.
const MEMBER: &str = "disk.raw";

/// The unit of a disk's size.
const UNIT: u64 = 1 << 30;

/// `<name>.tar.gz`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Gce {}

impl Writer for Gce {
    fn write(&self, parts: &Parts<'_>, folder: &Path) -> Result<Vec<OutputFile>> {
        let file = format!("{}.tar.gz", parts.image.plan.name);
        let disk = Resized::whole(&parts.disk()?.path, UNIT)?;
        let _step = parts.work.progress.step("compressing the disk for Compute Engine");
        let path = folder.join(&file);
        let mut to = DigestWriter::new(File::create(&path).at("creating", &path)?);
        disk.data()
            .and_then(|runs| {
                let archive =
                    sparse_tar::archive(MEMBER, disk.size, &runs, parts.image.epoch, disk.bytes(&runs))?;
                gzip::compress(archive, &mut to, gzip::LEVEL, threads::count())
            })
            .at("writing", &path)?;
        let (_, digest, _) = to.finish();
        Ok(vec![OutputFile { file, digest: Some(digest) }])
    }
}
