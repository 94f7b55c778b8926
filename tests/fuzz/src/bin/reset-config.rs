//! A ResetConfiguration: what is accepted has one, and no message shows the token of a document beside it.
#![no_main]

use firstboot::config::reset::parse_reset;
use kiln_fuzz::TOKEN;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| match parse_reset(bytes) {
    Ok(reset) => {
        assert!(String::from_utf8_lossy(bytes).contains("ResetConfiguration") || bytes.contains(&b'\\'));
        assert!(!reset.warnings.concat().contains(TOKEN));
    }
    Err(failure) => assert!(!failure.message.is_empty() && !failure.message.contains(TOKEN)),
});
