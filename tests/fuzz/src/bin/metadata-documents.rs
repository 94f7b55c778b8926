//! Documents of metadata services: the first byte chooses the parser.
#![no_main]

use firstboot::error::ErrorKind;
use firstboot::facts::Facts;
use firstboot::platforms::documents::PARSERS;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((first, document)) = bytes.split_first() else { return };
    let (_, parse) = PARSERS[usize::from(*first) % PARSERS.len()];
    let mut facts = Facts::default();
    match parse(document, "http://m", &mut facts) {
        Ok(()) => {
            let texts = ["instance-id", "hostname", "region", "zone", "instance-type"];
            // Lower case may be longer.
            let is_bounded =
                |name: &&str| facts.text(name).is_none_or(|text| text.len() <= 2 * document.len() + 16);
            assert!(texts.iter().all(is_bounded));
        }
        Err(failure) => assert!(failure.kind == ErrorKind::Source && failure.message.starts_with("http://m")),
    }
});
