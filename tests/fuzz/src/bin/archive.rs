//! An archive as it arrives: packed or plain, tar, zip or Debian package.
#![no_main]

use kiln::archive;
use kiln::definition::plan::ArchiveRules;
use kiln_fuzz::{folder, write};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let folder = folder();
    let path = folder.path().join("archive");
    write(&path, bytes);
    let rules = ArchiveRules { strip: 0, pick: Vec::new(), into: String::new(), mode: None };
    let _ = archive::extract(&path, &rules, "fuzz", folder.path());
});
