//! A message with parts, and parts within parts. Parts hold no more than the message.
#![no_main]

use firstboot::userdata::bounds::{Budget, CEILING};
use firstboot::userdata::mime::{Part, message};
use libfuzzer_sys::fuzz_target;

fn open(part: &Part, budget: &Budget, depth: usize) {
    assert!(part.content().len() <= part.with_line_break().len() && part.with_line_break().len() <= CEILING);
    if !part.is_multipart() || depth == 0 {
        return;
    }
    match part.parts(budget) {
        Ok(parts) => {
            let length: usize = parts.iter().map(|part| part.content().len()).sum();
            assert!(length <= part.content().len());
            parts.iter().for_each(|part| open(part, budget, depth - 1));
        }
        Err(failure) => assert!(!failure.message.is_empty()),
    }
}

fuzz_target!(|bytes: &[u8]| {
    let budget = Budget::default();
    if let Ok(message) = message(bytes, &budget) {
        open(&message, &budget, 3);
    }
});
