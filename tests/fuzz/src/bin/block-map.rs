//! A block map beside an image, with its own checksum as it is and made right.
#![no_main]

use firstboot::install::map::{Map, sealed};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    if let Some(bytes) = std::str::from_utf8(bytes).ok().and_then(sealed) {
        check(&bytes);
    }
});

fn check(bytes: &[u8]) {
    let Ok(map) = Map::parse(bytes) else { return };
    let mut end = 0;
    for range in &map.ranges {
        assert!(end <= range.start && range.start < range.end && range.end <= map.size);
        assert!(range.len() <= 64 << 20);
        end = range.end;
    }
    assert!(map.mapped() <= map.size);
}
