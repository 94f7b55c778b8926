//! A block device on which a NoCloud file system is looked for.
#![no_main]

use firstboot::evidence::labels;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let read_at = |offset: u64, length: usize| {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        bytes[start..bytes.len().min(start.saturating_add(length))].to_vec()
    };
    if let Some((file_system, labels)) = labels::read(&read_at) {
        assert!(!file_system.name().is_empty() && labels.iter().all(|label| label.len() <= 255));
    }
});
