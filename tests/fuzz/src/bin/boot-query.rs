//! What iPXE says of its machine: no identity leads out of the folder of configs, or says something to iPXE.
#![no_main]

use kiln::serve::Identity;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|query: &str| {
    let Ok(identity) = Identity::parse(query) else { return };
    for name in identity.file_names() {
        assert!(!name.starts_with('.') && !name.is_empty());
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte)));
    }
    if let Some(serial) = identity.serial {
        assert!(serial.chars().count() <= 64 && !serial.chars().any(char::is_control));
    }
});
