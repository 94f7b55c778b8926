//! A node config: JoinConfiguration and what may stand behind it. No message may show the token.
#![no_main]

use firstboot::config::{HostDefaults, parse};
use kiln_fuzz::TOKEN;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let host = HostDefaults { hostname: "node".to_owned() };
    match parse(bytes, &host) {
        Ok(config) => {
            assert!(!config.node_name().is_empty());
            assert_eq!(config.fingerprint(b""), config.fingerprint(b""));
            assert!(!format!("{config:?}").contains(TOKEN));
        }
        Err(failure) => assert!(!failure.message.is_empty() && !failure.message.contains(TOKEN)),
    }
});
