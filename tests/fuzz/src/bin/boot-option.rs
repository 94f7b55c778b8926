//! A boot option of the firmware: the disk that it names.
#![no_main]

use firstboot::initrd::boot_option;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let disk = boot_option::disk(bytes);
    assert!(disk.is_none_or(|location| location.controller.len() < bytes.len()));
    let _ = boot_option::number(bytes);
});
