//! A file of OpenPGP keys, armored or binary.
#![no_main]

use kiln::signature::Keys;
use kiln_fuzz::folder;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let folder = folder();
    match Keys::new(bytes, &[], folder.path()) {
        Ok(_) => {
            let written = std::fs::read(folder.path().join("keys.gpg")).expect("they were written");
            assert!(!written.is_empty(), "gpgv would take an empty file for no keys");
        }
        Err(error) => assert!(!error.message().is_empty()),
    }
});
