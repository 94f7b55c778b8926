//! A pool of Hyper-V's pairs. What is read can be written, and read again.
#![no_main]

use firstboot::host::kvp;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let pairs = kvp::pairs(bytes);
    assert!(pairs.len() <= bytes.len() / kvp::RECORD);
    for pair in &pairs {
        let Ok(value) = std::str::from_utf8(&pair.value) else { continue };
        let Some(record) = kvp::record(&pair.key, value) else { continue };
        let again = kvp::pairs(&record);
        assert!(again.len() == 1 && again[0].key == pair.key && again[0].value == pair.value);
    }
    if let Ok(Some(value)) = kvp::joined(&pairs, "firstboot.config") {
        assert!(value.len() <= bytes.len());
    }
});
