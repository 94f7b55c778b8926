//! Recognizes what a partition holds, by the magic numbers that the kernel and libblkid look at.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::Place;

/// What a partition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileSystem {
    /// ext2, ext3 or ext4.
    Ext,
    /// Something else, by name.
    Other(&'static str),
}

impl FileSystem {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ext => "ext4",
            Self::Other(name) => name,
        }
    }
}

/// A squashfs, as Kiln's own roots are.
pub(super) const SQUASHFS: FileSystem = FileSystem::Other(SQUASHFS_NAME);
const SQUASHFS_NAME: &str = "squashfs";

/// A FAT, as firmware reads it.
pub(super) const FAT: FileSystem = FileSystem::Other(FAT_NAME);
const FAT_NAME: &str = "FAT";

/// Name, position and bytes of magic numbers.
const MAGIC: &[(&str, usize, &[u8])] = &[
    ("btrfs", 0x10040, b"_BHRfS_M"),
    ("XFS", 0, b"XFSB"),
    ("LUKS", 0, b"LUKS\xba\xbe"),
    ("LVM", 512 + 24, b"LVM2 001"),
    ("Linux RAID", 4096, b"\xfc\x4e\x2b\xa9"),
    (SQUASHFS_NAME, 0, b"hsqs"),
    ("EROFS", 1024, b"\xe2\xe1\xf5\xe0"),
    ("F2FS", 1024, b"\x10\x20\xf5\xf2"),
    ("NTFS", 3, b"NTFS    "),
    (FAT_NAME, 54, b"FAT1"),
    (FAT_NAME, 82, b"FAT32"),
    ("swap", 4086, b"SWAPSPACE2"),
];

const EXT: (usize, &[u8]) = (0x438, b"\x53\xef");

/// How many bytes tell.
const HEAD: usize = 0x10048;

/// What begins with these bytes.
pub(super) fn of(head: &[u8]) -> Option<FileSystem> {
    let has = |at: usize, magic: &[u8]| head.get(at..at + magic.len()) == Some(magic);
    if has(EXT.0, EXT.1) {
        return Some(FileSystem::Ext);
    }
    let found = MAGIC.iter().find(|(_, at, magic)| has(*at, magic));
    found.map(|(name, ..)| FileSystem::Other(name))
}

/// What is at this place of a disk.
pub(super) fn at(disk: &File, place: &Place) -> io::Result<Option<FileSystem>> {
    let mut head = vec![0; HEAD.min(usize::try_from(place.length).unwrap_or(HEAD))];
    let mut filled = 0;
    while filled < head.len() {
        match disk.read_at(&mut head[filled..], place.offset + filled as u64)? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(of(&head[..filled]))
}
