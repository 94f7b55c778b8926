//! The `.inf` file of a driver. What is taken of it becomes keys, a file's name and identifiers.
#![no_main]

use kiln::format::inf::Package;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(package) = Package::read(bytes, "amd64", 20348) else { return };
    for service in &package.services {
        for name in [&service.name, &service.file, &service.configuration] {
            assert!(!name.contains(['\\', '/', ':', '\0']) && !name.starts_with('.'), "{name:?}");
        }
    }
    assert!(package.devices.iter().all(|device| device.id.is_ascii() && device.id.len() <= 200));
});
