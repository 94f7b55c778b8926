//! FAT32, written once from front to back: folders, then each file in one run of clusters.
//!
//! Source of the format: Microsoft, "FAT: General Overview of On-Disk Format", 1.03. The `fatfs` crate (0.3)
//! gives `.` and `..` long names and lets `..` point at the root's cluster, which fsck.vfat rightly calls an
//! error.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::determinism::Calendar;
use crate::format::fat_names::{self, ENTRY, Slot};
use crate::tree::Body;

/// Bytes of the boot sector and of FSInfo that are used, whatever a sector has.
const HEAD: usize = 512;
/// Sectors before the first table: boot sector, FSInfo, and their copies at 6 and 7.
const RESERVED: u64 = 32;
/// Fewer clusters would make it FAT16; 16 more than the limit because some readers count wrongly ("FAT Type
/// Determination").
const LEAST_CLUSTERS: u64 = 65_525 + 16;
/// Bytes.
const LARGEST_CLUSTER: u64 = 4096;
/// The first cluster that holds data: the root folder.
const FIRST_CLUSTER: u32 = 2;
/// Last cluster of a chain.
const END_OF_CHAIN: u32 = 0x0fff_ffff;
/// 1980-01-01 and 2107-12-31, the days between which FAT has dates, in seconds since 1970.
const DATES: (u64, u64) = (315_532_800, 4_354_819_199);

/// A file on the volume.
#[derive(Debug, Clone)]
pub struct Item {
    /// Path from the root, `/` between components.
    pub path: String,
    pub body: Body,
}

/// An empty volume.
#[derive(Debug, Clone, Copy)]
pub struct Volume {
    /// First byte in the file that holds it.
    pub offset: u64,
    pub size: u64,
    /// Bytes in a sector: 512 or 4096.
    pub sector: u64,
    pub id: u32,
    /// Label, filled up with spaces.
    pub label: [u8; 11],
    /// The time of all files, seconds since 1970.
    pub epoch: u64,
}

/// Sizes that follow from the volume's length.
#[derive(Debug, Clone, Copy)]
struct Geometry {
    cluster: u64,
    table_sectors: u64,
    clusters: u64,
}

/// A folder or file with its place.
struct Node<'a> {
    body: Option<&'a Body>,
    first: u32,
    clusters: u64,
}

impl Volume {
    /// The smallest volume in bytes, with sectors of 512 bytes.
    pub const MINIMUM: u64 = 33 << 20;

    /// The smallest volume in bytes, with sectors of `sector` bytes.
    pub const fn minimum(sector: u64) -> u64 {
        Self::MINIMUM * (sector / 512)
    }

    /// Bytes that `items` need, of those that [`Volume::capacity`] counts.
    pub fn needed(&self, items: &[Item]) -> Option<u64> {
        let geometry = self.geometry()?;
        Some(plan(items, &geometry).values().map(|node| node.clusters * geometry.cluster).sum())
    }

    /// Bytes for folders and files; `None` when the volume is too small for FAT32.
    pub fn capacity(&self) -> Option<u64> {
        self.geometry().map(|geometry| geometry.clusters * geometry.cluster)
    }

    /// Writes the volume with `items` into `file`, which holds zeros there.
    ///
    /// # Errors
    /// When the items do not fit, a name cannot be on FAT, or writing fails.
    pub fn write(&self, file: &File, items: &[Item]) -> io::Result<()> {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let geometry = self.geometry().ok_or_else(full)?;
        let nodes = plan(items, &geometry);
        let used: u64 = nodes.values().map(|node| node.clusters).sum();
        let free = geometry.clusters.checked_sub(used).ok_or_else(full)?;
        self.write_heads(file, &geometry, used, free)?;
        self.write_tables(file, &geometry, &nodes)?;
        for (path, node) in &nodes {
            let at = self.data(&geometry) + u64::from(node.first - FIRST_CLUSTER) * geometry.cluster;
            match node.body {
                Some(body) => copy(body, file, at)?,
                None => file.write_all_at(&self.folder(path, &nodes)?, at)?,
            }
        }
        Ok(())
    }

    /// The largest cluster of up to 4 KiB that still makes it FAT32.
    fn geometry(&self) -> Option<Geometry> {
        let sectors = self.size / self.sector;
        let most = LARGEST_CLUSTER / self.sector;
        [8, 4, 2, 1]
            .into_iter()
            .filter(|per_cluster| *per_cluster <= most)
            .find_map(|per_cluster| {
                let data = sectors.checked_sub(RESERVED)?;
                let table_sectors = ((data / per_cluster + 2) * 4).div_ceil(self.sector);
                let clusters = data.checked_sub(2 * table_sectors)? / per_cluster;
                (clusters >= LEAST_CLUSTERS).then_some(Geometry {
                    cluster: per_cluster * self.sector,
                    table_sectors,
                    clusters,
                })
            })
    }

    fn data(&self, geometry: &Geometry) -> u64 {
        self.offset + (RESERVED + 2 * geometry.table_sectors) * self.sector
    }

    /// Boot sector and FSInfo sector, each twice.
    fn write_heads(&self, file: &File, geometry: &Geometry, used: u64, free: u64) -> io::Result<()> {
        let boot = self.boot_sector(geometry);
        let mut info = [0; HEAD];
        info[..4].copy_from_slice(b"RRaA");
        info[484..488].copy_from_slice(b"rrAa");
        info[488..492].copy_from_slice(&(free as u32).to_le_bytes());
        info[492..496].copy_from_slice(&(FIRST_CLUSTER + used as u32).to_le_bytes());
        info[510..].copy_from_slice(&[0x55, 0xaa]);
        for (sector, bytes) in [(0, &boot), (1, &info), (6, &boot), (7, &info)] {
            file.write_all_at(bytes, self.offset + sector * self.sector)?;
        }
        Ok(())
    }

    fn boot_sector(&self, geometry: &Geometry) -> [u8; HEAD] {
        let mut boot = [0; HEAD];
        let mut put = |at: usize, bytes: &[u8]| boot[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &[0xeb, 0x58, 0x90]);
        put(3, b"MSWIN4.1");
        put(11, &(self.sector as u16).to_le_bytes());
        put(13, &[(geometry.cluster / self.sector) as u8]);
        put(14, &(RESERVED as u16).to_le_bytes());
        put(16, &[2]); // tables
        put(21, &[0xf8]); // a fixed disk
        put(24, &32_u16.to_le_bytes()); // sectors of a track and heads: nobody asks
        put(26, &64_u16.to_le_bytes());
        put(28, &((self.offset / self.sector) as u32).to_le_bytes());
        put(32, &((self.size / self.sector) as u32).to_le_bytes());
        put(36, &(geometry.table_sectors as u32).to_le_bytes());
        put(44, &FIRST_CLUSTER.to_le_bytes());
        put(48, &1_u16.to_le_bytes()); // FSInfo
        put(50, &6_u16.to_le_bytes()); // copy of this sector
        put(64, &[0x80, 0, 0x29]);
        put(67, &self.id.to_le_bytes());
        put(71, &self.label);
        put(82, b"FAT32   ");
        put(90, &[0xeb, 0xfe]); // a BIOS that starts it stands still
        put(510, &[0x55, 0xaa]);
        boot
    }

    fn write_tables(
        &self,
        file: &File,
        geometry: &Geometry,
        nodes: &BTreeMap<String, Node<'_>>,
    ) -> io::Result<()> {
        let mut table = vec![0x0fff_fff8, END_OF_CHAIN];
        let mut runs: Vec<_> = nodes.values().filter(|node| node.clusters > 0).collect();
        runs.sort_by_key(|node| node.first);
        for node in runs {
            let last = node.first + node.clusters as u32 - 1;
            table.extend(node.first + 1..=last);
            table.push(END_OF_CHAIN);
        }
        let bytes: Vec<u8> = table.iter().flat_map(|next: &u32| next.to_le_bytes()).collect();
        for copy in 0..2 {
            file.write_all_at(
                &bytes,
                self.offset + (RESERVED + copy * geometry.table_sectors) * self.sector,
            )?;
        }
        Ok(())
    }

    /// The content of the folder `path`.
    fn folder(&self, path: &str, nodes: &BTreeMap<String, Node<'_>>) -> io::Result<Vec<u8>> {
        let moment = Calendar::at(self.epoch.clamp(DATES.0, DATES.1));
        let slot = |node: &Node<'_>| Slot {
            folder: node.body.is_none(),
            first: if node.clusters == 0 { 0 } else { node.first },
            length: node.body.map_or(0, Body::len) as u32,
            moment,
        };
        let mut bytes = Vec::new();
        if path.is_empty() {
            bytes.extend(fat_names::label(self.label, moment));
        } else {
            let parent = path.rsplit_once('/').map_or(0, |(parent, _)| nodes[parent].first);
            bytes.extend(slot(&nodes[path]).short(*b".          "));
            bytes.extend(Slot { first: parent, ..slot(&nodes[path]) }.short(*b"..         "));
        }
        for (number, (name, node)) in (1..).zip(children(path, nodes)) {
            bytes.extend(slot(node).named(name, number)?);
        }
        Ok(bytes)
    }
}

/// Everything on the volume by path, the root as "", with its clusters: folders first, then files in their
/// order.
fn plan<'a>(items: &'a [Item], geometry: &Geometry) -> BTreeMap<String, Node<'a>> {
    let mut nodes = BTreeMap::from([(String::new(), Node { body: None, first: 0, clusters: 0 })]);
    for item in items {
        for (slash, _) in item.path.match_indices('/') {
            nodes
                .entry(item.path[..slash].to_owned())
                .or_insert(Node { body: None, first: 0, clusters: 0 });
        }
        nodes.insert(item.path.clone(), Node { body: Some(&item.body), first: 0, clusters: 0 });
    }
    let folders: Vec<_> = nodes
        .iter()
        .filter(|(_, node)| node.body.is_none())
        .map(|(path, _)| path.clone())
        .collect();
    let mut next = FIRST_CLUSTER;
    let mut place = |path: &str, length: u64, nodes: &mut BTreeMap<String, Node<'a>>| {
        let node = nodes.get_mut(path).expect("every path was just inserted");
        (node.first, node.clusters) = (next, length.div_ceil(geometry.cluster));
        next = next.saturating_add(u32::try_from(node.clusters).unwrap_or(u32::MAX));
    };
    for path in folders {
        let slots: usize = children(&path, &nodes).map(|(name, _)| fat_names::slots(name)).sum();
        place(&path, ((slots + 2) * ENTRY) as u64, &mut nodes);
    }
    for item in items {
        place(&item.path, item.body.len(), &mut nodes);
    }
    nodes
}

/// Names and nodes directly in the folder `path`.
fn children<'a, 'b>(
    path: &'b str,
    nodes: &'a BTreeMap<String, Node<'b>>,
) -> impl Iterator<Item = (&'a str, &'a Node<'b>)> {
    nodes.iter().filter(|(child, _)| !child.is_empty()).filter_map(move |(child, node)| {
        let (parent, name) = child.rsplit_once('/').unwrap_or(("", child));
        (parent == path).then_some((name, node))
    })
}

fn copy(body: &Body, file: &File, mut at: u64) -> io::Result<()> {
    let mut from = body.open()?;
    let mut buffer = vec![0; 1 << 18];
    let mut left = body.len();
    while left > 0 {
        let count = from.read(&mut buffer)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        file.write_all_at(&buffer[..count], at)?;
        at += count as u64;
        left = left.saturating_sub(count as u64);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(size: u64) -> Volume {
        Volume { offset: 0, size, sector: 512, id: 1, label: *b"TEST       ", epoch: 0 }
    }

    #[test]
    fn clusters_are_as_large_as_fat32_allows() {
        let cluster = |mebibytes: u64| volume(mebibytes << 20).geometry().map(|geometry| geometry.cluster);
        assert_eq!(
            [32, 33, 64, 128, 256, 512].map(cluster),
            [None, Some(512), Some(512), Some(1024), Some(2048), Some(4096)]
        );
        assert!(volume(Volume::MINIMUM).capacity().is_some());
    }

    #[test]
    fn what_does_not_fit_is_refused_before_a_byte_is_written() {
        let file = tempfile::tempfile().unwrap();
        let volume = volume(Volume::MINIMUM);
        let body = Body::Slice { file: std::path::Path::new("/nowhere").into(), offset: 0, len: 40 << 20 };
        let items = [Item { path: "a/b".to_owned(), body }];
        assert!(volume.needed(&items).unwrap() > volume.capacity().unwrap());
        assert_eq!(volume.write(&file, &items).unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(file.metadata().unwrap().len(), 0);
    }

    #[test]
    fn a_folder_of_many_clusters_is_counted() {
        let items: Vec<_> = (0..40)
            .map(|n| Item { path: format!("folder/a long name {n}.txt"), body: Body::inline(*b"x") })
            .collect();
        let geometry = volume(64 << 20).geometry().unwrap();
        let nodes = plan(&items, &geometry);
        assert_eq!(nodes["folder"].clusters, (40_u64 * 3 + 2).div_ceil(512 / 32));
        assert_eq!(nodes["folder/a long name 0.txt"].first, 2 + 1 + nodes["folder"].clusters as u32);
    }
}
