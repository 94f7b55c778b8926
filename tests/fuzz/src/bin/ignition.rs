//! An Ignition config of spec 2 or 3, the scripts of its units included: what it carries, and that nothing
//! that is said of it shows a token.
#![no_main]

use firstboot::userdata::ignition::read;
use kiln_fuzz::assert_carrier;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    assert_carrier(|bytes, budget| read(bytes, budget, &|_| Ok(None)), bytes);
});
