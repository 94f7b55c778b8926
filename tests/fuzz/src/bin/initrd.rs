//! The initrd of a vendor's release, unpacked: a cpio archive.
#![no_main]

use kiln::base::flatcar::find_in_initrd;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut file = tempfile::tempfile_in("/dev/shm").or_else(|_| tempfile::tempfile()).expect("a file");
    if find_in_initrd(&mut &bytes[..], "usr.squashfs", &mut file).is_ok_and(|found| found) {
        let length = file.metadata().expect("an open file").len();
        assert!(length <= bytes.len() as u64, "bytes that nobody wrote");
    }
});
