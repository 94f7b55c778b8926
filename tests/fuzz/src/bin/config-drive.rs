//! The documents of a config drive.
#![no_main]

use firstboot::facts::Facts;
use firstboot::platforms::format::config_drive as drive;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut facts = Facts::default();
    let failures = [
        drive::meta_data(bytes, "fuzz", &mut facts).err(),
        drive::network_data(bytes, "fuzz").err(),
        drive::ec2_meta_data(bytes, "fuzz", &mut facts).err(),
    ];
    // What is wrong is not repeated: its message is short whatever the input.
    assert!(
        failures
            .iter()
            .flatten()
            .all(|failure| failure.message.starts_with("fuzz: ") && failure.message.len() < 100)
    );
});
