//! A vendor's initrd: a cpio archive that a file is taken out of. No more is written than was read.
#![no_main]

use std::fs::File;

use kiln::format::cpio;
use kiln_fuzz::folder;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let folder = folder();
    let mut to = File::create(folder.path().join("file")).expect("the folder is the target's");
    if let Ok(true) = cpio::copy_file(&mut &bytes[..], "usr.squashfs", &mut to) {
        let length = to.metadata().expect("the file is open").len();
        assert!(length < bytes.len() as u64, "{length} bytes of {}", bytes.len());
    }
});
