//! gzip, zstd and base64, by the first byte: within the ceiling, and nothing of it is lost on the way. UTF-16
//! becomes UTF-8.
#![no_main]

use firstboot::userdata::bounds::{Budget, CEILING};
use firstboot::userdata::{kind, unpack};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, bytes)) = bytes.split_first() else { return };
    let unpack = [unpack::gzip, unpack::zstd, unpack::base64][usize::from(*choice) % 3];
    let budget = Budget::default();
    kind(bytes);
    if let Ok(text) = unpack::utf16(bytes, &Budget::default()) {
        assert!(text.len() <= CEILING && std::str::from_utf8(&text).is_ok());
    }
    match unpack(bytes, &budget) {
        Ok(unpacked) => {
            assert!(unpacked.len() <= CEILING);
            let longer = [bytes, b"x!"].concat();
            assert!(unpack(&longer, &Budget::default()).is_err(), "something behind it was not noticed");
        }
        Err(failure) => assert!(!failure.message.is_empty()),
    }
});
