//! A file that is said to hold a root file system: tar, OCI layout, partition table, ext4. What other
//! programs read (squashfs, qcow2) is left to them, but for the header of qcow2.
#![no_main]

use kiln::base::rootfs::{Source, check_qcow2_header, read};
use kiln::definition::plan::Arch;
use kiln::image_source;
use kiln::store::Store;
use kiln_fuzz::{folder, write};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = check_qcow2_header(bytes);
    let _ = image_source::blobs(bytes);
    let _ = image_source::choose(bytes, Arch::Amd64);
    let _ = image_source::named(bytes, "registry.k8s.io/pause:3.10");
    let _ = image_source::check_architecture(bytes, Arch::Amd64, "fuzz");
    if bytes.starts_with(b"QFI\xfb") || bytes.starts_with(b"hsqs") {
        return;
    }
    let folder = folder();
    let path = folder.path().join("rootfs");
    write(&path, bytes);
    let store = Store::open(&folder.path().join("store")).expect("the folder is the target's");
    let source =
        Source { path: &path, title: "fuzz", arch: Arch::Amd64, spool: folder.path(), store: &store };
    let _ = read(&source);
});
