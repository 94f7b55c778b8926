//! An archive that is said to hold a container image to preload, as docker save or an OCI layout. What is
//! read has the files that its manifest names.
#![no_main]

use kiln::definition::plan::{Arch, Location, PreloadPlan};
use kiln::final_layer::preload;
use kiln::image_source::blobs;
use kiln::store::Store;
use kiln::tree::Tree;
use kiln_fuzz::folder;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let folder = folder();
    let store = Store::open(&folder.path().join("store")).expect("the folder is the target's");
    let (sha256, _) = store.insert(&mut &*bytes, None).expect("the folder is the target's");
    let from = Location { written: "x.tar".to_owned(), address: "file:///x.tar".to_owned() };
    let image = PreloadPlan { reference: "a.example/b:1".to_owned(), from, sha256: Some(sha256) };
    let mut tree = Tree::default();
    if preload(&mut tree, (&[image], Arch::Amd64), &[], &store, folder.path()).is_err() {
        return;
    }
    let file = |path: &str| tree.file(&format!("usr/lib/kiln/preload/{path}"));
    let lines = file("images").and_then(|body| body.read().ok()).expect("it is a text in memory");
    let line = String::from_utf8(lines).expect("a digest and a name");
    let (digest, name) = line.trim_end().split_once(' ').expect("a digest and a name");
    assert_eq!(name, "a.example/b:1");
    let manifest = file(&format!("blobs/sha256/{digest}")).and_then(|body| body.read().ok());
    let named = blobs(&manifest.expect("the manifest is there")).expect("it was read");
    assert!(
        named
            .iter()
            .all(|(blob, _)| file(&format!("blobs/sha256/{}", blob.sha256.hex())).is_some())
    );
});
