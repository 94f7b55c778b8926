//! What a registry of container images asks for: the header `WWW-Authenticate`.
#![no_main]

use kiln::fetch::token_address;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(header) = std::str::from_utf8(bytes) else { return };
    let url = "https://hub.invalid/v2/a/manifests/1".parse().expect("an address");
    assert!(token_address(header, &url).is_none_or(|address| address.scheme() == "https"));
});
