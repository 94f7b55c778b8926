//! The log file of a dirty hive: entries whose signs, numbers and hashes are right whatever else is wrong.
#![no_main]

use kiln::format::hive::{Hive, Value};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut log = bytes.to_vec();
    if log.len() > 512 {
        seal(&mut log, [1, 1, 6]);
        repair(&mut log[512..]);
    }
    let mut hive = Hive::new("ROOT", 0).into_bytes();
    seal(&mut hive, [2, 1, 0]);
    assert!(Hive::is_dirty(&hive));
    let Ok(mut hive) = Hive::recover(hive, &[log], 0) else { return };
    if hive.set("Key", "Value", &Value::Dword(1)).is_ok() {
        Hive::read(hive.into_bytes(), 0).expect("what was edited is sound");
    }
});

/// Gives a base block its sign, its numbers of changes, its type and its checksum.
fn seal(bytes: &mut [u8], [first, second, kind]: [u32; 3]) {
    bytes[..4].copy_from_slice(b"regf");
    for (at, value) in [(4, first), (8, second), (28, kind)] {
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }
    let sum = words(&bytes[..508]).fold(0, |sum, word| sum ^ word);
    let sum = if sum == 0 { 1 } else { sum.min(u32::MAX - 1) };
    bytes[508..512].copy_from_slice(&sum.to_le_bytes());
}

/// Makes one entry after the other whole, as long as their lengths allow it.
fn repair(mut entries: &mut [u8]) {
    let mut number = 1_u32;
    while entries.len() >= 512 {
        let size = words(&entries[4..8]).next().unwrap_or_default() as usize & 0x1_fe00;
        let size = size.clamp(512, entries.len() & !511);
        entries[..4].copy_from_slice(b"HvLE");
        entries[4..8].copy_from_slice(&(size as u32).to_le_bytes());
        entries[12..16].copy_from_slice(&number.to_le_bytes());
        let first = marvin32(&entries[40..size]);
        entries[24..32].copy_from_slice(&first);
        let second = marvin32(&entries[..32]);
        entries[32..40].copy_from_slice(&second);
        entries = &mut entries[size..];
        number += 1;
    }
}

fn words(bytes: &[u8]) -> impl Iterator<Item = u32> {
    bytes.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().expect("four")))
}

fn marvin32(bytes: &[u8]) -> [u8; 8] {
    let (mut low, mut high) = (0x7a4e_55c5_u32, 0x82ef_4d88_u32);
    for word in words(bytes).chain([0x80, 0]) {
        low = low.wrapping_add(word);
        high ^= low;
        low = low.rotate_left(20).wrapping_add(high);
        high = high.rotate_left(9) ^ low;
        low = low.rotate_left(27).wrapping_add(high);
        high = high.rotate_left(19);
    }
    (u64::from(high) << 32 | u64::from(low)).to_le_bytes()
}
