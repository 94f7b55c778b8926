//! A disk with a partition table whose checksums are right whatever else is wrong. What the initrd writes to
//! it can be read again.
#![no_main]

use std::io::Cursor;

use contract::gpt::{self, Write};
use libfuzzer_sys::fuzz_target;

const SECTOR: usize = 512;
/// 128 entries of 128 bytes, twice, two headers, the MBR, and 1 MiB to lie in.
const SECTORS: usize = 2048 + 67;
/// The disk after it has grown.
const LARGER: usize = SECTORS + 4096;

fuzz_target!(|bytes: &[u8]| {
    let mut disk = disk(bytes);
    let Ok(mut table) = gpt::read(&mut Cursor::new(&disk), SECTOR as u64, SECTORS as u64) else { return };
    apply(&mut disk, table.repair(SECTORS as u64));
    disk.resize(LARGER * SECTOR, 0);
    let last = table.partitions.last().map_or(1, |partition| partition.number);
    if let Some(new_last) = table.enlarge(last, LARGER as u64) {
        apply(&mut disk, table.backup(LARGER as u64));
        apply(&mut disk, table.primary(LARGER as u64));
        let grown = gpt::read(&mut Cursor::new(&disk), SECTOR as u64, LARGER as u64)
            .expect("an enlarged table can be read");
        assert_eq!(grown.partitions, table.partitions);
        assert!(
            grown
                .partitions
                .iter()
                .any(|partition| partition.number == last && partition.last == new_last)
        );
    }
});

/// The first byte says where the rest goes: to the start of the disk, or to the backup table; and whether
/// checksums stay as they are.
fn disk(bytes: &[u8]) -> Vec<u8> {
    let mut disk = vec![0; SECTORS * SECTOR];
    let Some((&mode, bytes)) = bytes.split_first() else { return disk };
    let at = if mode & 1 == 0 { 0 } else { (SECTORS - 33) * SECTOR };
    let length = bytes.len().min(disk.len() - at);
    disk[at..at + length].copy_from_slice(&bytes[..length]);
    if mode & 2 == 0 {
        seal(&mut disk, 1);
        seal(&mut disk, SECTORS - 1);
    }
    disk
}

/// Makes the checksums of the header in sector `lba`, and of its entries, right.
fn seal(disk: &mut [u8], lba: usize) {
    let field = |disk: &[u8], at: usize| {
        u32::from_le_bytes(disk[lba * SECTOR + at..][..4].try_into().expect("four bytes"))
    };
    let entries = (field(disk, 72) as usize).saturating_mul(SECTOR);
    let length = (field(disk, 80) as usize).saturating_mul(field(disk, 84) as usize);
    if let Some(entries) = entries.checked_add(length).and_then(|end| disk.get(entries..end)) {
        let crc = crc32(entries);
        disk[lba * SECTOR + 88..][..4].copy_from_slice(&crc.to_le_bytes());
    }
    let length = (field(disk, 12) as usize).min(SECTOR);
    disk[lba * SECTOR + 16..][..4].fill(0);
    let crc = crc32(&disk[lba * SECTOR..][..length]);
    disk[lba * SECTOR + 16..][..4].copy_from_slice(&crc.to_le_bytes());
}

fn apply(disk: &mut [u8], writes: Vec<Write>) {
    for write in writes {
        let at = write.offset as usize;
        disk[at..at + write.bytes.len()].copy_from_slice(&write.bytes);
    }
}

/// CRC-32 of ISO 3309.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(
            crc ^ u32::from(*byte),
            |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 },
        )
    })
}
