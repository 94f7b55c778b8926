//! The partition table: GPT with a protective MBR (UEFI 2.10, chapter 5), types and flags of the Discoverable
//! Partitions Specification.

use std::fs::File;

use gptman::{GPT, GPTPartitionEntry};
use serde::{Serialize, Serializer};
use uuid::Uuid;

use crate::error::{Error, ErrorKind, Result};
use crate::size::MIB;

/// Flags of the Discoverable Partitions Specification, "Partition Flags".
pub mod flag {
    /// The file system grows to its partition when it is mounted.
    pub const GROW_FILE_SYSTEM: u64 = 1 << 59;
    /// Mounted read-only.
    pub const READ_ONLY: u64 = 1 << 60;
    /// Left alone by everything that finds partitions by type.
    pub const NO_AUTO: u64 = 1 << 63;
}

/// A partition before it has a place.
#[derive(Debug, Clone)]
pub struct Request {
    /// Name in the table.
    pub label: &'static str,
    /// Type, as in [`contract::partition_type`].
    pub kind: &'static str,
    /// Identifier of this partition.
    pub guid: Uuid,
    /// Bytes needed; rounded up to whole MiB.
    pub size: u64,
    /// Attribute bits: [`flag`].
    pub flags: u64,
}

/// A partition in its place. Everything in bytes.
#[derive(Debug, Clone, Serialize)]
pub struct Partition {
    pub number: u32,
    /// Name in the table.
    pub label: &'static str,
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Identifier of this partition (PARTUUID).
    pub guid: Uuid,
    /// First byte; whole MiB.
    pub offset: u64,
    /// Length; whole MiB.
    pub size: u64,
    /// Attribute bits; in JSON as hexadecimal text, because many readers lose the upper bits of a number.
    #[serde(serialize_with = "as_hex")]
    pub flags: u64,
}

/// A partitioned disk.
#[derive(Debug, Clone, Serialize)]
pub struct Layout {
    /// Identifier of the disk.
    pub guid: Uuid,
    /// Bytes in a sector.
    #[serde(rename = "sectorSize")]
    pub sector_size: u64,
    /// Length of the disk in bytes: the partitions and one MiB on each side for the tables.
    pub size: u64,
    /// In the order on the disk.
    pub partitions: Vec<Partition>,
}

impl Layout {
    /// Gives each request the next free place, aligned to 1 MiB.
    pub fn new(guid: Uuid, sector_size: u64, requests: Vec<Request>) -> Self {
        let mut offset = MIB;
        let mut partitions = Vec::with_capacity(requests.len());
        for (number, Request { label, kind, guid, size, flags }) in (1..).zip(requests) {
            let size = size.next_multiple_of(MIB);
            partitions.push(Partition { number, label, kind, guid, offset, size, flags });
            offset += size;
        }
        Self { guid, sector_size, size: offset + MIB, partitions }
    }

    /// The partition with this label.
    pub fn get(&self, label: &str) -> Option<&Partition> {
        self.partitions.iter().find(|partition| partition.label == label)
    }

    /// Writes both tables and the protective MBR into `file`, which has the disk's length.
    ///
    /// # Errors
    /// When the file cannot be written, or two partitions have one identifier.
    pub fn write(&self, file: &mut File) -> Result<()> {
        let failed = |error: gptman::Error| match error {
            gptman::Error::Io(error) => {
                Error::new(ErrorKind::Io, format!("writing the partition table: {error}"))
            }
            other => Error::new(ErrorKind::Internal, format!("writing the partition table: {other}")),
        };
        let mut table = GPT::new_from(file, self.sector_size, self.guid.to_bytes_le()).map_err(failed)?;
        for partition in &self.partitions {
            table[partition.number] = entry(partition, self.sector_size)?;
        }
        table.write_into(file).map_err(failed)?;
        GPT::write_protective_mbr_into(file, self.sector_size).map_err(failed)
    }
}

fn entry(partition: &Partition, sector: u64) -> Result<GPTPartitionEntry> {
    let kind = Uuid::parse_str(partition.kind).map_err(|error| {
        Error::new(ErrorKind::Internal, format!("partition type {}: {error}", partition.kind))
    })?;
    Ok(GPTPartitionEntry {
        partition_type_guid: kind.to_bytes_le(),
        unique_partition_guid: partition.guid.to_bytes_le(),
        starting_lba: partition.offset / sector,
        ending_lba: (partition.offset + partition.size) / sector - 1,
        attribute_bits: partition.flags,
        partition_name: partition.label.into(),
    })
}

fn as_hex<S: Serializer>(flags: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format!("{flags:#018x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_aligned_and_never_overlap() {
        let request = |label, size| Request { label, kind: "", guid: Uuid::nil(), size, flags: 0 };
        let layout =
            Layout::new(Uuid::nil(), 512, vec![request("a", 1), request("b", MIB), request("c", MIB + 1)]);
        let places: Vec<_> = layout
            .partitions
            .iter()
            .map(|part| (part.number, part.offset / MIB, part.size / MIB))
            .collect();
        assert_eq!(places, [(1, 1, 1), (2, 2, 1), (3, 3, 2)]);
        assert_eq!(layout.size, 6 * MIB);
    }
}
