//! The volume entry in the root folder of a FAT file system: the label that Windows and blkid show.

use super::{ReadAt, text};

/// What a file system without a label has in its place.
pub(super) const NO_NAME: &str = "NO NAME";
/// Bytes of one entry of a folder.
const ENTRY: usize = 32;
/// Most clusters of a root folder that are looked through, as in blkid.
const CLUSTERS: usize = 100;
/// Most bytes of them together.
const LONGEST: usize = 1 << 20;
/// Attributes of an entry: a label, a folder, and all that make a part of a long name.
const LABEL: u8 = 0x08;
const FOLDER: u8 = 0x10;
const LONG_NAME: u8 = 0x0f;
const MASK: u8 = 0x3f;

/// The geometry that the boot sector names.
struct Geometry {
    /// Bytes of a cluster.
    cluster: usize,
    /// Offset of the first table.
    table: u64,
    /// Offset of what follows the tables: the root folder, or the first cluster of FAT32.
    behind_tables: u64,
    /// Bytes of the root folder; zero on FAT32, where it is a chain of clusters.
    root_length: usize,
    /// The first cluster of the root folder of FAT32.
    root_cluster: u32,
}

/// The label in the root folder of the file system that begins with `head`.
pub(super) fn volume_entry(head: &[u8], read_at: ReadAt) -> Option<String> {
    let geometry = geometry(head)?;
    if geometry.root_length > 0 {
        return label(&read_at(geometry.behind_tables, geometry.root_length)).ok()?;
    }
    let mut cluster = geometry.root_cluster;
    for _ in 0..CLUSTERS.min(LONGEST / geometry.cluster) {
        // The last entries of the table are marks for the end of a chain and for bad clusters.
        let number = u64::from(cluster.checked_sub(2).filter(|_| cluster < 0x0fff_fff0)?);
        let bytes = read_at(geometry.behind_tables + number * geometry.cluster as u64, geometry.cluster);
        match label(&bytes) {
            Ok(found) => return found,
            Err(GoesOn) => {
                let next = read_at(geometry.table + u64::from(cluster) * 4, 4);
                cluster = u32::from_le_bytes(next.try_into().ok()?) & 0x0fff_ffff;
            }
        }
    }
    None
}

fn geometry(head: &[u8]) -> Option<Geometry> {
    let byte = |at: usize| head.get(at).map(|byte| usize::from(*byte));
    let short = |at: usize| Some(usize::from(u16::from_le_bytes(head.get(at..at + 2)?.try_into().ok()?)));
    let long = |at: usize| Some(u32::from_le_bytes(head.get(at..at + 4)?.try_into().ok()?));
    let (sector, cluster) = (short(11)?, byte(13)?);
    if !sector.is_power_of_two() || !(512..=4096).contains(&sector) || !cluster.is_power_of_two() {
        return None;
    }
    let table_length = match short(22)? {
        0 => u64::from(long(36)?),
        length => length as u64,
    };
    let (table, tables) = (short(14)? as u64 * sector as u64, byte(16)? as u64);
    Some(Geometry {
        cluster: sector * cluster,
        table,
        behind_tables: table + tables * table_length * sector as u64,
        root_length: short(17)? * ENTRY,
        root_cluster: long(44)?,
    })
}

/// The entries say nothing of a label, and more may follow.
struct GoesOn;

/// The label among the entries of a folder; none when they end without one.
fn label(entries: &[u8]) -> Result<Option<String>, GoesOn> {
    for entry in entries.chunks_exact(ENTRY) {
        let attributes = entry[11] & MASK;
        match entry[0] {
            0 => return Ok(None),
            0xe5 => {}
            _ if attributes == LONG_NAME || attributes & (LABEL | FOLDER) != LABEL => {}
            _ => return Ok(Some(text(&entry[..11]))),
        }
    }
    if entries.len() < ENTRY { Ok(None) } else { Err(GoesOn) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::labels::{self, FileSystem};

    fn entry(name: &[u8; 11], attributes: u8) -> Vec<u8> {
        [&name[..], &[attributes], &[0; 20]].concat()
    }

    fn put(device: &mut [u8], parts: &[(usize, &[u8])]) {
        parts.iter().for_each(|(at, bytes)| device[*at..at + bytes.len()].copy_from_slice(bytes));
    }

    fn labels_of(device: &[u8]) -> Vec<String> {
        let read = |at: u64, length: usize| device.iter().skip(at as usize).take(length).copied().collect();
        let (kind, labels) = labels::read(&read).unwrap();
        assert_eq!(kind, FileSystem::Vfat);
        labels
    }

    /// FAT16: two tables of one sector behind one sector, then 16 entries.
    fn fat16(boot: &[u8; 11], entries: &[Vec<u8>]) -> Vec<u8> {
        let mut device = vec![0; 8192];
        put(&mut device, &[(11, b"\x00\x02\x01\x01\x00\x02\x10\x00"), (22, b"\x01\x00"), (38, b"\x29")]);
        put(&mut device, &[(43, boot), (54, b"FAT16   "), (510, b"\x55\xaa"), (1536, &entries.concat())]);
        device
    }

    #[test]
    fn the_root_folder_has_the_label_that_windows_gave() {
        let other = entry(b"USER-DA    ", 0x20);
        let deleted = entry(b"\xe5LD        ", LABEL);
        let long = entry(b"Ac.i.d.a.t.", LONG_NAME);
        let folder = entry(b"CONFIG-2   ", LABEL | FOLDER);
        let label = entry(b"CIDATA     ", LABEL);
        let all = [other.clone(), deleted, long, folder, label.clone()];
        assert_eq!(labels_of(&fat16(b"NO NAME    ", &all)), ["CIDATA"]);
        assert_eq!(labels_of(&fat16(b"CIDATA     ", &all)), ["CIDATA"]);
        assert_eq!(labels_of(&fat16(b"OLD        ", &all)), ["CIDATA", "OLD"]);
        let behind_the_end = [other, vec![0; ENTRY], label];
        assert!(labels_of(&fat16(b"NO NAME    ", &behind_the_end)).is_empty());
    }

    /// FAT32 with clusters of one sector: the root folder begins in cluster 2, its label is in cluster 5.
    fn fat32(next: u32) -> Vec<u8> {
        let mut device = vec![0; 16384];
        put(
            &mut device,
            &[
                (11, b"\x00\x02\x01\x01\x00\x01"),
                (36, b"\x01\x00\x00\x00"),
                (44, b"\x02\x00\x00\x00"),
                (66, b"\x29"),
            ],
        );
        put(&mut device, &[(71, b"NO NAME    FAT32   "), (510, b"\x55\xaa")]);
        put(&mut device, &[(512 + 8, &next.to_le_bytes()), (1024, &entry(b"A          ", 0x20).repeat(16))]);
        put(&mut device, &[(1024 + 3 * 512, &entry(b"config-2   ", LABEL))]);
        device
    }

    #[test]
    fn a_chain_of_clusters_is_followed_and_ends() {
        assert_eq!(labels_of(&fat32(5)), ["config-2"]);
        for next in [0, 1, 2, 0x0fff_fff8, 0x0fff_fff7, 100] {
            assert!(labels_of(&fat32(next)).is_empty(), "{next:x}");
        }
    }
}
