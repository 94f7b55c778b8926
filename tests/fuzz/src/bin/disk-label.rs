//! The head of a block device on which a NoCloud file system is looked for.
#![no_main]

use firstboot::evidence::labels;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some((file_system, label)) = labels::read(bytes) {
        assert!(!file_system.name().is_empty() && label.len() <= 255);
    }
});
