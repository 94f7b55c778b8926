//! An answer of an API server, and one without TLS.
#![no_main]

use firstboot::api::{plain, read_answer};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok((status, body)) = read_answer(bytes) {
        assert!((100..1000).contains(&status) && body.len() <= bytes.len());
    }
    if let Ok(answer) = plain::parse(bytes) {
        assert!(answer.body.len() <= bytes.len());
    }
});
