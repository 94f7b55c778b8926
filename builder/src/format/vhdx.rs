//! A dynamic VHDX ([MS-VHDX] "Virtual Hard Disk v2 (VHDX) File Format"):
//!
//! ```text
//! 0 identifier │ 64 K, 128 K headers │ 192 K, 256 K region tables │ 1 MiB log │ 2 MiB metadata
//! 3 MiB block allocation table │ blocks with data
//! ```
//!
//! All numbers are little-endian. The log is empty: nothing was interrupted.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use uuid::{Uuid, uuid};

use crate::format::resized::Resized;
use crate::size::MIB;

/// Bytes of a block: what Microsoft recommends for Linux, whose file systems touch many of them.
const BLOCK: u64 = MIB;

/// The longest disk that the format describes: 64 TiB.
pub const LONGEST: u64 = 64 << 40;

const KIB_64: usize = 64 << 10;
const HEADERS: [u64; 2] = [64 << 10, 128 << 10];
const REGION_TABLES: [u64; 2] = [192 << 10, 256 << 10];
const LOG: u64 = MIB;
const LOG_LENGTH: u32 = 1 << 20;
const METADATA: u64 = 2 * MIB;
const ALLOCATION: u64 = 3 * MIB;

const LOGICAL_SECTOR: u32 = 512;
const PHYSICAL_SECTOR: u32 = 4096;

/// Blocks after which the table has an entry for a bitmap that only disks with a parent use.
const CHUNK: u64 = (1 << 23) * LOGICAL_SECTOR as u64 / BLOCK;

/// States of a block.
const ZERO: u64 = 2;
const PRESENT: u64 = 6;

const ALLOCATION_REGION: Uuid = uuid!("2dc27766-f623-4200-9d64-115e9bfd4a08");
const METADATA_REGION: Uuid = uuid!("8b7ca206-4790-4b9a-b8fe-575f050f886e");

/// Items of the metadata.
mod item {
    use super::{Uuid, uuid};

    pub const FILE_PARAMETERS: Uuid = uuid!("caa16737-fa36-4d43-b3b6-33f0aa44e76b");
    pub const SIZE: Uuid = uuid!("2fa54224-cd1b-4876-b211-5dbed83bf4b8");
    pub const DISK_ID: Uuid = uuid!("beca12ab-b2e6-4523-93ef-c309e000c746");
    pub const LOGICAL_SECTOR: Uuid = uuid!("8141bf1d-a96f-4709-ba47-f233a8faab5f");
    pub const PHYSICAL_SECTOR: Uuid = uuid!("cda348c7-445d-4471-9cc9-e9885251c556");

    /// Flags: it is about the disk and not the file; readers must know it.
    pub const OF_DISK: u32 = 2;
    pub const REQUIRED: u32 = 4;
}

/// Identifiers of a file.
#[derive(Debug, Clone, Copy)]
pub struct Ids {
    /// Changes with each opening of the file.
    pub file: Uuid,
    /// Changes with the content.
    pub data: Uuid,
    /// The disk's own, for its guest (SCSI page 83).
    pub disk: Uuid,
}

/// Writes `disk`, which is whole MiB long, into an empty file.
pub fn write(disk: &Resized, ids: Ids, to: &File) -> io::Result<()> {
    let mut identifier = b"vhdxfile".to_vec();
    identifier.extend("kiln".encode_utf16().flat_map(u16::to_le_bytes));
    to.write_all_at(&identifier, 0)?;
    // The header with the higher number counts.
    for (number, place) in (0_u64..).zip(HEADERS) {
        to.write_all_at(&header(number, ids), place)?;
    }
    let blocks = disk.size / BLOCK;
    let entries = blocks + (blocks - 1) / CHUNK;
    let allocation_length = (entries * 8).next_multiple_of(MIB);
    let regions = regions(u32::try_from(allocation_length).map_err(io::Error::other)?);
    for place in REGION_TABLES {
        to.write_all_at(&regions, place)?;
    }
    to.write_all_at(&metadata(disk.size, ids.disk), METADATA)?;

    let mut table = vec![0_u64; entries as usize];
    (0..blocks).for_each(|block| table[entry_of(block)] = ZERO);
    let mut place = ALLOCATION + allocation_length;
    let mut bytes = vec![0; BLOCK as usize];
    let mut next = 0;
    for run in disk.data()? {
        for block in (run.start / BLOCK).max(next)..run.end.div_ceil(BLOCK) {
            disk.read_at(&mut bytes, block * BLOCK)?;
            to.write_all_at(&bytes, place)?;
            // Places are whole MiB, so the state fits below.
            table[entry_of(block)] = place | PRESENT;
            place += BLOCK;
            next = block + 1;
        }
    }
    let table: Vec<u8> = table.into_iter().flat_map(u64::to_le_bytes).collect();
    to.write_all_at(&table, ALLOCATION)?;
    to.set_len(place)
}

/// The place of a block in the table.
fn entry_of(block: u64) -> usize {
    (block + block / CHUNK) as usize
}

fn header(number: u64, ids: Ids) -> Vec<u8> {
    let mut bytes = b"head\0\0\0\0".to_vec();
    let mut put = |part: &[u8]| bytes.extend_from_slice(part);
    put(&number.to_le_bytes());
    put(&ids.file.to_bytes_le());
    put(&ids.data.to_bytes_le());
    put(&[0; 16]); // The log is empty.
    put(&0_u16.to_le_bytes()); // Version of the log,
    put(&1_u16.to_le_bytes()); // of the format.
    put(&LOG_LENGTH.to_le_bytes());
    put(&LOG.to_le_bytes());
    checked(bytes, 4096)
}

fn regions(allocation_length: u32) -> Vec<u8> {
    let regions =
        [(ALLOCATION_REGION, ALLOCATION, allocation_length), (METADATA_REGION, METADATA, MIB as u32)];
    let mut bytes = b"regi\0\0\0\0".to_vec();
    bytes.extend((regions.len() as u64).to_le_bytes());
    for (kind, place, length) in regions {
        bytes.extend(kind.to_bytes_le());
        bytes.extend(place.to_le_bytes());
        bytes.extend(length.to_le_bytes());
        bytes.extend(1_u32.to_le_bytes()); // Required.
    }
    checked(bytes, KIB_64)
}

fn metadata(size: u64, disk: Uuid) -> Vec<u8> {
    let of_disk = item::OF_DISK | item::REQUIRED;
    // The second half of the parameters says: blocks can be moved, there is no parent.
    let items = [
        (item::FILE_PARAMETERS, BLOCK.to_le_bytes().to_vec(), item::REQUIRED),
        (item::SIZE, size.to_le_bytes().to_vec(), of_disk),
        (item::DISK_ID, disk.to_bytes_le().to_vec(), of_disk),
        (item::LOGICAL_SECTOR, LOGICAL_SECTOR.to_le_bytes().to_vec(), of_disk),
        (item::PHYSICAL_SECTOR, PHYSICAL_SECTOR.to_le_bytes().to_vec(), of_disk),
    ];
    let mut table = b"metadata\0\0".to_vec();
    table.extend((items.len() as u16).to_le_bytes());
    table.resize(32, 0);
    let mut values = Vec::new();
    for (id, value, flags) in items {
        table.extend(id.to_bytes_le());
        table.extend(((KIB_64 + values.len()) as u32).to_le_bytes());
        table.extend((value.len() as u32).to_le_bytes());
        table.extend(flags.to_le_bytes());
        table.extend([0; 4]);
        values.extend(value);
    }
    table.resize(KIB_64, 0);
    table.extend(values);
    table
}

/// Fills up to `length` and puts the checksum into its place.
fn checked(mut bytes: Vec<u8>, length: usize) -> Vec<u8> {
    bytes.resize(length, 0);
    let sum = crc32c(&bytes);
    bytes[4..8].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// CRC-32C (RFC 3720, appendix B.4). Bit by bit is fast enough for 64 KiB.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(
            crc ^ u32::from(*byte),
            |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 },
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_the_standard() {
        // RFC 3720, B.4: 32 bytes of zeros, of ones, and the digits of other catalogs.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn entries_of_bitmaps_lie_between_those_of_blocks() {
        assert_eq!((entry_of(0), entry_of(4095), entry_of(4096), entry_of(8192)), (0, 4095, 4097, 8194));
    }
}
