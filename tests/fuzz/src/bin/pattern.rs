//! Patterns, in the first line, against the text behind it: the initrd's device aliases, the builder's
//! archive paths and variables.
#![no_main]

use firstboot::initrd::glob;
use kiln::archive::pattern;
use kiln::definition::interpolate::interpolate;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (wanted, text) = text.split_once('\n').unwrap_or((text, ""));
    let literal = !wanted.contains(['*', '?', '[']);
    if literal {
        assert_eq!(glob::matches(wanted, text), wanted == text);
    }
    assert!(glob::matches("*", text));
    let _ = pattern::matches(wanted, text);
    let _ = interpolate(text, &[(wanted.to_owned(), String::new())].into());
});
