//! A structure of the firmware's tables with strings in it, and the credential that one of them may be.
#![no_main]

use firstboot::host::smbios;
use firstboot::locations::credential;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let strings = smbios::strings(bytes);
    assert!(strings.iter().all(|string| !string.is_empty() && !string.contains(&0)));
    assert!(strings.iter().map(Vec::len).sum::<usize>() <= bytes.len());
    if let Ok(Some(document)) = credential::of_strings(&strings) {
        assert!(document.bytes().len() <= bytes.len());
    }
});
