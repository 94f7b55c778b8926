//! A template: what has no value is marked, and every mark is found again.
#![no_main]

use firstboot::userdata::bounds::Budget;
use firstboot::userdata::jinja::{check, render};
use kiln_fuzz::{TOKEN, names};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match render(text, &names, &Budget::default()) {
        Ok(rendered) => {
            assert!(std::str::from_utf8(&rendered.text).is_ok());
            assert_eq!(check(&rendered.text, &rendered.missing).is_err(), !rendered.missing.is_empty());
            assert!(!format!("{:?}", rendered.missing).contains(TOKEN));
        }
        Err(failure) => assert!(!failure.message.is_empty() && !format!("{failure:?}").contains(TOKEN)),
    }
});
