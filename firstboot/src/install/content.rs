//! What is on a disk before an installation: nothing, data, or an installation of ours that did not end.

use std::fmt;
use std::io::{self, Cursor};

use contract::gpt;

/// The bytes at each end of a disk that are looked at, and replaced last.
pub const HEAD: u64 = 1 << 20;
/// The bytes at the start of a disk that make it bootable: boot code, the entry that protects a partition
/// table, and the table's head with sectors of 512 bytes. They are written at once.
pub const BLOCK: u64 = 4096;
/// Where the marker is in that block. Firmware looks at the first sector, which is empty meanwhile.
const MARKER_AT: usize = 2048;
/// The smallest sector.
const SECTOR: usize = 512;
/// The marker.
const MARKER: &[u8] = b"kiln: an installation has begun and has not ended\n";

/// What a disk holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Zeros at both ends.
    Nothing,
    /// An installation that did not end.
    Begun,
    /// Anything else, and what it looks like.
    Data(String),
    /// It cannot be read.
    Unreadable(String),
}

impl fmt::Display for Content {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => formatter.write_str("no data"),
            Self::Begun => formatter.write_str("an installation that did not end"),
            Self::Data(what) => write!(formatter, "data ({what})"),
            Self::Unreadable(why) => write!(formatter, "unreadable: {why}"),
        }
    }
}

/// Reads bytes at an offset, all of them.
pub type ReadAt<'a> = &'a dyn Fn(u64, &mut [u8]) -> io::Result<()>;

/// The first block of a disk while an installation has not ended.
pub fn begun() -> Vec<u8> {
    let mut block = vec![0; BLOCK as usize];
    block[MARKER_AT..][..MARKER.len()].copy_from_slice(MARKER);
    block
}

/// Looks at both ends of a disk.
pub fn look(read_at: ReadAt, size: u64, sector: u64) -> Content {
    let length = HEAD.min(size) as usize;
    let (mut head, mut tail) = (vec![0; length], vec![0; length]);
    let read = read_at(0, &mut head).and_then(|()| read_at(size - length as u64, &mut tail));
    if let Err(error) = read {
        return Content::Unreadable(crate::error::plain(&error));
    }
    if is_begun(&head) {
        return Content::Begun;
    }
    if is_zero(&head) && is_zero(&tail) {
        return Content::Nothing;
    }
    Content::Data(describe(&head, &tail, size, sector))
}

fn is_begun(head: &[u8]) -> bool {
    is_zero(&head[..head.len().min(SECTOR)])
        && head.get(MARKER_AT..).is_some_and(|rest| rest.starts_with(MARKER))
}

/// Whether all bytes are zero.
pub fn is_zero(bytes: &[u8]) -> bool {
    const ZEROS: [u8; BLOCK as usize] = [0; BLOCK as usize];
    bytes.chunks(ZEROS.len()).all(|chunk| *chunk == ZEROS[..chunk.len()])
}

/// Marks of what is common on disks: the offset, the bytes, and the name.
const MARKS: &[(usize, &[u8], &str)] = &[
    (0, b"LUKS\xba\xbe", "LUKS"),
    (512, b"LABELONE", "LVM"),
    (4096, b"\xfc\x4e\x2b\xa9", "software RAID"),
    (0, b"XFSB", "XFS"),
    (0x10040, b"_BHRfS_M", "btrfs"),
    (1080, b"\x53\xef", "ext4"),
    (4086, b"SWAPSPACE2", "swap"),
    (0, b"hsqs", "squashfs"),
    (32769, b"CD001", "iso9660"),
    (3, b"NTFS    ", "NTFS"),
    (54, b"FAT", "FAT"),
    (82, b"FAT32", "FAT"),
];

fn describe(head: &[u8], tail: &[u8], size: u64, sector: u64) -> String {
    if let Ok(table) = gpt::read(&mut Cursor::new(head), sector, size / sector.max(1)) {
        return format!("GPT with {} partitions", table.partitions.len());
    }
    let found = MARKS
        .iter()
        .find(|(at, mark, _)| head.get(*at..).is_some_and(|rest| rest.starts_with(mark)));
    let backup = tail.len().checked_sub(sector as usize).and_then(|at| tail.get(at..));
    match found {
        Some((_, _, name)) => (*name).to_owned(),
        None if backup.is_some_and(|header| header.starts_with(b"EFI PART")) => "GPT, its backup".to_owned(),
        None if head.get(510..512) == Some(b"\x55\xaa") => "MBR".to_owned(),
        None if is_zero(head) => "unknown, at its end".to_owned(),
        None => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(disk: &[u8]) -> Content {
        let read_at = |offset: u64, bytes: &mut [u8]| {
            bytes.copy_from_slice(&disk[offset as usize..][..bytes.len()]);
            Ok(())
        };
        look(&read_at, disk.len() as u64, 512)
    }

    #[test]
    fn a_byte_at_either_end_is_data() {
        let mut disk = vec![0; 4 << 20];
        assert_eq!(of(&disk), Content::Nothing);
        disk[2 << 20] = 1;
        assert_eq!(of(&disk), Content::Nothing, "in the middle nothing is looked for");
        for at in [0, (1 << 20) - 1, 3 << 20, (4 << 20) - 1] {
            let mut disk = disk.clone();
            disk[at] = 1;
            assert!(matches!(of(&disk), Content::Data(_)), "{at}");
        }
        let failing = |_: u64, _: &mut [u8]| Err(io::Error::from_raw_os_error(5));
        assert_eq!(look(&failing, 4 << 20, 512), Content::Unreadable("Input/output error".to_owned()));
    }

    #[test]
    fn an_unfinished_installation_is_no_data_until_the_disk_could_boot() {
        let mut disk = vec![0; 4 << 20];
        disk[..BLOCK as usize].copy_from_slice(&begun());
        assert_eq!(of(&disk), Content::Begun);
        (disk[600], disk[5000], disk[(4 << 20) - 5]) = (1, 1, 1);
        assert_eq!(of(&disk), Content::Begun, "a table that is half written");
        disk[450] = 0xee;
        assert_eq!(of(&disk), Content::Data("unknown".to_owned()), "the first sector is written");
    }

    #[test]
    fn what_is_common_on_disks_is_named() {
        for (at, mark, name) in MARKS {
            let mut disk = vec![0; 4 << 20];
            disk[*at..][..mark.len()].copy_from_slice(mark);
            assert_eq!(of(&disk), Content::Data((*name).to_owned()));
        }
        let mut disk = vec![0; 4 << 20];
        disk[510..512].copy_from_slice(b"\x55\xaa");
        assert_eq!(of(&disk), Content::Data("MBR".to_owned()));
        let mut disk = vec![0; 4 << 20];
        disk[(4 << 20) - 512..][..8].copy_from_slice(b"EFI PART");
        assert_eq!(of(&disk), Content::Data("GPT, its backup".to_owned()));
    }
}
