//! The index of a mirror: what is read is written as it was, and no path leads out of the folder.
#![no_main]

use kiln::mirror::index::{Index, text_within};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Some(text) = text_within(text) else { return };
    if let Ok(index) = Index::parse(text) {
        assert_eq!(index.render().trim_end(), text.trim_end());
        assert!(
            index
                .files
                .keys()
                .all(|path| !path.starts_with('/') && !path.split('/').any(|part| part == ".."))
        );
    }
});
