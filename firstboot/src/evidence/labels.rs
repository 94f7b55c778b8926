//! Labels of file systems, read from their superblocks: vfat, iso9660, UDF, ext2 to ext4.
//!
//! | file system | recognized by | label |
//! |---|---|---|
//! | FAT12, FAT16 | `55 AA` at 510, `29` at 38, `FAT` at 54 | 11 bytes at 43 |
//! | FAT32 | `55 AA` at 510, `29` at 66, `FAT32` at 82 | 11 bytes at 71 |
//! | iso9660 | `01 CD001` at 32768 (ECMA-119, primary volume descriptor) | 32 bytes at 32808 |
//! | UDF | `NSR02` or `NSR03` at 1 of a 2048-byte sector from 16 on (ECMA-167, 3/9.1), without iso9660 in the first | none is read |
//! | ext2 to ext4 | `53 EF` at 1080 | 16 bytes at 1144 |

/// Bytes of a device that hold all superblocks.
pub const HEAD: usize = 0x9800;

/// A file system whose label is understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileSystem {
    /// FAT12, FAT16, FAT32.
    Vfat,
    /// A compact disc.
    Iso9660,
    /// A disc or disk with UDF.
    Udf,
    /// ext2, ext3, ext4.
    Ext4,
}

impl FileSystem {
    /// The name that mount(2) takes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vfat => "vfat",
            Self::Iso9660 => "iso9660",
            Self::Udf => "udf",
            Self::Ext4 => "ext4",
        }
    }

    /// Options that keep the kernel from writing, which it does to an unclean ext4 even when it is mounted
    /// read-only.
    pub fn options(self) -> Option<&'static str> {
        (self == Self::Ext4).then_some("noload")
    }
}

/// The file system that begins with `head`, and its label.
pub fn read(head: &[u8]) -> Option<(FileSystem, String)> {
    let at = |offset: usize, expected: &[u8]| head.get(offset..offset + expected.len()) == Some(expected);
    let label = |offset: usize, length: usize| {
        let bytes = head.get(offset..offset + length)?;
        let bytes = bytes.split(|byte| *byte == 0).next()?;
        Some(String::from_utf8_lossy(bytes).trim_end().to_owned())
    };
    // A disc can be made to look like a disk too; then it is the disc that counts.
    if at(32768, b"\x01CD001") {
        return Some((FileSystem::Iso9660, label(32808, 32)?));
    }
    // Behind the descriptor that says that more follow, or in the next one.
    if [34816, 36864].iter().any(|sector| at(sector + 1, b"NSR02") || at(sector + 1, b"NSR03")) {
        return Some((FileSystem::Udf, String::new()));
    }
    if at(1080, b"\x53\xef") {
        return Some((FileSystem::Ext4, label(1144, 16)?));
    }
    if at(510, b"\x55\xaa") {
        if at(66, b"\x29") && at(82, b"FAT32") {
            return Some((FileSystem::Vfat, label(71, 11)?));
        }
        if at(38, b"\x29") && at(54, b"FAT") {
            return Some((FileSystem::Vfat, label(43, 11)?));
        }
    }
    None
}

/// The identifier of the file system that begins with `head`, as it is there: ext4's UUID, FAT's serial number,
/// the time at which a disc was made. None is read of UDF.
pub fn identifier(head: &[u8]) -> &[u8] {
    let range = match read(head) {
        Some((FileSystem::Ext4, _)) => 1128..1144,
        Some((FileSystem::Iso9660, _)) => 33581..33598,
        Some((FileSystem::Vfat, _)) if head.get(82..87) == Some(b"FAT32") => 67..71,
        Some((FileSystem::Vfat, _)) => 39..43,
        Some((FileSystem::Udf, _)) | None => 0..0,
    };
    head.get(range).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(parts: &[(usize, &[u8])]) -> Vec<u8> {
        let mut head = vec![0; HEAD];
        parts
            .iter()
            .for_each(|(offset, bytes)| head[*offset..offset + bytes.len()].copy_from_slice(bytes));
        head
    }

    #[test]
    fn labels_are_read() {
        let boot: (usize, &[u8]) = (510, b"\x55\xaa");
        for (head, expected) in [
            (
                head(&[(32768, b"\x01CD001"), (32808, b"cidata                          ")]),
                Some((FileSystem::Iso9660, "cidata")),
            ),
            (head(&[(1080, b"\x53\xef"), (1144, b"CIDATA\0garbage")]), Some((FileSystem::Ext4, "CIDATA"))),
            (head(&[boot, (66, b"\x29"), (71, b"CIDATA     FAT32   ")]), Some((FileSystem::Vfat, "CIDATA"))),
            (head(&[boot, (38, b"\x29"), (43, b"cidata     FAT12   ")]), Some((FileSystem::Vfat, "cidata"))),
            (head(&[(32769, b"BEA01"), (34817, b"NSR02")]), Some((FileSystem::Udf, ""))),
            (head(&[(32769, b"BEA01"), (34817, b"NSR01")]), None),
            (head(&[boot]), None),
            (Vec::new(), None),
            (head(&[(1080, b"\x53\xef")])[..1100].to_vec(), None),
        ] {
            assert_eq!(read(&head), expected.map(|(kind, label)| (kind, label.to_owned())));
        }
    }
}
