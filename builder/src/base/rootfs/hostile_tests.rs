//! Hostile and broken roots: each is refused, and the message says why.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use super::*;
use crate::archive::tests::raw::{Raw, bzip2, gzip, xz};
use crate::format::gpt::{Layout, Request as PartitionRequest};
use crate::process::Run;
use crate::size::MIB;
use uuid::Uuid;

/// What a whole image refuses: reading, then the checks.
fn refused(bytes: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rootfs");
    fs::write(&path, bytes).unwrap();
    refused_file(&path, folder.path())
}

fn refused_file(path: &Path, folder: &Path) -> String {
    let tree = read_file(path, folder)
        .and_then(|tree| checks::check(&tree, Arch::Amd64, "vendor's file").map(|()| inline(tree)));
    tree.map(|tree| tree.entries.len()).unwrap_err().to_string()
}

/// Compares every refusal with what it must say, and shows all that differ.
fn compare(cases: Vec<(&str, String, &str)>) {
    let wrong: Vec<String> = cases
        .iter()
        .filter(|(_, said, wanted)| !said.contains(wanted))
        .map(|(name, said, wanted)| format!("{name}: \"{wanted}\" is not in: {said}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn half(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.len() / 2);
    bytes
}

fn changed(change: impl FnOnce(&mut Tree)) -> Vec<u8> {
    let mut tree = root();
    change(&mut tree);
    tar(&tree)
}

fn program(machine: u8) -> Entry {
    let mut head = PROGRAM.to_vec();
    head[18] = machine;
    Entry::file(Body::inline(head), 0o755)
}

#[test]
fn hostile_archives_and_unfit_roots_are_refused_by_name() {
    const SYSTEMD: &str = "usr/lib/systemd/systemd";
    let whole = tar(&root());
    let raw = Raw::default;
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("nothing", Vec::new(), "it is empty"),
        ("a zip", b"PK\x03\x04".to_vec(), "it is a zip file"),
        ("a web page", b"<html>".to_vec(), "it looks like a web page"),
        ("a VMDK", b"KDMV\x01\0\0\0".to_vec(), "it is a VMDK disk"),
        ("a VHDX", b"vhdxfile".to_vec(), "it is a VHDX disk"),
        ("a dynamic VHD", b"conectix\0\0\0\x02".to_vec(), "it is a dynamic or differencing VHD"),
        ("noise", vec![0xa5; 5000], "its first bytes are unknown"),
        ("a cut tar", whole[..whole.len() / 2 / 512 * 512].to_vec(), "it was cut off"),
        ("a cut bzip2", half(bzip2(&whole)), "it cannot be unpacked"),
        ("a cut gzip", half(gzip(&whole)), "it cannot be unpacked"),
        ("a cut xz", half(xz(&whole)), "it cannot be unpacked"),
        ("a bomb", gzip(&vec![0; 65 << 20]), "it looks like a decompression bomb"),
        ("a device", raw().honest("var/null", b'3', "", b"").end(), "it is a device node"),
        ("a pipe", raw().honest("var/pipe", b'6', "", b"").end(), "it is a named pipe"),
        ("an absolute name", raw().file("/etc/passwd", b"x").end(), "its path is absolute"),
        ("a name that leads out", raw().file("a/../../b", b"x").end(), "its path contains \"..\""),
        ("a name twice", raw().file("a", b"1").file("a", b"2").end(), "it is in the archive twice"),
        (
            "a link out",
            raw().symlink("etc/x", "../../../etc/shadow").end(),
            "which lies outside of the archive",
        ),
        (
            "a file behind a link",
            raw().symlink("l", "/etc").file("l/x", b"x").end(),
            "it lies below \"l\", which is a link",
        ),
        ("a hard link out", raw().hardlink("a", "../../etc/shadow").end(), "contains \"..\""),
        ("a hard link to nothing", raw().hardlink("a", "b").end(), "is not in the archive before it"),
        ("a sparse file", raw().honest("a", b'S', "", b"").end(), "it is a sparse file"),
        (
            "an absurd size",
            raw().member(b"a", b'0', "77777777777\0", b"", b"").end(),
            "but the archive ends after",
        ),
        (
            "a path for all",
            raw().honest("g", b'g', "", b"9 path=a\n").file("b", b"").end(),
            "for all members",
        ),
        ("no os-release", changed(|tree| tree.remove("usr/lib/os-release")), "it has no os-release"),
        ("no systemd", changed(|tree| tree.remove(SYSTEMD)), "it has no systemd"),
        (
            "a script as systemd",
            changed(|tree| drop(tree.insert(SYSTEMD, Entry::file(Body::inline(*b"#!/bin/sh"), 0o755)))),
            "is no program",
        ),
        (
            "another architecture",
            changed(|tree| drop(tree.insert(SYSTEMD, program(183)))),
            "systemd is for arm64, the image is for amd64",
        ),
        (
            "a strange architecture",
            changed(|tree| drop(tree.insert(SYSTEMD, program(243)))),
            "another machine (243)",
        ),
        (
            "/bin apart",
            changed(|tree| {
                tree.remove("bin");
                tree.insert("bin", Entry::directory(0o755));
            }),
            "/bin is a folder, not a link into /usr",
        ),
    ];
    assert!(cases.len() >= 29);
    compare(cases.into_iter().map(|(name, bytes, wanted)| (name, refused(&bytes), wanted)).collect());
}

#[test]
fn what_lies_where_the_running_system_mounts_is_left_out() {
    let raw = Raw::default()
        .folder("dev")
        .honest("dev/null", b'3', "", b"")
        .honest("run/x", b'6', "", b"");
    let tree = read_bytes(&raw.file("tmp/x", b"1").file("a", b"1").end()).unwrap();
    assert_eq!(tree.entries.keys().collect::<Vec<_>>(), ["a", "dev"]);
}

#[test]
fn broken_oci_images_are_refused_by_name() {
    let edit = |name: &str, from: &str, to: &str| {
        let mut tree = layout(&[tar(&root())]);
        let text = String::from_utf8(tree.file(name).unwrap().read().unwrap()).unwrap();
        assert!(text.contains(from), "{name}: {text}");
        tree.insert(name, Entry::file(Body::inline(text.replace(from, to).into_bytes()), 0o644));
        tar(&tree)
    };
    /// An image whose manifest is this text.
    fn of_manifest(manifest: &str) -> Vec<u8> {
        let mut tree = Tree::default();
        let digest = Digest::of(manifest.as_bytes());
        tree.insert(image_source::blob_path(&digest), Entry::file(Body::inline(manifest.as_bytes()), 0o644));
        let index = serde_json::json!({ "schemaVersion": 2, "manifests": [
            { "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest.to_string(), "size": manifest.len() }
        ] });
        tree.insert("index.json", Entry::file(Body::inline(index.to_string().into_bytes()), 0o644));
        tree.insert("oci-layout", Entry::file(Body::inline(*b"{}"), 0o644));
        tree.complete();
        tar(&tree)
    }
    let descriptor = |digest: &str| {
        format!(r#"{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{digest}","size":2}}"#)
    };
    let sha256 = format!("sha256:{}", "0".repeat(64));
    let manifest =
        |layer: &str| format!(r#"{{"schemaVersion":2,"config":{},"layers":[{layer}]}}"#, descriptor(&sha256));
    let layer = |kind: &str, digest: &str| {
        descriptor(digest).replace("application/vnd.oci.image.config.v1+json", kind)
    };
    let tar_kind = "application/vnd.oci.image.layer.v1.tar";
    let link = {
        let mut tree = Tree::default();
        tree.insert("etc/x", Entry::symlink("/usr"));
        tree.complete();
        tar(&tree)
    };
    let many = vec![layer(tar_kind, &sha256); 129].join(",");
    compare(vec![
        ("an index that is no JSON", refused(&edit("index.json", "{", "[")), "its index"),
        (
            "no image",
            refused(&edit("index.json", "\"manifests\":[{", "\"manifests\":[],\"x\":[{")),
            "it has no image for amd64",
        ),
        (
            "another architecture",
            refused(&edit(
                "index.json",
                "\"size\":",
                "\"platform\":{\"os\":\"linux\",\"architecture\":\"arm64\"},\"size\":",
            )),
            "it has no image for amd64",
        ),
        (
            "another digest",
            refused(&of_manifest(&manifest(&layer(tar_kind, &format!("sha512:{}", "0".repeat(128)))))),
            "is no SHA-256",
        ),
        ("a manifest that is no JSON", refused(&of_manifest("no JSON")), "its manifest"),
        (
            "a missing layer",
            refused(&of_manifest(&manifest(&layer(tar_kind, &sha256)))),
            "it lacks blobs/sha256/0000",
        ),
        (
            "an unknown layer",
            refused(&of_manifest(&manifest(&layer("application/vnd.x.encrypted", &sha256)))),
            "are not known",
        ),
        ("too many layers", refused(&of_manifest(&manifest(&many))), "more than 128 layers"),
        (
            "a layer behind a link",
            refused(&tar(&layout(&[
                link,
                tar(&{
                    let mut tree = Tree::default();
                    tree.insert("etc/x/y", Entry::file(Body::inline(*b"x"), 0o644));
                    tree
                }),
            ]))),
            "lies below \"etc/x\", which is no folder",
        ),
        (
            "a folder of something else",
            {
                let folder = tempfile::tempdir().unwrap();
                Pins::of_layout(folder.path(), None, Arch::Amd64, "x").unwrap_err().to_string()
            },
            "no OCI layout",
        ),
    ]);
}

/// A disk with these partitions (MiB), and a file to change it.
fn disk(path: &Path, sizes: &[u64]) -> (Layout, File) {
    let kind = contract::partition_type::ROOT_AMD64;
    let request = |(index, size): (usize, &u64)| PartitionRequest {
        label: "x",
        kind,
        guid: Uuid::from_u128(index as u128 + 1),
        size: size * MIB,
        flags: 0,
    };
    let layout = Layout::new(Uuid::from_u128(7), 512, sizes.iter().enumerate().map(request).collect());
    let mut file = File::options().read(true).write(true).create(true).truncate(true).open(path).unwrap();
    file.set_len(layout.size).unwrap();
    layout.write(&mut file).unwrap();
    (layout, file)
}

/// An ext4 in the partition `number` (from 0) with the folders of a root.
fn make_root(path: &Path, layout: &Layout, number: usize, folder: &Path) {
    let tree = folder.join("tree");
    for name in ["usr/lib", "etc", "var"] {
        fs::create_dir_all(tree.join(name)).unwrap();
    }
    fs::write(tree.join("etc/file"), "text\n".repeat(2000)).unwrap();
    let place = &layout.partitions[number];
    let mut command = tool("mke2fs");
    command
        .args(["-q", "-F", "-t", "ext4", "-O", "^metadata_csum,^orphan_file", "-d"])
        .arg(&tree);
    command
        .arg("-E")
        .arg(format!("offset={}", place.offset))
        .arg(path)
        .arg(format!("{}k", place.size / 1024));
    command.run("e2fsprogs").unwrap();
}

/// Runs debugfs' command on a partition.
fn debugfs(path: &Path, layout: &Layout, command: &str) {
    let place = format!("{}?offset={}", path.display(), layout.partitions[0].offset);
    Command::new("debugfs").args(["-w", "-R", command, &place]).output().unwrap();
}

#[test]
fn broken_disks_are_refused_by_name() {
    if tool("mke2fs").arg("-V").output().is_err() || tool("debugfs").arg("-V").output().is_err() {
        return testkit::not_run("broken_disks_are_refused_by_name", "no e2fsprogs");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk.raw");
    let with = |sizes: &[u64], change: &dyn Fn(&Layout, &File)| {
        let (layout, file) = disk(&path, sizes);
        change(&layout, &file);
        refused_file(&path, folder.path())
    };
    let rooted = |change: &dyn Fn(&Layout, &File)| {
        with(&[16], &|layout, file| {
            make_root(&path, layout, 0, folder.path());
            change(layout, file);
        })
    };
    let put = |file: &File, at: u64, bytes: &[u8]| file.write_all_at(bytes, at).unwrap();
    let held = |at: u64, magic: &'static [u8]| {
        with(&[2], &|layout, file| put(file, layout.partitions[0].offset + at, magic))
    };
    let superblock = |layout: &Layout| layout.partitions[0].offset + 1024;
    let mut cases = vec![
        (
            "an old table",
            with(&[2], &|_, file| {
                put(file, 450, &[0x83]);
                put(file, 512, &[0; 512]);
            }),
            "partitioned the old way (MBR)",
        ),
        (
            "no table",
            with(&[2], &|layout, file| {
                put(file, 512, &[0; 512]);
                put(file, layout.size - 512, &[0; 512]);
            }),
            "no GPT",
        ),
        (
            "a changed header",
            with(&[2], &|layout, file| {
                put(file, 512 + 40, &[9]);
                put(file, layout.size - 512 + 40, &[9]);
            }),
            "wrong checksum of the header",
        ),
        (
            "changed entries",
            with(&[2], &|layout, file| {
                put(file, 1024 + 32, &[9]);
                put(file, layout.size - 33 * 512 + 32, &[9]);
            }),
            "wrong checksum of the entries",
        ),
        (
            "a damaged first table",
            with(&[2], &|_, file| put(file, 512, &[0; 512])),
            "the primary one is damaged",
        ),
        (
            "a cut disk",
            with(&[2], &|layout, file| file.set_len(layout.size - MIB).unwrap()),
            "the table describes a larger disk",
        ),
        ("no file system", with(&[2], &|_, _| ()), "no partition has a root file system of ext4 (1 unknown)"),
        ("btrfs", held(0x10040, b"_BHRfS_M"), "(1 btrfs)"),
        ("XFS", held(0, b"XFSB"), "(1 XFS)"),
        ("LUKS", held(0, b"LUKS\xba\xbe"), "(1 LUKS)"),
        ("LVM", held(536, b"LVM2 001"), "(1 LVM)"),
        (
            "two roots",
            with(&[16, 16], &|layout, _| {
                (0..2).for_each(|number| make_root(&path, layout, number, folder.path()))
            }),
            "the partitions 1 and 2 both have a root file system",
        ),
        (
            "a journal to replay",
            rooted(&|layout, file| put(file, superblock(layout) + 0x60, &[0xc6])),
            "its journal must be replayed",
        ),
        (
            "an unknown feature",
            rooted(&|layout, file| put(file, superblock(layout) + 0x63, &[0x80])),
            "cannot be read",
        ),
        (
            "a larger file system",
            rooted(&|layout, file| put(file, superblock(layout) + 4, &[0, 0, 0, 1])),
            "superblock is corrupt",
        ),
        (
            "an absurd block size",
            rooted(&|layout, file| put(file, superblock(layout) + 0x18, &[0xff; 4])),
            "cannot be read",
        ),
        (
            "a device",
            rooted(&|layout, _| debugfs(&path, layout, "mknod x c 1 3")),
            "\"x\": it is a device node",
        ),
        (
            "a link out",
            rooted(&|layout, _| debugfs(&path, layout, "symlink /l ../../etc/shadow")),
            "which lies outside of the archive",
        ),
        (
            "a folder in itself",
            rooted(&|layout, _| debugfs(&path, layout, "ln /usr /usr/lib/loop")),
            "it lies deeper than",
        ),
    ];
    let (layout, _) = disk(&path, &[16]);
    make_root(&path, &layout, 0, folder.path());
    cases.push(("an empty root", refused_file(&path, folder.path()), "it has no os-release"));
    compare(cases);
}

#[test]
fn partitions_that_overlap_are_refused() {
    if tool("sgdisk").arg("--version").output().is_err() {
        return testkit::not_run("partitions_that_overlap_are_refused", "no sgdisk");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk.raw");
    let (_, file) = disk(&path, &[2, 2]);
    // The end of the first partition, in both tables; sgdisk makes the checksums right.
    let mut entry = [0; 8];
    file.read_exact_at(&mut entry, 1024 + 128 + 40).unwrap();
    file.write_all_at(&entry, 1024 + 40).unwrap();
    seal(&file);
    assert!(refused_file(&path, folder.path()).contains("the partitions 1 and 2 overlap"));
}

/// Makes the checksums of the first table right.
fn seal(file: &File) {
    let crc = |bytes: &[u8]| {
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        crc.sum().to_le_bytes()
    };
    let mut entries = vec![0; 128 * 128];
    file.read_exact_at(&mut entries, 1024).unwrap();
    let mut header = [0; 92];
    file.read_exact_at(&mut header, 512).unwrap();
    header[88..92].copy_from_slice(&crc(&entries));
    header[16..20].fill(0);
    let sum = crc(&header);
    header[16..20].copy_from_slice(&sum);
    file.write_all_at(&header, 512).unwrap();
}

#[test]
fn hostile_qcow2_images_are_refused_by_name() {
    if tool("qemu-img").arg("--version").output().is_err() {
        return testkit::not_run("hostile_qcow2_images_are_refused_by_name", "no qemu-img");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk.qcow2");
    let create = |arguments: &[&str]| {
        let mut command = tool("qemu-img");
        command.args(["create", "-q", "-f", "qcow2"]).args(arguments);
        command.current_dir(folder.path()).run("qemu-utils").unwrap();
    };
    let with = |arguments: &[&str], change: &dyn Fn(&File)| {
        let _ = fs::remove_file(&path);
        create(arguments);
        change(&File::options().read(true).write(true).open(&path).unwrap());
        refused_file(&path, folder.path())
    };
    let put = |file: &File, at: u64, bytes: &[u8]| file.write_all_at(bytes, at).unwrap();
    let plain = ["disk.qcow2", "8M"];
    // If the backing file were opened, reading this pipe would never end.
    nix::unistd::mkfifo(&folder.path().join("secret"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let cases = vec![
        (
            "a backing file",
            with(&["-u", "-b", "secret", "-F", "raw", "disk.qcow2", "8M"], &|_| ()),
            "names a backing file",
        ),
        (
            "data elsewhere",
            with(&["-o", "data_file=data.raw", "disk.qcow2", "8M"], &|_| ()),
            "its data is in another file",
        ),
        ("encrypted", with(&plain, &|file| put(file, 32, &[0, 0, 0, 1])), "it is encrypted"),
        ("an absurd size", with(&plain, &|file| put(file, 24, &[0x10])), "up to"),
        (
            "full of data",
            with(&["-o", "preallocation=metadata", "disk.qcow2", "20G"], &|_| ()),
            "it unpacks to",
        ),
        (
            "tables that name themselves",
            with(&plain, &|file| {
                let mut table = [0; 8];
                file.read_exact_at(&mut table, 40).unwrap();
                put(file, u64::from_be_bytes(table), &(u64::from_be_bytes(table) | 1 << 63).to_be_bytes());
            }),
            "it is damaged",
        ),
        ("cut off", with(&plain, &|file| file.set_len(100).unwrap()), "the qcow2 image"),
        ("an empty disk", with(&plain, &|_| ()), "no GPT"),
    ];
    compare(cases);
}
