//! The disk for QEMU, KVM, libvirt and OpenStack.

use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::assembly::Part;
use crate::error::Result;
use crate::output::{Output, OutputFile, Writer};
use crate::part::Parts;
use crate::process::{Run, tool};

pub(super) const OUTPUT: Output =
    Output::new::<Qcow2>("qcow2", "a disk image for QEMU, KVM and OpenStack", &[Part::Disk])
        .with_large_sectors();

/// The package of the tools.
const PACKAGE: &str = "qemu-utils";

/// Version 3 without options that need a new QEMU.
const FORMAT: &str = "compat=1.1,cluster_size=65536,lazy_refcounts=off,preallocation=off";

/// `<name>.qcow2`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Qcow2 {
    /// How clusters are compressed; the root file system is compressed already
    #[serde(default)]
    compression: Compression,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Compression {
    /// Not at all
    #[default]
    None,
    /// zlib: every QEMU reads it
    Zlib,
    /// Zstandard: QEMU 5.1 and later
    Zstd,
}

impl Writer for Qcow2 {
    fn write(&self, parts: &Parts<'_>, folder: &Path) -> Result<Vec<OutputFile>> {
        let name = format!("{}.qcow2", parts.image.plan.name);
        make(parts, self.compression, &folder.join(&name))?;
        Ok(vec![name.into()])
    }
}

/// Writes the image's disk to `path`.
pub(super) fn make(parts: &Parts<'_>, compression: Compression, path: &Path) -> Result<()> {
    let disk = parts.disk()?;
    parts.work.record_tool("qemu-img", &version()?);
    let _step = parts.work.progress.step("converting the disk to qcow2");
    let mut command = tool("qemu-img");
    command.args(["convert", "-q", "-f", "raw", "-O", "qcow2"]);
    match compression {
        Compression::None => command.args(["-o", FORMAT]),
        Compression::Zlib => command.args(["-c", "-o", FORMAT]),
        Compression::Zstd => command.args(["-c", "-o", &format!("{FORMAT},compression_type=zstd")]),
    };
    command.arg(&disk.path).arg(path);
    command.run(PACKAGE)?;
    Ok(())
}

/// The version of the installed tool ("7.2.22").
fn version() -> Result<String> {
    let output = tool("qemu-img").arg("--version").run(PACKAGE)?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.split_whitespace().nth(2).unwrap_or("unknown").to_owned())
}
