//! An answer of a server.
#![no_main]

use firstboot::net::read_answer;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok((status, body)) = read_answer(bytes) {
        assert!((100..1000).contains(&status) && body.len() <= bytes.len());
    }
});
