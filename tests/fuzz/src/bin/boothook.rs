//! The script by which Cluster API's provider for AWS delivers user data: what it names can be asked for.
#![no_main]

use firstboot::platforms::documents::boothook;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(names) = boothook(bytes) else { return };
    let is_name = |name: &String| {
        name.len() <= 520
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/_+=.@-".contains(&byte))
    };
    assert!(names.len() <= 256 && names.iter().all(is_name));
});
