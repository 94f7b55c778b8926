//! A kernel command line: its words, what `ds=nocloud` says, variables in a URL, a config inside it.
#![no_main]

use firstboot::document::Document;
use firstboot::error::{ErrorKind, Failure};
use firstboot::evidence::CommandLine;
use firstboot::evidence::seed::Seed;
use firstboot::locations::{inline, variables};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|line: &str| {
    let words = CommandLine::parse(line);
    assert!(words.words().iter().all(|word| !word.is_empty() && word != "--"));
    for seed in words.words().iter().filter_map(|word| Seed::parse(word)) {
        assert!(
            [seed.url, seed.hostname, seed.instance_id]
                .iter()
                .flatten()
                .all(|text| !text.is_empty() && !text.contains(char::is_control))
        );
    }
    let value = |name: &str| match name {
        "mac" => Ok("a b/?#%".to_owned()),
        _ => Err(Failure::new(ErrorKind::Source, "no such variable")),
    };
    if let Ok(url) = variables::expand(line, "${", "}", &value) {
        assert_eq!(url, line.replace("${mac}", "a%20b%2F%3F%23%25"));
    }
    let _ = variables::expand(line, "__dmi.", "__", &value);
    if let Some(document) =
        words.value(inline::ARGUMENT).and_then(|text| Document::from_base64(text.as_bytes()))
    {
        assert!(document.bytes().len() <= line.len());
    }
});
