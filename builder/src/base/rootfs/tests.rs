//! Small roots in every kind of container.

use std::fs;

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
    read(&path, "vendor's file", folder.path()).map(inline)
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
    let tree = read(&path, "vendor's file", folder.path()).unwrap();
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
