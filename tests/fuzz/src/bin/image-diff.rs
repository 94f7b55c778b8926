//! Two finished images, of which the first byte says where one ends: what kiln verify and kiln diff read, and
//! every check and rule on it. What other programs read (squashfs, qcow2) is left to them.
#![no_main]

use kiln::base::rootfs::{Installed, Source, read_installed};
use kiln::compare::{Side, compare, page};
use kiln::definition::plan::Arch;
use kiln::size_map::{Folder, SizeMap, svg};
use kiln::store::Store;
use kiln::verify::{Subject, cis, verify};
use kiln_fuzz::{folder, write};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((&part, bytes)) = bytes.split_first() else { return };
    let (one, other) = bytes.split_at(bytes.len() * usize::from(part) / 256);
    let folders = [folder(), folder()];
    let mut sides = Vec::new();
    for (bytes, folder) in [one, other].into_iter().zip(&folders) {
        if bytes.starts_with(b"QFI\xfb") || bytes.starts_with(b"hsqs") {
            return;
        }
        let path = folder.path().join("image");
        write(&path, bytes);
        let store = Store::open(&folder.path().join("store")).expect("the folder is the target's");
        let source =
            Source { path: &path, title: "fuzz", arch: Arch::Amd64, spool: folder.path(), store: &store };
        let Ok(Installed { tree, .. }) = read_installed(&source) else { return };
        let subject = Subject::new(tree, Arch::Amd64);
        let _ = verify(&subject, &[]);
        let counts = cis::Counts::of(&cis::answers(&subject, &[]));
        assert_eq!(counts.passed + counts.findings + counts.exempt + counts.not_checked, cis::ids().count());
        let root = Some(Folder::of(&subject.tree));
        let _ = svg(&SizeMap { title: "fuzz".to_owned(), layers: Vec::new(), root });
        sides.push(Side::of_image("fuzz".to_owned(), subject).expect("the files are in memory"));
    }
    let (Some(new), Some(old)) = (sides.pop(), sides.pop()) else { return };
    let difference = compare(old, new).expect("the files are in memory");
    assert!(!page(&difference).contains("<script") && !difference.to_string().is_empty());
});
