//! A kernel command line.
#![no_main]

use std::time::Duration;

use firstboot::initrd::arguments;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|line: &str| {
    let arguments = arguments::parse(line);
    assert!(arguments.init.starts_with('/'));
    assert!(arguments.timeout <= Duration::from_secs(3600));
    assert!(arguments.root.is_none_or(|root| !root.is_empty()));
});
