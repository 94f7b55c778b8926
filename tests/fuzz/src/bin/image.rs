//! An image definition, with the layers of the checkout: it is refused with a message, or resolved.
#![no_main]

use kiln::registry;
use kiln_fuzz::{checkout, folder, write};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let folder = folder();
    let path = folder.path().join("image.toml");
    write(&path, text);
    if let Err(error) = registry::load(&path, &[], Some(&checkout("layers"))) {
        assert!(!error.message().is_empty());
    }
});
