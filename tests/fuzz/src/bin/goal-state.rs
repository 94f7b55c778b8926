//! The goal state of Azure's wireserver, which anyone on the link may send: identifiers that are repeated in
//! another document.
#![no_main]

use firstboot::platforms::azure::report::goal_state;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(goal) = goal_state(bytes) {
        for text in [&goal.incarnation, &goal.container, &goal.instance] {
            assert!((1..=256).contains(&text.len()) && !text.contains(['<', '>', '&', '"']));
        }
    }
});
