//! A vendor's disk with additions on its root partition. Every block outside that partition stays as it is.
//!
//! The root partition is not made anew: its file system keeps its identifiers and the features that this
//! release of the vendor's kernel is known to mount.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use bzip2::bufread::MultiBzDecoder;
use contract::gpt::{self, Partition, SECTOR, Side};

use crate::assembly::{Image, VendorRelease};
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::format::ext4;
use crate::format::ext4_edit::Ext4Edit;
use crate::part::work::Work;
use crate::sparse;
use crate::tree::Tree;

/// The longest disk that is unpacked, in bytes; zeros take no room.
const LONGEST: u64 = 1 << 40;

/// Writes the disk of `release` with `additions` into the scratch folder.
///
/// # Errors
/// [`ErrorKind::Archive`] if the disk is damaged, or is not as this vendor's disks are.
pub(crate) fn make(
    image: &Image<'_>,
    work: &Work<'_>,
    release: &VendorRelease,
    additions: &Tree,
) -> Result<PathBuf> {
    let source = release
        .disk
        .as_deref()
        .ok_or_else(|| Error::new(ErrorKind::Internal, "the lock has no disk image"))?;
    let path = work.scratch.join("disk.raw");
    {
        let _step = work.progress.step("unpacking the vendor's disk");
        unpack(source, &path, &release.title)?;
    }
    let _step = work.progress.step("adding to the vendor's disk");
    work.record_tool("debugfs", &ext4::version()?);
    add(&path, release, additions, image.epoch, work.scratch)?;
    Ok(path)
}

/// Adds to the root partition of the disk `path`.
fn add(path: &Path, release: &VendorRelease, additions: &Tree, epoch: u64, scratch: &Path) -> Result<()> {
    let root = root(path, release)?;
    let title = format!("the root partition of {}", release.title);
    let offset = root.first * SECTOR;
    Ext4Edit { file: path, offset, title: &title, scratch }.add(additions, epoch)
}

fn unpack(source: &Path, path: &Path, title: &str) -> Result<()> {
    let from = File::open(source).at("opening", source)?;
    let mut disk = io::Read::take(MultiBzDecoder::new(BufReader::new(from)), LONGEST + 1);
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)
        .at("creating", path)?;
    let length = sparse::copy(&mut disk, &mut file).map_err(|error| match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::io("writing", path, &error),
        _ => refuse(title, &format!("its disk cannot be unpacked: {error}")),
    })?;
    if length > LONGEST {
        return Err(refuse(title, "its disk is longer than 1 TiB"));
    }
    file.set_len(length).at("enlarging", path)
}

/// The root partition, which must be the last: it grows at first boot.
fn root(path: &Path, release: &VendorRelease) -> Result<Partition> {
    let mut file = File::open(path).at("opening", path)?;
    let sectors = file.metadata().at("reading", path)?.len() / SECTOR;
    let refuse = |why: &str| refuse(&release.title, why);
    let table = gpt::read(&mut file, SECTOR, sectors)
        .map_err(|why| refuse(&format!("its partition table: {why}")))?;
    if table.side == Side::Backup {
        return Err(refuse("its partition table at the start of the disk is damaged"));
    }
    if let Some((one, other)) = table.overlap() {
        return Err(refuse(&format!("its partitions {one} and {other} overlap")));
    }
    for kind in release.places.partitions {
        if !table.partitions.iter().any(|partition| partition.kind == *kind) {
            return Err(refuse(&format!("it has no partition of the type {kind}")));
        }
    }
    let roots: Vec<&Partition> = table
        .partitions
        .iter()
        .filter(|partition| partition.kind == release.places.root)
        .collect();
    match roots.as_slice() {
        [root] if table.partitions.iter().all(|other| other.last <= root.last) => Ok((*root).clone()),
        [_] => Err(refuse("its root partition is not the last one")),
        [] => Err(refuse("it has no root partition")),
        _ => Err(refuse("it has more than one root partition")),
    }
}

fn refuse(title: &str, why: &str) -> Error {
    Error::new(ErrorKind::Archive, format!("{title}: {why}"))
        .help("the release is not laid out as those that this Kiln knows: choose another version")
}

#[cfg(test)]
#[path = "disk_tests.rs"]
mod tests;
