//! GUID partition tables (UEFI specification 2.10, §5.3): reads untrusted tables, and writes a new one if the
//! disk has grown.
//!
//! ```text
//! LBA 0           protective MBR
//! LBA 1           primary header      ┐ each names the place of the other
//! LBA 2…          primary entries     │ and carries a CRC of itself
//!                 partitions          │ and of its entries
//! …last-1         backup entries      │
//! last            backup header       ┘
//! ```

use std::io::{Read, Seek, SeekFrom};

/// Bytes in a sector of nearly all disks, and of what hypervisors and clouds show.
pub const SECTOR: u64 = 512;

/// Bytes in a sector of disks of the kind "4K native".
pub const LARGE_SECTOR: u64 = 4096;

/// The size limit of the entries: 4096 partitions of the usual size. The usual table has 128.
const MOST_ENTRY_BYTES: u64 = 512 * 1024;

/// The size of the header's defined part, in bytes.
const HEADER_LEN: usize = 92;

/// The alignment of a partition's end, in bytes.
const ALIGNMENT: u64 = 1024 * 1024;

/// The two copies of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The copy at the start of the disk.
    Primary,
    /// The copy at the end, used if the primary is damaged.
    Backup,
}

/// A valid table.
#[derive(Debug, Clone)]
pub struct Table {
    /// The copy that was read.
    pub side: Side,
    /// The partitions, sorted by number.
    pub partitions: Vec<Partition>,
    /// Whether LBA 0 lacks the protective MBR. Without it the kernel ignores the table.
    unprotected: bool,
    /// Whether LBA 0 is as this module writes it, but for the disk's size. Boot code and other entries stay.
    plain_mbr: bool,
    /// Bytes per sector.
    sector: u64,
    header: Vec<u8>,
    entries: Vec<u8>,
    entry_len: usize,
    primary_entries: u64,
}

/// A partition in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// The number, from 1. The kernel's device name ends with it.
    pub number: u32,
    /// Type, lower case with dashes.
    pub kind: String,
    /// Unique identifier, lower case with dashes.
    pub id: String,
    /// First sector.
    pub first: u64,
    /// Last sector.
    pub last: u64,
}

/// Bytes to write, and their position on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// In bytes from the start of the disk.
    pub offset: u64,
    /// The bytes to write.
    pub bytes: Vec<u8>,
}

/// Reads the table of a disk with `sectors` sectors of `sector` bytes: the primary, or the backup if the
/// primary is damaged.
///
/// # Errors
/// Why there is no table, in words.
pub fn read(disk: &mut (impl Read + Seek), sector: u64, sectors: u64) -> Result<Table, String> {
    if !(sector.is_power_of_two() && (512..=65536).contains(&sector)) {
        return Err(format!("sectors of {sector} bytes are not supported"));
    }
    if sectors < 6 || sectors.checked_mul(sector).is_none() {
        return Err("too small for a partition table".to_owned());
    }
    let mbr = read_at(disk, 0, sector)?;
    let protected = is_protective(&mbr);
    if mbr[510..512] == [0x55, 0xaa] && !protected {
        return Err("partitioned the old way (MBR), or formatted as a whole".to_owned());
    }
    let table = read_side(disk, Side::Primary, sector, sectors).or_else(|primary| {
        read_side(disk, Side::Backup, sector, sectors).map_err(|backup| {
            if primary == backup {
                primary
            } else {
                format!("primary table: {primary}; backup table: {backup}")
            }
        })
    })?;
    Ok(Table { unprotected: !protected, plain_mbr: is_plain(&mbr), ..table })
}

fn is_plain(mbr: &[u8]) -> bool {
    let sectors = u64::from(u32_at(mbr, 458));
    mbr == protective_mbr(mbr.len() as u64, sectors + 1)
}

fn is_protective(mbr: &[u8]) -> bool {
    mbr[510..512] == [0x55, 0xaa] && (0..4).any(|slot| mbr[446 + 16 * slot + 4] == 0xee)
}

fn read_side(disk: &mut (impl Read + Seek), side: Side, sector: u64, sectors: u64) -> Result<Table, String> {
    let lba = if side == Side::Primary { 1 } else { sectors - 1 };
    let header = checked_header(read_at(disk, lba * sector, sector)?, lba)?;
    let (first_usable, last_usable, entries_lba) =
        (u64_at(&header, 40), u64_at(&header, 48), u64_at(&header, 72));
    let (count, entry_len) = (u64::from(u32_at(&header, 80)), u64::from(u32_at(&header, 84)));
    let entries_len = count * entry_len;
    if !(entry_len.is_power_of_two() && (128..=4096).contains(&entry_len))
        || entries_len > MOST_ENTRY_BYTES
        || count == 0
    {
        return Err(format!("{count} entries of {entry_len} bytes make no sense"));
    }
    let entries_sectors = entries_len.div_ceil(sector);
    let entries_fit =
        entries_lba >= 2 && entries_lba.checked_add(entries_sectors).is_some_and(|end| end <= sectors);
    if !entries_fit || first_usable < 2 || first_usable > last_usable || last_usable >= sectors {
        return Err("the table describes a larger disk, or is damaged".to_owned());
    }
    let mut entries = read_at(disk, entries_lba * sector, entries_sectors * sector)?;
    entries.truncate(usize_of(entries_len));
    if crc32(&entries) != u32_at(&header, 88) {
        return Err("wrong checksum of the entries".to_owned());
    }
    let entry_len = usize_of(entry_len);
    let partitions = partitions(&entries, entry_len, first_usable, last_usable)?;
    let primary_entries = if side == Side::Primary { entries_lba } else { 2 };
    if primary_entries + entries_sectors > first_usable {
        return Err("the entries overlap the partitions".to_owned());
    }
    Ok(Table {
        side,
        partitions,
        unprotected: false,
        plain_mbr: false,
        sector,
        header,
        entries,
        entry_len,
        primary_entries,
    })
}

fn checked_header(mut header: Vec<u8>, lba: u64) -> Result<Vec<u8>, String> {
    if !header.starts_with(b"EFI PART") {
        return Err("no GPT".to_owned());
    }
    let len = u32_at(&header, 12) as usize;
    if !(HEADER_LEN..=header.len()).contains(&len) {
        return Err("wrong length of the header".to_owned());
    }
    header.truncate(len);
    let expected = u32_at(&header, 16);
    if header_crc(&header) != expected {
        return Err("wrong checksum of the header".to_owned());
    }
    if u64_at(&header, 24) != lba {
        return Err("the header belongs elsewhere".to_owned());
    }
    Ok(header)
}

fn partitions(
    entries: &[u8],
    entry_len: usize,
    first_usable: u64,
    last_usable: u64,
) -> Result<Vec<Partition>, String> {
    let mut found = Vec::new();
    for (entry, number) in entries.chunks_exact(entry_len).zip(1u32..) {
        if entry[..16] == [0; 16] {
            continue;
        }
        let (first, last) = (u64_at(entry, 32), u64_at(entry, 40));
        if first > last || first < first_usable || last > last_usable {
            return Err(format!("partition {number} lies outside the disk"));
        }
        found.push(Partition { number, kind: guid(&entry[..16]), id: guid(&entry[16..32]), first, last });
    }
    Ok(found)
}

impl Table {
    /// A table of these partitions, for a disk with sectors of 512 bytes: for tests. [`Table::fit`] says the
    /// length of the disk.
    #[doc(hidden)]
    pub fn of(partitions: Vec<Partition>) -> Self {
        const COUNT: usize = 128;
        let mut entries = vec![0; COUNT * 128];
        for Partition { number, kind, id, first, last } in &partitions {
            let entry = &mut entries[(*number as usize - 1) * 128..][..128];
            entry[..16].copy_from_slice(&guid_bytes(kind).unwrap_or([1; 16]));
            entry[16..32].copy_from_slice(&guid_bytes(id).unwrap_or_default());
            entry[32..40].copy_from_slice(&first.to_le_bytes());
            entry[40..48].copy_from_slice(&last.to_le_bytes());
        }
        let mut header = vec![0; HEADER_LEN];
        header[..8].copy_from_slice(b"EFI PART");
        header[8..12].copy_from_slice(&0x10000_u32.to_le_bytes());
        header[12..16].copy_from_slice(&92_u32.to_le_bytes());
        header[40..48].copy_from_slice(&34_u64.to_le_bytes());
        header[80..84].copy_from_slice(&128_u32.to_le_bytes());
        header[84..88].copy_from_slice(&128_u32.to_le_bytes());
        Self {
            side: Side::Primary,
            partitions,
            unprotected: false,
            plain_mbr: true,
            sector: 512,
            header,
            entries,
            entry_len: 128,
            primary_entries: 2,
        }
    }

    /// Two partitions that share sectors, by number.
    pub fn overlap(&self) -> Option<(u32, u32)> {
        let mut by_place: Vec<&Partition> = self.partitions.iter().collect();
        by_place.sort_by_key(|partition| partition.first);
        let pair = by_place.windows(2).find(|pair| pair[1].first <= pair[0].last)?;
        Some((pair[0].number, pair[1].number))
    }

    /// The writes that restore a damaged primary table, in order. Empty if it is intact.
    pub fn repair(&self, sectors: u64) -> Vec<Write> {
        let mut writes = Vec::new();
        if self.side == Side::Backup {
            writes.extend(self.primary(sectors));
        }
        if self.unprotected {
            writes.push(Write { offset: 0, bytes: protective_mbr(self.sector, sectors) });
        }
        writes
    }

    /// Enlarges partition `number` to the end of the disk if it is the last one and at least 1 MiB is free
    /// after it. Returns its new last sector.
    pub fn enlarge(&mut self, number: u32, sectors: u64) -> Option<u64> {
        let last_usable = self.last_usable(sectors)?;
        let grain = (ALIGNMENT / self.sector).max(1);
        let new_last = ((last_usable + 1) / grain * grain).checked_sub(1)?;
        let this = self.partitions.iter().find(|partition| partition.number == number)?;
        let is_last = self.partitions.iter().all(|other| other.first <= this.first);
        if !is_last || new_last < this.last + grain {
            return None;
        }
        let at = self.entry_len * (number as usize - 1) + 40;
        self.entries[at..at + 8].copy_from_slice(&new_last.to_le_bytes());
        self.header[48..56].copy_from_slice(&last_usable.to_le_bytes());
        self.partitions
            .iter_mut()
            .filter(|partition| partition.number == number)
            .for_each(|partition| partition.last = new_last);
        Some(new_last)
    }

    /// Fits the table to a disk of this length; its partitions stay as they are. False if one does not
    /// fit.
    pub fn fit(&mut self, sectors: u64) -> bool {
        let Some(last_usable) = self.last_usable(sectors) else { return false };
        if self.partitions.iter().any(|partition| partition.last > last_usable) {
            return false;
        }
        self.header[48..56].copy_from_slice(&last_usable.to_le_bytes());
        true
    }

    /// The last sector before the backup table of a disk of this length.
    fn last_usable(&self, sectors: u64) -> Option<u64> {
        let entries_sectors = (self.entries.len() as u64).div_ceil(self.sector);
        sectors.checked_sub(entries_sectors + 2)
    }

    /// The writes of the primary table, entries first. While they are incomplete, the backup is the valid
    /// table.
    pub fn primary(&self, sectors: u64) -> Vec<Write> {
        self.side(1, sectors - 1, self.primary_entries)
    }

    /// The write that tells the disk's size to programs that look at LBA 0 too.
    pub fn protection(&self, sectors: u64) -> Option<Write> {
        self.plain_mbr.then(|| Write { offset: 0, bytes: protective_mbr(self.sector, sectors) })
    }

    /// The writes of the backup table at the end of the disk.
    pub fn backup(&self, sectors: u64) -> Vec<Write> {
        let entries_sectors = (self.entries.len() as u64).div_ceil(self.sector);
        self.side(sectors - 1, 1, sectors - 1 - entries_sectors)
    }

    fn side(&self, lba: u64, other: u64, entries_lba: u64) -> Vec<Write> {
        let mut header = self.header.clone();
        header[24..32].copy_from_slice(&lba.to_le_bytes());
        header[32..40].copy_from_slice(&other.to_le_bytes());
        header[72..80].copy_from_slice(&entries_lba.to_le_bytes());
        header[88..92].copy_from_slice(&crc32(&self.entries).to_le_bytes());
        let crc = header_crc(&header);
        header[16..20].copy_from_slice(&crc.to_le_bytes());
        header.resize(usize_of(self.sector), 0);
        vec![
            Write { offset: entries_lba * self.sector, bytes: self.entries.clone() },
            Write { offset: lba * self.sector, bytes: header },
        ]
    }
}

fn protective_mbr(sector: u64, sectors: u64) -> Vec<u8> {
    let mut mbr = vec![0; usize_of(sector)];
    mbr[446..454].copy_from_slice(&[0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff]);
    mbr[454..458].copy_from_slice(&1u32.to_le_bytes());
    mbr[458..462].copy_from_slice(&u32::try_from(sectors - 1).unwrap_or(u32::MAX).to_le_bytes());
    mbr[510..512].copy_from_slice(&[0x55, 0xaa]);
    mbr
}

/// The CRC of a header, computed with its own field as zero.
fn header_crc(header: &[u8]) -> u32 {
    let mut copy = header.to_vec();
    copy[16..20].fill(0);
    crc32(&copy)
}

/// CRC-32 of ISO 3309, as in GPT. Bit by bit is fast enough for the 16 KiB of a table.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(
            crc ^ u32::from(*byte),
            |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 },
        )
    })
}

/// A GUID as text: its first three groups are little-endian.
///
/// # Panics
/// If there are less than 16 bytes.
pub fn guid(bytes: &[u8]) -> String {
    const ORDER: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    let mut text = String::with_capacity(36);
    for (position, index) in ORDER.into_iter().enumerate() {
        if [4, 6, 8, 10].contains(&position) {
            text.push('-');
        }
        text.push_str(&format!("{:02x}", bytes[index]));
    }
    text
}

/// The bytes of a GUID, as [`guid`] reads them.
pub fn guid_bytes(text: &str) -> Option<[u8; 16]> {
    let mut bytes = [0; 16];
    let mut at = 0;
    for (position, group) in text.split('-').enumerate() {
        let length = [4, 2, 2, 2, 6].get(position).filter(|length| group.len() == **length * 2)?;
        let part = &mut bytes[at..at + length];
        for (byte, from) in part.iter_mut().zip((0..).step_by(2)) {
            let digits = group.get(from..from + 2)?;
            let is_number = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            *byte = u8::from_str_radix(digits, 16).ok().filter(|_| is_number)?;
        }
        if position < 3 {
            part.reverse();
        }
        at += length;
    }
    (at == bytes.len()).then_some(bytes)
}

fn read_at(disk: &mut (impl Read + Seek), offset: u64, len: u64) -> Result<Vec<u8>, String> {
    let mut bytes = vec![0; usize_of(len)];
    let done = disk.seek(SeekFrom::Start(offset)).and_then(|_| disk.read_exact(&mut bytes));
    done.map_err(|error| format!("cannot be read: {error}"))?;
    Ok(bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

fn usize_of(len: u64) -> usize {
    usize::try_from(len).expect("lengths were bounded before")
}

#[cfg(test)]
#[path = "gpt_tests.rs"]
mod tests;
