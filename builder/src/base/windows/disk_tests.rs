use super::*;
use std::fs;

/// A sector that begins an NTFS volume.
fn boot_sector() -> [u8; 512] {
    let mut sector = [0; 512];
    sector[3..11].copy_from_slice(b"NTFS    ");
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    sector
}

/// A disk with a master boot record: type, first sector and length of its partitions. Those with NTFS have
/// it.
fn disk(partitions: &[(u8, u32, u32)]) -> Vec<u8> {
    let mut disk = vec![0; 64 * 512];
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    for (slot, (kind, first, length)) in partitions.iter().enumerate() {
        let entry = 446 + slot * 16;
        disk[entry + 4] = *kind;
        disk[entry + 8..entry + 12].copy_from_slice(&first.to_le_bytes());
        disk[entry + 12..entry + 16].copy_from_slice(&length.to_le_bytes());
        let at = *first as usize * 512;
        if *kind == NTFS_IN_MBR && at + 512 <= disk.len() {
            disk[at..at + 512].copy_from_slice(&boot_sector());
        }
    }
    disk
}

fn footer(kind: u32) -> Vec<u8> {
    let mut footer = vec![0; 512];
    footer[..8].copy_from_slice(b"conectix");
    footer[60..64].copy_from_slice(&kind.to_be_bytes());
    footer
}

fn place_in(bytes: &[u8]) -> Result<Option<Place>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    fs::write(&path, bytes).unwrap();
    place(&mut File::open(&path).unwrap(), false, "x.raw")
}

#[test]
fn the_largest_volume_with_ntfs_is_that_of_windows() {
    let place = |offset: u64, length: u64| Place { offset: offset * 512, length: length * 512 };
    assert_eq!(place_in(&disk(&[(7, 2, 4), (7, 8, 40), (12, 50, 14)])).unwrap(), Some(place(8, 40)));
    assert_eq!(place_in(&[boot_sector().to_vec(), vec![0; 1024]].concat()).unwrap(), Some(place(0, 3)));
}

#[test]
fn disks_that_cannot_be_windows_are_refused_by_name() {
    for (bytes, says) in [
        (disk(&[]), "no partition has NTFS"),
        (disk(&[(12, 2, 4)]), "no partition has NTFS"),
        (disk(&[(7, 2, 4), (7, 60, 40)]), "ends behind its disk"),
        (disk(&[(7, u32::MAX, u32::MAX)]), "ends behind its disk"),
        (disk(&[(PROTECTIVE, 1, 63)]), "its partition table"),
        (vec![0; 100], "cannot be read"),
    ] {
        let error = place_in(&bytes).and_then(|place| place.ok_or_else(|| lacks_ntfs("x.raw"))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Archive);
        assert!(error.message().contains(says), "{says}: {error}");
    }
}

#[test]
fn files_of_other_kinds_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    let qcow2 = |at: usize, byte: u8| {
        let mut header = vec![0; 1024];
        for (at, bytes) in
            [(0, b"QFI\xfb\0\0\0\x03".as_slice()), (20, &[0, 0, 0, 16]), (28, &[0x40, 0, 0, 0])]
        {
            header[at..at + bytes.len()].copy_from_slice(bytes);
        }
        header[at] = byte;
        header
    };
    for (bytes, says) in [
        (Vec::new(), "it is empty"),
        (b"conectix and nothing else".to_vec(), "whose end is missing"),
        ([vec![0; 1024], footer(4)].concat(), "differences to another VHD"),
        ([vec![0; 1024], footer(7)].concat(), "unknown type 7"),
        (b"KDMV".to_vec(), "it is a VMDK"),
        (vec![0; 4096], "neither a WIM nor a disk"),
        (b"<html>".to_vec(), "neither a WIM nor a disk"),
        (qcow2(15, 1), "backing file"),
        (qcow2(35, 1), "encrypted"),
        (qcow2(79, 4), "in another file"),
        (qcow2(79, 2), "corrupt"),
        (qcow2(7, 9), "version 9"),
    ] {
        fs::write(&path, &bytes).unwrap();
        let error = form(&path, "x").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Archive);
        assert!(error.message().contains(says), "{says}: {error}");
    }
    fs::write(&path, [vec![0; 1024], footer(3)].concat()).unwrap();
    assert_eq!(form(&path, "x").unwrap(), Form::Vhd);
}
