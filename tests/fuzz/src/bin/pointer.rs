//! A ConfigPointer: what it accepts says where and what, and its URL is not shown whole.
#![no_main]

use firstboot::userdata::pointer::read;
use kiln_fuzz::TOKEN;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| match read(bytes) {
    Ok(Some(pointer)) => {
        assert!(pointer.has_digest() || pointer.signature.is_some());
        assert!(pointer.url.reveal().starts_with("http"));
        let shown = pointer.url.to_string();
        assert!(!shown.contains(['?', '#', '@']), "{shown}");
        if pointer.has_digest() {
            pointer.verify(bytes).unwrap_err();
        }
    }
    Ok(None) => {}
    Err(failure) => assert!(!failure.message.is_empty() && !format!("{failure:?}").contains(TOKEN)),
});
