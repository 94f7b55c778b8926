//! A registry hive whose checksum is right whatever else is wrong. What an edit leaves can be read again.
#![no_main]

use kiln::error::Result;
use kiln::format::hive::{Branch, Hive, Value, Walk};
use libfuzzer_sys::fuzz_target;

const KEY: &str = r"ControlSet001\Services\kubelet";

fuzz_target!(|bytes: &[u8]| {
    let mut bytes = bytes.to_vec();
    if bytes.len() > 512 {
        seal(&mut bytes);
    }
    let Ok(mut hive) = Hive::read(bytes, 0) else { return };
    let _ = hive.subkeys("");
    let mut walk = hive.walk();
    if let Ok(Some(root)) = walk.at("") {
        let _ = see(&mut walk, &root);
    }
    let _ = hive.values("Select");
    let _ = hive.remove_value("Select", "Current");
    if hive.set(KEY, "Start", &Value::Dword(2)).is_err() {
        return;
    }
    let hive = Hive::read(hive.into_bytes(), 0).expect("what was edited is sound");
    assert_eq!(hive.value(KEY, "Start").expect("the value is there"), Some(Value::Dword(2)));
});

/// Sees everything below a key.
fn see(walk: &mut Walk<'_>, branch: &Branch) -> Result<()> {
    walk.values(branch)?;
    for key in walk.subkeys(branch)?.into_values() {
        see(walk, &key)?;
    }
    Ok(())
}

/// Sets the signs that every hive begins with, and the checksum.
fn seal(bytes: &mut [u8]) {
    bytes[..4].copy_from_slice(b"regf");
    let words = bytes[..508]
        .chunks_exact(4)
        .map(|word| u32::from_le_bytes(word.try_into().expect("four")));
    let sum = match words.fold(0, |sum, word| sum ^ word) {
        0 => 1,
        u32::MAX => u32::MAX - 1,
        sum => sum,
    };
    bytes[508..512].copy_from_slice(&sum.to_le_bytes());
}
