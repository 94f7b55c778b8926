//! A cloud-config, its commands included: what it carries, and that nothing that is said of it shows a token.
#![no_main]

use firstboot::userdata::cloud_config::read;
use kiln_fuzz::assert_carrier;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| assert_carrier(read, bytes));
