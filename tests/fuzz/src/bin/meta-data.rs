//! NoCloud's meta-data.
#![no_main]

use firstboot::facts::Facts;
use firstboot::platforms::nocloud;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut facts = Facts::default();
    if let Err(failure) = nocloud::facts(bytes, "fuzz", &mut facts) {
        assert!(failure.message.starts_with("fuzz: ") && facts == Facts::default());
    }
});
