//! Versions of packages, one a line: their order has no holes.
#![no_main]

use std::cmp::Ordering;

use kiln::base::versions::compare;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let versions: Vec<&str> = text.lines().take(8).collect();
    for a in &versions {
        for b in &versions {
            assert_eq!(compare(a, b), compare(b, a).reverse());
            for c in &versions {
                if compare(a, b) != Ordering::Greater && compare(b, c) != Ordering::Greater {
                    assert_ne!(compare(a, c), Ordering::Greater);
                }
            }
        }
    }
});
