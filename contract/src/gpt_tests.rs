use std::io::Cursor;

use super::*;
use crate::partition_type;

const MIB: u64 = 1024 * 1024;

/// A disk with a root and a var partition of 1 MiB each, built by the writer under test from a hand-made
/// table.
fn disk(sector: u64, sectors: u64) -> Vec<u8> {
    let mut bytes = vec![0; (sector * sectors) as usize];
    apply(&mut bytes, &[Write { offset: 0, bytes: protective_mbr(sector, sectors) }]);
    let table = table(sector, sectors);
    apply(&mut bytes, &table.primary(sectors));
    apply(&mut bytes, &table.backup(sectors));
    bytes
}

fn table(sector: u64, sectors: u64) -> Table {
    let entries_sectors = (128 * 128u64).div_ceil(sector);
    let grain = MIB / sector;
    let mut header = vec![0; HEADER_LEN];
    header[..8].copy_from_slice(b"EFI PART");
    header[8..12].copy_from_slice(&0x10000u32.to_le_bytes());
    header[12..16].copy_from_slice(&92u32.to_le_bytes());
    header[40..48].copy_from_slice(&(2 + entries_sectors).to_le_bytes());
    header[48..56].copy_from_slice(&(sectors - 2 - entries_sectors).to_le_bytes());
    header[80..84].copy_from_slice(&128u32.to_le_bytes());
    header[84..88].copy_from_slice(&128u32.to_le_bytes());
    let mut entries = vec![0; 128 * 128];
    for (slot, kind) in [partition_type::ROOT, partition_type::VAR].into_iter().enumerate() {
        let entry = &mut entries[slot * 128..][..128];
        entry[..16].copy_from_slice(&guid_bytes(kind).unwrap());
        entry[16..32].fill(slot as u8 + 1);
        let first = grain * (slot as u64 + 1);
        entry[32..40].copy_from_slice(&first.to_le_bytes());
        entry[40..48].copy_from_slice(&(first + grain - 1).to_le_bytes());
    }
    let partitions = partitions(&entries, 128, 2, sectors).unwrap();
    Table {
        side: Side::Primary,
        partitions,
        unprotected: false,
        plain_mbr: false,
        sector,
        header,
        entries,
        entry_len: 128,
        primary_entries: 2,
    }
}

fn apply(bytes: &mut [u8], writes: &[Write]) {
    for write in writes {
        bytes[write.offset as usize..][..write.bytes.len()].copy_from_slice(&write.bytes);
    }
}

fn read_bytes(bytes: &[u8], sector: u64) -> Result<Table, String> {
    read(&mut Cursor::new(bytes), sector, bytes.len() as u64 / sector)
}

/// Writes `value` into the header at `at` and recomputes the checksum, like an attacker.
fn forge(bytes: &mut [u8], header: usize, at: usize, value: &[u8]) {
    bytes[header + at..][..value.len()].copy_from_slice(value);
    let crc = header_crc(&bytes[header..header + HEADER_LEN]);
    bytes[header + 16..header + 20].copy_from_slice(&crc.to_le_bytes());
}

#[test]
fn a_guid_has_its_bytes_in_the_order_of_the_specification() {
    let text = "00112233-4455-6677-8899-aabbccddeeff";
    let bytes = guid_bytes(text).unwrap();
    assert_eq!(bytes[..8], [0x33, 0x22, 0x11, 0, 0x55, 0x44, 0x77, 0x66]);
    assert_eq!(guid(&bytes), text);
    for wrong in [
        "",
        "00112233",
        &text[1..],
        &format!("{text}-00"),
        &text.replace('0', "é"),
        &text.replace("11", "+1"),
    ] {
        assert_eq!(guid_bytes(wrong), None, "{wrong}");
    }
}

#[test]
fn checksum_is_the_standard_one() {
    assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
}

#[test]
fn reads_both_sector_sizes() {
    for sector in [512, 4096] {
        let table = read_bytes(&disk(sector, 8 * MIB / sector), sector).unwrap();
        assert_eq!(table.side, Side::Primary);
        let kinds: Vec<_> = table
            .partitions
            .iter()
            .map(|partition| (partition.number, partition.kind.as_str()))
            .collect();
        assert_eq!(kinds, [(1, partition_type::ROOT), (2, partition_type::VAR)]);
        assert_eq!(table.partitions[1].id, "02020202-0202-0202-0202-020202020202");
        assert_eq!(table.partitions[1].first * sector, 2 * MIB);
        assert!(table.repair(8 * MIB / sector).is_empty());
    }
}

#[test]
fn a_damaged_primary_is_restored_from_the_backup() {
    for sector in [512u64, 4096] {
        let whole = disk(sector, 8 * MIB / sector);
        let sectors = whole.len() as u64 / sector;
        for damage in [
            0..34 * 512,
            512..1024,
            sector as usize..sector as usize + 1,
            2 * sector as usize..2 * sector as usize + 1,
        ] {
            let mut bytes = whole.clone();
            bytes[damage.clone()].fill(0);
            if bytes == whole {
                continue;
            }
            let table = read_bytes(&bytes, sector).unwrap();
            assert_eq!(table.side, Side::Backup, "{damage:?}");
            apply(&mut bytes, &table.repair(sectors));
            assert_eq!(bytes, whole, "{damage:?}");
        }
    }
}

#[test]
fn grows_the_last_partition_and_survives_every_power_cut() {
    for sector in [512u64, 4096] {
        let (old, new) = (4 * MIB / sector, 9 * MIB / sector);
        let mut bytes = disk(sector, old);
        bytes.resize((new * sector) as usize, 0);
        let before = read_bytes(&bytes, sector).unwrap();
        let mut table = before.clone();
        let last = table.enlarge(2, new).unwrap();
        assert_eq!((last + 1) * sector, 8 * MIB, "the end is aligned and leaves room for the backup");
        for write in table.backup(new).into_iter().chain(table.primary(new)) {
            for cut in (0..write.bytes.len()).step_by(sector as usize) {
                bytes[write.offset as usize..][..cut].copy_from_slice(&write.bytes[..cut]);
                let seen = read_bytes(&bytes, sector).unwrap().partitions;
                assert!(seen == before.partitions || seen == table.partitions);
            }
            apply(&mut bytes, std::slice::from_ref(&write));
        }
        let mut after = read_bytes(&bytes, sector).unwrap();
        assert_eq!((after.side, &after.partitions), (Side::Primary, &table.partitions));
        assert_eq!(after.enlarge(2, new), None, "nothing is left to do");
        bytes[sector as usize] = 0;
        assert_eq!(read_bytes(&bytes, sector).unwrap().partitions, table.partitions, "the backup moved");
    }
}

#[test]
fn only_the_last_partition_grows() {
    let mut bytes = disk(512, 8192);
    bytes.resize(20 << 20, 0);
    let mut table = read_bytes(&bytes, 512).unwrap();
    assert_eq!(table.enlarge(1, 40960), None);
    assert_eq!(table.enlarge(3, 40960), None);
    assert_eq!(table.enlarge(2, 8192), None);
    assert!(table.enlarge(2, 40960).is_some());
}

#[test]
fn liars_are_refused() {
    type Forgery = (usize, Vec<u8>, &'static str);
    let forgeries: Vec<Forgery> = vec![
        (12, 91u32.to_le_bytes().to_vec(), "length of the header"),
        (12, u32::MAX.to_le_bytes().to_vec(), "length of the header"),
        (24, 7u64.to_le_bytes().to_vec(), "belongs elsewhere"),
        (40, u64::MAX.to_le_bytes().to_vec(), "larger disk"),
        (40, 3u64.to_le_bytes().to_vec(), "overlap"),
        (48, u64::MAX.to_le_bytes().to_vec(), "larger disk"),
        (48, 2100u64.to_le_bytes().to_vec(), "outside the disk"),
        (72, u64::MAX.to_le_bytes().to_vec(), "larger disk"),
        (72, 0u64.to_le_bytes().to_vec(), "larger disk"),
        (72, 40u64.to_le_bytes().to_vec(), "checksum of the entries"),
        (80, u32::MAX.to_le_bytes().to_vec(), "make no sense"),
        (80, 0u32.to_le_bytes().to_vec(), "make no sense"),
        (84, u32::MAX.to_le_bytes().to_vec(), "make no sense"),
        (84, 0u32.to_le_bytes().to_vec(), "make no sense"),
        (84, 192u32.to_le_bytes().to_vec(), "make no sense"),
    ];
    for (at, value, expected) in forgeries {
        let mut bytes = disk(512, 8192);
        let end = bytes.len();
        bytes[end - 512..].fill(0);
        // The checksum cannot cover the forged length, so the length is checked first.
        forge(&mut bytes, 512, at, &value);
        let error = read_bytes(&bytes, 512).unwrap_err();
        assert!(error.contains(expected), "field {at} = {value:?}: {error}");
    }
}

#[test]
fn other_disks_are_named() {
    assert!(read_bytes(&[0; 65536], 512).unwrap_err().contains("no GPT"));
    assert!(read_bytes(&[0; 512], 512).unwrap_err().contains("too small"));
    assert!(read(&mut Cursor::new([0u8; 512]), 512, 100).unwrap_err().contains("cannot be read"));
    assert!(read_bytes(&[0; 65536], 520).unwrap_err().contains("not supported"));
    assert!(read(&mut Cursor::new([0u8; 512]), 4096, u64::MAX).unwrap_err().contains("too small"));
    let mut mbr = disk(512, 8192);
    mbr[450] = 0x83;
    assert!(
        read_bytes(&mbr, 512).unwrap_err().contains("MBR"),
        "a stale GPT on a disk that was partitioned anew"
    );
}

#[test]
fn no_single_byte_makes_it_panic() {
    let mut bytes = disk(512, 8192);
    let end = bytes.len();
    let headers = (510..512 + HEADER_LEN).chain(end - 512..end - 512 + HEADER_LEN);
    for at in headers.chain((1024..34 * 512).step_by(61)) {
        for flip in [0x55, 0xff] {
            bytes[at] ^= flip;
            if let Ok(mut table) = read_bytes(&bytes, 512) {
                table.enlarge(2, 8192);
                table.repair(8192);
            }
            bytes[at] ^= flip;
        }
    }
}

#[test]
fn the_protective_mbr_tells_the_size_of_a_grown_disk_and_keeps_what_others_wrote_into_it() {
    let grown = |mut bytes: Vec<u8>| {
        bytes.resize(32 * MIB as usize, 0);
        let table = read_bytes(&bytes, 512).unwrap();
        table.protection(bytes.len() as u64 / 512)
    };
    let plain = disk(512, 16384);
    let write = grown(plain.clone()).unwrap();
    assert_eq!((write.offset, u32_at(&write.bytes, 458)), (0, 65535));
    let mut with_boot_code = plain;
    with_boot_code[0] = 0xeb;
    assert_eq!(grown(with_boot_code), None);
}

#[test]
fn partitions_that_share_a_sector_are_told() {
    let partition =
        |number, first, last| Partition { number, kind: String::new(), id: String::new(), first, last };
    let apart = vec![partition(2, 200, 299), partition(1, 100, 199)];
    assert_eq!(Table::of(apart).overlap(), None);
    let shared = vec![partition(2, 200, 299), partition(1, 100, 200), partition(3, 300, 399)];
    assert_eq!(Table::of(shared).overlap(), Some((1, 2)));
}

#[test]
fn a_table_fits_a_longer_disk_with_its_partitions_as_they_are_and_no_disk_that_is_too_short() {
    for sector in [512, 4096] {
        let (old, new) = (8 * MIB / sector, 20 * MIB / sector);
        let mut bytes = disk(sector, old);
        let mut table = read_bytes(&bytes, sector).unwrap();
        let before = table.partitions.clone();
        assert!(table.fit(new));
        bytes.resize((new * sector) as usize, 0);
        apply(&mut bytes, &table.primary(new));
        apply(&mut bytes, &table.backup(new));
        let grown = read_bytes(&bytes, sector).unwrap();
        assert_eq!((grown.side, &grown.partitions), (Side::Primary, &before));
        assert_eq!(u64_at(&grown.header, 48), table.last_usable(new).unwrap());
        bytes[sector as usize..2 * sector as usize].fill(9);
        assert_eq!(read_bytes(&bytes, sector).unwrap().side, Side::Backup);
        assert!(!table.fit(3 * MIB / sector) && !table.fit(1));
    }
}
