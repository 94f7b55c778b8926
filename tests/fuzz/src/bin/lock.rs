//! A lock: what is read can be written, and is read again as the same.
#![no_main]

use kiln::lock::Lock;
use kiln::lock::table::DigestTable;
use kiln_fuzz::{folder, write};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let folder = folder();
    let (path, again) = (folder.path().join("image.lock"), folder.path().join("again.lock"));
    write(&path, text);
    if let Ok(Some(lock)) = Lock::read(&path) {
        lock.write(&again).expect("what was read can be written");
        assert_eq!(Lock::read(&again).expect("what was written can be read"), Some(lock));
    }
    let _ = DigestTable::parse(text);
});
