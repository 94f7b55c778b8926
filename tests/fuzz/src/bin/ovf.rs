//! An OVF environment.
#![no_main]

use firstboot::platforms::format::ovf;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| match ovf::parse(bytes, "fuzz") {
    Ok(environment) => {
        // An attribute is never longer than its text: there are no entities.
        let length = environment.user_data.map_or(0, |document| document.bytes().len());
        assert!(length + environment.hostname.map_or(0, |text| text.len()) <= bytes.len());
    }
    Err(failure) => assert!(failure.message.starts_with("fuzz: ") && failure.message.len() < 100),
});
