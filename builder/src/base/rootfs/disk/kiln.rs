//! A disk as Kiln lays it out: a root on squashfs, and `/var` on a partition of its own. Other disks are read
//! as a vendor's.

use std::fs::{self, File};
use std::io;

use contract::gpt::Partition;
use contract::partition_type as kind;

use super::ext4::Volume;
use super::filesystem::{self, FAT, SQUASHFS};
use super::{Disk, Place, raw, read, table};
use crate::archive;
use crate::base::rootfs::{Installed, InstalledDisk, Source, squashfs};
use crate::error::{IoContext, Result};
use crate::sparse;

/// Where a machine keeps the upper sides of its overlays, below `/var`.
const OVERLAYS: &str = "lib/kiln/";
const LOST_AND_FOUND: &str = "lost+found";
const ROOTS: [&str; 2] = [kind::ROOT_AMD64, kind::ROOT_ARM64];

/// See [`crate::base::rootfs::read_installed`].
pub(crate) fn read_installed(source: &Source<'_>) -> Result<Installed> {
    let path = raw(source)?;
    let mut file = File::open(&path).at("opening", &path)?;
    let length = file.metadata().at("reading", &path)?.len();
    let disk = table(&mut file, length, source.title);
    let boot = disk.as_ref().ok().map(|disk| boot(&file, disk)).transpose().at("reading", &path)?;
    let found = boot.map(|boot| InstalledDisk { path: path.clone(), boot });
    let root = disk.as_ref().ok().and_then(|disk| place(disk, &ROOTS));
    let Some(root) = root.filter(|root| matches!(filesystem::at(&file, root), Ok(Some(SQUASHFS)))) else {
        return Ok(Installed { tree: read(&Source { path: &path, ..*source })?, disk: found });
    };
    let own = source.spool.join("root.squashfs");
    sparse::cut(&file, root.offset..root.offset + root.length, &own)
        .at("reading the root file system of", source.path)?;
    let mut tree = squashfs::read(&Source { path: &own, ..*source })?;
    // The tree's bytes are in a tar of its own by now.
    fs::remove_file(&own).at("removing", &own)?;
    if let Some(var) = disk.ok().and_then(|disk| place(&disk, &[kind::VAR])) {
        let mut var = Volume::open(&path, var, source)?.tree_with(Some(OVERLAYS))?;
        // The file system's own, not the image's.
        var.remove(LOST_AND_FOUND);
        tree.entries
            .extend(var.entries.into_iter().map(|(path, entry)| (format!("var/{path}"), entry)));
    }
    tree.complete();
    archive::check_root(&tree, source.title)?;
    Ok(Installed { tree, disk: found })
}

/// Where the partitions begin that firmware may start. Many take any partition with FAT.
fn boot(file: &File, disk: &Disk) -> io::Result<Vec<u64>> {
    let mut found = Vec::new();
    for partition in &disk.table.partitions {
        let place = place_of(disk, partition);
        if partition.kind.eq_ignore_ascii_case(kind::ESP) || filesystem::at(file, &place)? == Some(FAT) {
            found.push(place.offset);
        }
    }
    Ok(found)
}

/// The first partition of one of these types.
fn place(disk: &Disk, kinds: &[&str]) -> Option<Place> {
    let found = disk
        .table
        .partitions
        .iter()
        .find(|found| kinds.contains(&found.kind.to_ascii_lowercase().as_str()))?;
    Some(place_of(disk, found))
}

pub(super) fn place_of(disk: &Disk, partition: &Partition) -> Place {
    Place {
        number: partition.number,
        offset: partition.first * disk.sector,
        length: (partition.last - partition.first + 1) * disk.sector,
    }
}
