//! The log file of a dirty hive: entries whose signs, numbers and hashes are right whatever else is wrong.
#![no_main]

use kiln::format::hive::{self, Hive, Value};
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
    hive::seal(bytes);
}

/// Makes one entry after the other whole, as long as their lengths allow it.
fn repair(mut entries: &mut [u8]) {
    let mut number = 1_u32;
    while entries.len() >= 512 {
        let size = u32::from_le_bytes(entries[4..8].try_into().expect("four")) as usize & 0x1_fe00;
        let size = size.clamp(512, entries.len() & !511);
        entries[..4].copy_from_slice(b"HvLE");
        entries[4..8].copy_from_slice(&(size as u32).to_le_bytes());
        entries[12..16].copy_from_slice(&number.to_le_bytes());
        hive::seal_entry(&mut entries[..size]);
        entries = &mut entries[size..];
        number += 1;
    }
}
