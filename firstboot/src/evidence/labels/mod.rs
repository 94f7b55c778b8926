//! Labels of file systems, as blkid and cloud-init's ds-identify see them: vfat, iso9660, UDF, ext2 to ext4.
//!
//! | file system | recognized by | label |
//! |---|---|---|
//! | FAT12, FAT16 | `55 AA` at 510, `29` at 38, `FAT` at 54 | the volume entry of the root folder, and 11 bytes at 43 |
//! | FAT32 | `55 AA` at 510, `29` at 66, `FAT32` at 82 | the same, and 11 bytes at 71 |
//! | iso9660 | `01 CD001` at 32768 (ECMA-119, primary volume descriptor) | Joliet's, else 32 bytes at 32808 |
//! | UDF | `NSR02` or `NSR03` at 1 of a 2048-byte sector from 16 on (ECMA-167, 3/9.1), without iso9660 in the first | none is read |
//! | ext2 to ext4 | `53 EF` at 1080 | 16 bytes at 1144 |
//!
//! Windows changes the volume entry of a FAT file system alone, so that both of its labels count.

mod fat;

/// Bytes of a device that hold all superblocks and the descriptors of a disc.
pub const HEAD: usize = 0x10000;

/// Bytes of a device: at most `length` of them, from `offset` on.
pub type ReadAt<'a> = &'a dyn Fn(u64, usize) -> Vec<u8>;

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

/// The file system of a device, and its labels.
pub fn read(read_at: ReadAt) -> Option<(FileSystem, Vec<String>)> {
    let head = read_at(0, HEAD);
    let at = |offset: usize, expected: &[u8]| head.get(offset..offset + expected.len()) == Some(expected);
    let field = |offset: usize, length: usize| head.get(offset..offset + length).map(text);
    // A disc can be made to look like a disk too; then it is the disc that counts.
    if at(32768, b"\x01CD001") {
        return Some((FileSystem::Iso9660, vec![joliet(&head).or_else(|| field(32808, 32))?]));
    }
    // Behind the descriptor that says that more follow, or in the next one.
    if [34816, 36864].iter().any(|sector| at(sector + 1, b"NSR02") || at(sector + 1, b"NSR03")) {
        return Some((FileSystem::Udf, Vec::new()));
    }
    if at(1080, b"\x53\xef") {
        return Some((FileSystem::Ext4, vec![field(1144, 16)?]));
    }
    if at(510, b"\x55\xaa") {
        let boot = if at(66, b"\x29") && at(82, b"FAT32") {
            field(71, 11)?
        } else if at(38, b"\x29") && at(54, b"FAT") {
            field(43, 11)?
        } else {
            return None;
        };
        let mut labels = vec![fat::volume_entry(&head, read_at).unwrap_or_default(), boot];
        labels.retain(|label| !label.is_empty() && label != fat::NO_NAME);
        labels.dedup();
        return Some((FileSystem::Vfat, labels));
    }
    None
}

/// Text until a NUL, without blanks at its end.
fn text(bytes: &[u8]) -> String {
    let bytes = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(bytes).trim_end().to_owned()
}

/// The label of a disc's first supplementary volume descriptor whose text is UCS-2 by Joliet's escapes.
fn joliet(head: &[u8]) -> Option<String> {
    let descriptors = head.get(32768..)?.chunks_exact(2048);
    let found = descriptors
        .take_while(|descriptor| descriptor[1..6] == *b"CD001" && descriptor[0] != 255)
        .find(|descriptor| descriptor[0] == 2 && is_joliet(&descriptor[88..91]))?;
    let letters = found[40..72].chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    let label: String = char::decode_utf16(letters.take_while(|letter| *letter != 0))
        .map(|letter| letter.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect();
    Some(label.trim_end().to_owned()).filter(|label| !label.is_empty())
}

fn is_joliet(escapes: &[u8]) -> bool {
    [&b"%/@"[..], b"%/C", b"%/E"].contains(&escapes)
}

/// The identifier of the file system that begins with `head`, as it is there: ext4's UUID, FAT's serial
/// number, the time at which a disc was made. None is read of UDF.
pub fn identifier(head: &[u8]) -> &[u8] {
    let within_head = |offset, length| match usize::try_from(offset) {
        Ok(offset) => head.iter().skip(offset).take(length).copied().collect(),
        Err(_) => Vec::new(),
    };
    let Some((kind, _)) = read(&within_head) else { return &[] };
    let range = match kind {
        FileSystem::Ext4 => 1128..1144,
        FileSystem::Iso9660 => 33581..33598,
        FileSystem::Vfat if head.get(82..87) == Some(b"FAT32") => 67..71,
        FileSystem::Vfat => 39..43,
        FileSystem::Udf => 0..0,
    };
    head.get(range).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(parts: &[(usize, &[u8])]) -> Option<(FileSystem, Vec<String>)> {
        let mut device = vec![0; HEAD];
        parts
            .iter()
            .for_each(|(offset, bytes)| device[*offset..offset + bytes.len()].copy_from_slice(bytes));
        read(&|offset, length| device.iter().skip(offset as usize).take(length).copied().collect())
    }

    fn utf16(text: &str) -> Vec<u8> {
        text.encode_utf16().flat_map(u16::to_be_bytes).collect()
    }

    #[test]
    fn labels_are_read() {
        let boot: (usize, &[u8]) = (510, b"\x55\xaa");
        for (parts, expected) in [
            (
                &[(32768, &b"\x01CD001"[..]), (32808, b"cidata                          ")][..],
                Some((FileSystem::Iso9660, vec!["cidata"])),
            ),
            (&[(1080, b"\x53\xef"), (1144, b"CIDATA\0garbage")], Some((FileSystem::Ext4, vec!["CIDATA"]))),
            (&[boot, (66, b"\x29"), (71, b"CIDATA     FAT32   ")], Some((FileSystem::Vfat, vec!["CIDATA"]))),
            (&[boot, (38, b"\x29"), (43, b"cidata     FAT12   ")], Some((FileSystem::Vfat, vec!["cidata"]))),
            (&[boot, (38, b"\x29"), (43, b"NO NAME    FAT12   ")], Some((FileSystem::Vfat, vec![]))),
            (&[(32769, b"BEA01"), (34817, b"NSR02")], Some((FileSystem::Udf, vec![]))),
            (&[(32769, b"BEA01"), (34817, b"NSR01")], None),
            (&[boot], None),
            (&[], None),
        ] {
            let expected =
                expected.map(|(kind, labels)| (kind, labels.into_iter().map(str::to_owned).collect()));
            assert_eq!(labels(parts), expected);
        }
        assert_eq!(read(&|_, _| Vec::new()), None);
        let truncated =
            |_, length: usize| [vec![0; 1080], b"\x53\xef".to_vec()].concat()[..length.min(1082)].to_vec();
        assert_eq!(read(&truncated), None);
    }

    #[test]
    fn the_label_of_joliet_counts_on_a_disc() {
        let label = |kind: u8, escapes: &[u8], name: &str| {
            let second = [&[kind][..], b"CD001"].concat();
            let name = utf16(name);
            labels(&[
                (32768, b"\x01CD001"),
                (32808, b"CDROM   "),
                (34816, &second),
                (34856, &name),
                (34904, escapes),
            ])
            .unwrap()
            .1
        };
        assert_eq!(label(2, b"%/E", "cidata"), ["cidata"]);
        assert_eq!(label(2, b"%/@", "config-2  "), ["config-2"]);
        assert_eq!(label(2, b"%/X", "cidata"), ["CDROM"]);
        assert_eq!(label(2, b"%/E", ""), ["CDROM"]);
        assert_eq!(label(255, b"%/E", "cidata"), ["CDROM"]);
    }
}
