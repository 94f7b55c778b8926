//! The raw disk, and the files to boot it without a boot loader.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::assembly::Part;
use crate::error::{IoContext, Result};
use crate::layer::compress;
use crate::output::{Output, OutputFile, Writer};
use crate::part::{Parts, compressed};
use crate::sparse;

pub(super) const OUTPUT: Output = Output::new::<Raw>(
    "raw",
    "a sparse disk image; if it is not a vendor's or Windows, its kernel, initrd and command line beside it",
    &[Part::Disk],
)
.with_large_sectors();

/// `<name>.raw` (or `<name>.raw.zst`, `<name>.raw.gz`), and `<name>.vmlinuz`, `<name>.initrd`,
/// `<name>.cmdline` for a hypervisor that loads the kernel itself.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Raw {
    /// How the disk is compressed
    #[serde(default)]
    compression: Compression,
    /// Whether `<name>.raw.bmap` is beside it, for bmaptool and `firstboot install`
    #[serde(default)]
    block_map: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Compression {
    /// Not at all
    #[default]
    None,
    /// gzip: every cloud and tool reads it
    Gzip,
    /// Zstandard: smaller, and much quicker to read
    Zstd,
}

impl Writer for Raw {
    fn write(&self, parts: &Parts<'_>, folder: &Path) -> Result<Vec<OutputFile>> {
        let file = |extension: &str| format!("{}.{extension}", parts.image.plan.name);
        let mut files = vec![self.disk(parts, folder)?];
        if self.block_map {
            let name = file("raw.bmap");
            let path = folder.join(&name);
            fs::write(&path, parts.block_map()?).at("writing", path)?;
            files.push(name.into());
        }
        if parts.image.vendor().is_some() || parts.image.windows().is_some() {
            return Ok(files);
        }
        let names = ["vmlinuz", "initrd", "cmdline"].map(file);
        let [kernel, initrd, command_line] = names.each_ref().map(|name| folder.join(name));
        // A copy, because the store's own file must not change when a user changes this one.
        fs::copy(parts.initrd()?, &initrd).at("writing", &initrd)?;
        let mut from = parts.kernel()?.body.open().at("reading", "the kernel")?;
        File::create(&kernel)
            .and_then(|mut to| io::copy(&mut from, &mut to))
            .at("writing", &kernel)?;
        fs::write(&command_line, parts.command_line()?.to_owned() + "\n").at("writing", &command_line)?;
        files.extend(names.map(OutputFile::from));
        Ok(files)
    }
}

impl Raw {
    fn disk(&self, parts: &Parts<'_>, folder: &Path) -> Result<OutputFile> {
        let file = format!("{}.raw", parts.image.plan.name);
        let compression = match self.compression {
            Compression::None => {
                link_or_copy(&parts.disk()?.path, &folder.join(&file))?;
                return Ok(file.into());
            }
            Compression::Gzip => compress::Compression::Gzip,
            Compression::Zstd => compress::Compression::Zstd,
        };
        let disk = parts.compressed_disk(compression)?;
        let file = format!("{file}.{}", compressed::extension(compression));
        disk.copy(&folder.join(&file))?;
        Ok(OutputFile { file, digest: Some(disk.digest) })
    }
}

/// The scratch folder is on the output's file system: a second name for the file costs nothing.
pub(super) fn link_or_copy(from: &Path, to: &Path) -> Result<()> {
    if fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    copy_sparse(from, to).at("copying to", to)
}

/// Copies a file and leaves out blocks of zeros.
fn copy_sparse(from: &Path, to: &Path) -> io::Result<()> {
    let from = File::open(from)?;
    sparse::cut(&from, 0..from.metadata()?.len(), to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_copy_has_the_same_bytes_and_the_same_holes() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        let file = File::create(&from).unwrap();
        file.set_len(64 << 20).unwrap();
        std::os::unix::fs::FileExt::write_at(&file, b"middle", 32 << 20).unwrap();
        copy_sparse(&from, &to).unwrap();
        assert!(fs::read(&from).unwrap() == fs::read(&to).unwrap());
        assert!(fs::metadata(&to).unwrap().blocks() * 512 < 1 << 20);
    }
}
