use super::super::{Hive, Value};
use super::*;

/// A dirty hive whose last change has this number: Windows was about to write the next one.
fn dirty(hive: &Hive, written: u32) -> Vec<u8> {
    let mut bytes = hive.clone().into_bytes();
    put_u32(&mut bytes, 4, written + 1);
    put_u32(&mut bytes, 8, written);
    sealed(bytes)
}

fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    seal(&mut bytes);
    bytes
}

/// An entry with all pages of a hive.
fn entry_of(hive: &Hive, sequence: u32) -> Vec<u8> {
    let bytes = hive.clone().into_bytes();
    let pages: Vec<&[u8]> = bytes[PAGE..].chunks(PAGE).collect();
    let mut entry = b"HvLE".to_vec();
    let size = (HEADER + pages.len() * (REFERENCE + PAGE)).next_multiple_of(SECTOR);
    for field in [size, 0, sequence as usize, bytes.len() - PAGE, pages.len()] {
        entry.extend((field as u32).to_le_bytes());
    }
    entry.resize(HEADER, 0);
    for index in 0..pages.len() {
        entry.extend(((index * PAGE) as u32).to_le_bytes());
        entry.extend((PAGE as u32).to_le_bytes());
    }
    pages.iter().for_each(|page| entry.extend(*page));
    entry.resize(size, 0);
    hashed(entry)
}

fn hashed(mut entry: Vec<u8>) -> Vec<u8> {
    seal_entry(&mut entry);
    entry
}

/// A log file that begins with the entry of this number.
fn log(first: u32, entries: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = vec![0; SECTOR];
    bytes[..4].copy_from_slice(b"regf");
    for (at, value) in [(4, first), (8, first), (TYPE, LOG_WITH_ENTRIES)] {
        put_u32(&mut bytes, at, value);
    }
    [sealed(bytes), entries.concat()].concat()
}

fn with(value: u32) -> Hive {
    let mut hive = Hive::new("ROOT", 0);
    hive.set("Key", "Value", &Value::Dword(value)).unwrap();
    // More bins with each change.
    hive.set("Key", "Long", &Value::Binary(vec![7; 5000 * value as usize])).unwrap();
    hive
}

fn value(hive: Vec<u8>, logs: &[Vec<u8>]) -> crate::error::Result<u32> {
    let hive = Hive::recover(hive, logs, 0)?;
    Ok(hive.value("Key", "Value")?.as_ref().and_then(Value::number).unwrap())
}

/// Computed by another program, of the words 0 and 1.
#[test]
fn the_hash_is_that_of_others() {
    assert_eq!(marvin32(&[0, 0, 0, 0, 1, 0, 0, 0]), 0xa988_d5e9_d070_a21e);
}

#[test]
fn entries_of_both_files_are_applied_in_their_order() {
    let hive = dirty(&with(1), 5);
    let [second, third, fourth] = [(2, 6), (3, 7), (4, 8)].map(|(value, at)| entry_of(&with(value), at));
    let (older, newer) = (log(6, &[second.clone(), third.clone()]), log(8, std::slice::from_ref(&fourth)));
    for logs in [[older.clone(), newer.clone()], [newer.clone(), older.clone()]] {
        assert_eq!(value(hive.clone(), &logs).unwrap(), 4);
    }
    // One file without the other, and one that begins later than it should.
    assert_eq!(value(hive.clone(), &[older.clone(), Vec::new()]).unwrap(), 3);
    assert_eq!(value(hive.clone(), &[older, log(9, &[entry_of(&with(5), 9)])]).unwrap(), 3);
    // A shorter hive than before.
    assert_eq!(value(dirty(&with(9), 5), &[log(6, &[second])]).unwrap(), 2);
}

#[test]
fn an_entry_that_is_not_whole_ends_the_replay() {
    let hive = dirty(&with(1), 5);
    let (second, third) = (entry_of(&with(2), 6), entry_of(&with(3), 7));
    let faults: [fn(&mut Vec<u8>); 8] = [
        |entry| entry[0] = b'x',
        |entry| entry[30] ^= 1,
        |entry| entry[38] ^= 1,
        |entry| *entry.last_mut().unwrap() ^= 1,
        |entry| entry.truncate(entry.len() - 1),
        |entry| {
            put_u32(entry, 12, 9);
            *entry = hashed(std::mem::take(entry));
        },
        |entry| {
            put_u32(entry, 16, 0xffff_f000);
            *entry = hashed(std::mem::take(entry));
        },
        |entry| {
            put_u32(entry, 20, u32::MAX);
            *entry = hashed(std::mem::take(entry));
        },
    ];
    for (number, fault) in faults.iter().enumerate() {
        let mut broken = third.clone();
        fault(&mut broken);
        let log = log(6, &[second.clone(), broken.clone(), entry_of(&with(4), 8)]);
        assert_eq!(value(hive.clone(), &[log]).unwrap(), 2, "fault {number}");
        let error = value(hive.clone(), &[self::log(7, &[broken])]).unwrap_err();
        assert!(error.message().contains("dirty"), "fault {number}: {error}");
    }
    // Bins that are longer than the hive and all that its log files bring.
    let mut longer = entry_of(&with(3), 7);
    put_u32(&mut longer, 16, 256 << 20);
    let longer = self::log(6, &[second.clone(), hashed(longer)]);
    assert_eq!(value(hive.clone(), &[longer]).unwrap(), 2);
    // A page beyond the hive's end.
    let mut beyond = third;
    put_u32(&mut beyond, HEADER, 0x10_0000);
    let log = log(6, &[second, hashed(beyond)]);
    assert_eq!(value(hive, &[log]).unwrap(), 2);
}

#[test]
fn what_does_not_follow_the_hive_leaves_it_dirty() {
    let hive = dirty(&with(1), 5);
    let entry = entry_of(&with(2), 4);
    let mut other_type = log(6, &[entry_of(&with(2), 6)]);
    put_u32(&mut other_type, TYPE, 1);
    let mut unsealed = log(6, &[entry_of(&with(2), 6)]);
    unsealed[100] ^= 1;
    let none = vec![vec![0; 600]];
    for logs in [vec![], vec![log(4, &[entry])], vec![sealed(other_type)], vec![unsealed], none] {
        let error = value(hive.clone(), &logs).unwrap_err();
        assert!(error.message().contains("dirty") && error.hint().is_some(), "{error}");
    }
}

#[test]
fn a_clean_hive_takes_nothing_of_its_log_files() {
    let clean = with(1).into_bytes();
    assert_eq!(replayed(clean.clone(), &[log(1, &[entry_of(&with(2), 1)])]), clean);
}

#[test]
fn an_entry_that_makes_the_hive_longer_without_bringing_the_pages_ends_the_replay() {
    let hive = dirty(&with(1), 5);
    let mut entry = entry_of(&with(2), 6);
    entry[16..20].copy_from_slice(&(256_u32 << 20).to_le_bytes());
    let error = value(hive, &[log(6, &[hashed(entry)])]).unwrap_err();
    assert!(error.message().contains("dirty"), "{error}");
}
