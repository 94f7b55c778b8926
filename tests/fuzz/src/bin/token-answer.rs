//! What a server answers that was asked for a token: errors do not repeat it.
#![no_main]

use std::time::{Duration, SystemTime};

use firstboot::join::token_from::parse;
use libfuzzer_sys::fuzz_target;

/// The secret in the seeds.
const CANARY: &str = "canarycanarycana";

fuzz_target!(
    |bytes: &[u8]| match parse(bytes, SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)) {
        Ok(given) => {
            assert_eq!(given.token.bearer().len(), 23);
            assert!(
                given.pins.iter().all(|pin| pin.len() == 64)
                    && !format!("{given:?}").contains(given.token.secret())
            );
        }
        Err(failure) => assert!(!failure.message.contains(CANARY)),
    }
);
