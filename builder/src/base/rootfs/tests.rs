//! Small roots in every kind of container.

use std::fs::{self, File};

use super::*;
use crate::format::squashfs::{self, Compressor};
use crate::layer::write::write_tar;
use crate::process::tool;
use crate::tree::{Body, Entry};

/// The head of an ELF program for x86-64.
const PROGRAM: &[u8] = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0rest";

/// The least that a root needs, and one of everything that a container must keep.
fn root() -> Tree {
    let file = |text: &str, mode| Entry::file(Body::inline(text.as_bytes()), mode);
    let mut tree = Tree::default();
    tree.insert("usr/lib/os-release", file("ID=demo\nVERSION_ID=\"9\"\n", 0o644));
    tree.insert("usr/lib/systemd/systemd", Entry::file(Body::inline(PROGRAM), 0o755));
    for name in ["bin", "lib", "sbin"] {
        tree.insert(name, Entry::symlink(format!("usr/{name}")));
    }
    tree.insert("usr/bin/su", file("su", 0o4755));
    tree.insert("usr/bin/mail", Entry { gid: 8, ..file("mail", 0o2755) });
    let mut ping = file("ping", 0o755);
    ping.xattrs
        .insert("security.capability".into(), b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec());
    tree.insert("usr/bin/ping", ping);
    tree.insert("etc/os-release", Entry::symlink("../usr/lib/os-release"));
    tree.insert("var/lib/dpkg/status", file("Package: su\nStatus: install ok installed\nVersion: 1:2\nArchitecture: amd64\nSource: shadow (2)\n\nPackage: gone\nStatus: deinstall ok config-files\nVersion: 1\n", 0o644));
    tree.insert("srv", Entry { uid: 1000, gid: 1000, ..Entry::directory(0o1777) });
    tree.complete();
    tree
}

/// The tar of a tree.
fn tar(tree: &Tree) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_tar(tree, 0, &mut bytes).unwrap();
    bytes
}

/// Contents as bytes, so that trees of different files can be compared.
fn inline(tree: Tree) -> Tree {
    let entries = tree.entries.into_iter().map(|(path, mut entry)| {
        if let crate::tree::Node::File(body) = &entry.node {
            entry.node = crate::tree::Node::File(Body::inline(body.read().unwrap()));
        }
        (path, entry)
    });
    Tree { entries: entries.collect() }
}

/// The tree that is read from these bytes, as it is.
fn read_bytes(bytes: &[u8]) -> Result<Tree> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rootfs");
    fs::write(&path, bytes).unwrap();
    read_file(&path, folder.path()).map(inline)
}

/// The tree in a file. It refers to files in `folder`.
fn read_file(path: &Path, folder: &Path) -> Result<Tree> {
    let store = Store::open(&folder.join("store")).unwrap();
    read(&Source { path, title: "vendor's file", arch: Arch::Amd64, spool: folder, store: &store })
}

#[test]
fn a_tar_gives_its_tree_however_it_is_compressed() {
    let (root, plain) = (root(), tar(&root()));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &plain).unwrap();
    let mut xz = Vec::new();
    liblzma::copy_encode(&plain[..], &mut xz, 1).unwrap();
    let zstd = zstd::encode_all(&plain[..], 1).unwrap();
    for bytes in [plain, gzip.finish().unwrap(), xz, zstd] {
        assert_eq!(read_bytes(&bytes).unwrap().entries, root.entries);
    }
}

#[test]
fn a_squashfs_gives_its_tree() {
    if tool("sqfs2tar").arg("--version").output().is_err() {
        return testkit::not_run("a_squashfs_gives_its_tree", "sqfs2tar is not installed");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("root.squashfs");
    squashfs::write(&root(), 0, Compressor::Gzip, &path).unwrap();
    let tree = read_file(&path, folder.path()).unwrap();
    assert_eq!(inline(tree).entries, root().entries);
}

#[test]
fn the_sbom_has_the_packages_that_dpkg_says() {
    let found = installed::components("9", &root());
    let purls: Vec<&str> = found.iter().map(|component| component.purl.as_str()).collect();
    assert_eq!(purls, ["pkg:deb/demo/su@1:2?arch=amd64&distro=demo-9&upstream=shadow"]);
    let needs = ["su".to_owned(), "gone".to_owned()];
    assert_eq!(installed::missing(&root(), &needs), ["gone"]);
    assert!(installed::missing(&Tree::default(), &needs).is_empty(), "without a database nothing is known");
}

/// The parts of an OCI layout by their names: one image of these layers.
fn layout(layers: &[Vec<u8>]) -> Tree {
    let mut tree = Tree::default();
    let mut add = |bytes: &[u8], media_type: &str| {
        let digest = Digest::of(bytes);
        tree.insert(image_source::blob_path(&digest), Entry::file(Body::inline(bytes), 0o644));
        serde_json::json!({ "mediaType": media_type, "digest": digest.to_string(), "size": bytes.len() })
    };
    let config = br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;
    let config = add(config, "application/vnd.oci.image.config.v1+json");
    let layers: Vec<_> =
        layers.iter().map(|layer| add(layer, "application/vnd.oci.image.layer.v1.tar")).collect();
    let manifest = serde_json::json!({ "schemaVersion": 2, "config": config, "layers": layers });
    let manifest = add(manifest.to_string().as_bytes(), "application/vnd.oci.image.manifest.v1+json");
    let index = serde_json::json!({ "schemaVersion": 2, "manifests": [manifest] }).to_string();
    tree.insert("oci-layout", Entry::file(Body::inline(*br#"{"imageLayoutVersion":"1.0.0"}"#), 0o644));
    tree.insert("index.json", Entry::file(Body::inline(index.into_bytes()), 0o644));
    tree.complete();
    tree
}

/// A layer of these files.
fn layer(files: &[(&str, &str)]) -> Vec<u8> {
    let mut tree = Tree::default();
    for (path, text) in files {
        tree.insert(*path, Entry::file(Body::inline(text.as_bytes()), 0o644));
    }
    tree.complete();
    tar(&tree)
}

/// Puts a tree into a folder.
fn lay_out(tree: &Tree, folder: &Path) {
    for (path, entry) in &tree.entries {
        match &entry.node {
            crate::tree::Node::File(body) => fs::write(folder.join(path), body.read().unwrap()).unwrap(),
            _ => fs::create_dir_all(folder.join(path)).unwrap(),
        }
    }
}

#[test]
fn an_oci_layout_gives_what_its_layers_leave() {
    let below = layer(&[("etc/a", "1"), ("etc/gone", "1"), ("opt/x/y", "1"), ("opt/z", "1"), ("srv/f", "1")]);
    let above = layer(&[
        ("etc/a", "2"),
        ("etc/.wh.gone", ""),
        ("opt/.wh..wh..opq", ""),
        ("opt/n", "2"),
        ("srv/f/g", "2"),
    ]);
    let tree = read_bytes(&tar(&layout(&[below, above]))).unwrap();
    let files: Vec<(&str, Vec<u8>)> = tree
        .entries
        .keys()
        .filter_map(|path| Some((path.as_str(), tree.file(path)?.read().ok()?)))
        .collect();
    let expected = [("etc/a", "2"), ("opt/n", "2"), ("srv/f/g", "2")];
    assert_eq!(files, expected.map(|(path, text)| (path, text.as_bytes().to_vec())));
}

#[test]
fn a_layout_folder_is_pinned_by_its_manifest_and_read_out_of_the_store() {
    let folder = tempfile::tempdir().unwrap();
    lay_out(&layout(&[tar(&root())]), folder.path());
    let Pins { manifest, blobs } = Pins::of_layout(folder.path(), None, Arch::Amd64, "x").unwrap();
    assert_eq!(blobs.len(), 2);
    let store = Store::open(&folder.path().join("store")).unwrap();
    for blob in blobs.iter().chain([&manifest]) {
        let mut file = File::open(folder.path().join(image_source::blob_path(&blob.sha256))).unwrap();
        store.insert(&mut file, Some(&blob.sha256)).unwrap();
    }
    let path = store.verified(&manifest.sha256).unwrap();
    assert_eq!(inline(read_file(&path, folder.path()).unwrap()).entries, root().entries);
    assert!(Pins::of_layout(folder.path(), None, Arch::Amd64, "x").is_ok());
    fs::write(folder.path().join(image_source::blob_path(&manifest.sha256)), "{}").unwrap();
    assert!(
        Pins::of_layout(folder.path(), None, Arch::Amd64, "x")
            .unwrap_err()
            .message()
            .contains("not what its name says")
    );
}

#[path = "hostile_tests.rs"]
mod hostile;
