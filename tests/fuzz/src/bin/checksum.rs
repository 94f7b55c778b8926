//! A checksum file: its first line is the name that is looked for.
#![no_main]

use kiln::fetch::checksum;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let name = String::from_utf8_lossy(&bytes[..end]);
    let document = bytes.get(end + 1..).unwrap_or_default();
    match checksum::find(document, &name) {
        Ok(expected) => {
            let digits = expected.to_string().split(':').next_back().unwrap_or_default().to_owned();
            let text = String::from_utf8_lossy(document).to_ascii_lowercase();
            assert!(text.contains(&digits), "a digest that nobody wrote");
        }
        Err(error) => assert!(!error.message().is_empty()),
    }
});
