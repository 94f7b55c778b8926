use std::fs;
use std::path::Path;
use std::process::Stdio;

use super::assemble::assemble;
use super::compress::{Compression, compress};
use super::pack::{pack, pack_with};
use super::read::{ReadPolicy, read_tar, read_tree, tree_from_stream};
use super::write::write_tar;
use super::*;
use crate::archive::tests::raw::Raw;
use crate::definition::plan::{
    ArchiveRules, ArtifactPlan, Checksum, DirectoryPlan, FilePlan, LayerPlan, LinkPlan, Origin, Place,
};
use crate::error::ErrorKind;
use crate::process::{Run, tool};
use crate::store::{Key, Store};
use crate::tree::{Body, Entry, Node, Tree};

const EPOCH: u64 = 1_577_836_800;

fn bytes_of(tree: &Tree) -> Vec<u8> {
    let mut tar = Vec::new();
    write_tar(tree, EPOCH, &mut tar).unwrap();
    tar
}

/// A tree with every feature that a tar must represent.
fn rich() -> Tree {
    let mut tree = Tree::default();
    let file = |content: &[u8], mode| Entry::file(Body::inline(content), mode);
    tree.insert("bin", Entry::symlink("usr/bin"));
    tree.insert("usr/bin/sudo", file(b"setuid", 0o4755));
    tree.insert("usr/bin/empty", file(b"", 0o600));
    tree.insert("usr/bin/block", file(&[b'b'; 512], 0o644));
    tree.insert("tmp", Entry::directory(0o1777));
    tree.insert("usr/share/F\u{151}tan\u{fa}s\u{ed}tv\u{e1}ny.crt", file(b"unicode", 0o644));
    for length in [95, 98, 99, 100, 101, 150, 155, 156, 200, 254, 255] {
        let name = "n".repeat(length);
        tree.insert(name.clone(), file(name.as_bytes(), 0o644));
        tree.insert(
            format!("folder{length}/{}/{}", "p".repeat(length), "q".repeat(length.min(120))),
            file(b"x", 0o644),
        );
        tree.insert(format!("d{length}/{}", "d".repeat(length)), Entry::directory(0o700));
        tree.insert(format!("link{length}"), Entry::symlink("t".repeat(length)));
    }
    let mut ping = Entry { uid: 3_000_000, gid: u32::MAX, ..file(b"ping", 0o755) };
    ping.xattrs.insert("security.capability".into(), b"\x01\x00\n=\x00\xff".to_vec());
    for length in [1, 80, 81, 82, 83, 970, 973, 974, 975, 976, 980] {
        ping.xattrs.insert(format!("user.{length}"), vec![b'v'; length]);
    }
    tree.insert("usr/bin/ping", ping);
    tree
}

/// The same tree with all contents in memory, to compare.
fn inlined(tree: &Tree) -> Tree {
    let mut tree = tree.clone();
    for entry in tree.entries.values_mut() {
        if let Node::File(body) = &mut entry.node {
            *body = Body::inline(body.read().unwrap());
        }
    }
    tree
}

#[test]
fn a_tree_comes_back_from_its_tar() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("layer.tar");
    let tree = rich();
    fs::write(&path, bytes_of(&tree)).unwrap();
    let back = read_tree(&path).unwrap();
    assert_eq!(inlined(&back).entries, tree.entries);
    // The same again, from slices of the first tar.
    assert!(bytes_of(&back) == bytes_of(&tree));
}

#[test]
fn order_of_insertion_leaves_no_trace() {
    let tree = rich();
    let mut reversed = Tree::default();
    for (path, entry) in tree.entries.iter().rev() {
        reversed.insert(path.clone(), entry.clone());
    }
    assert!(bytes_of(&reversed) == bytes_of(&tree));
}

#[test]
fn the_format_is_pinned() {
    // If this digest changes, every digest that users have recorded changes.
    let mut small = Tree::default();
    small.insert("etc", Entry::directory(0o755));
    small.insert("etc/motd", Entry::file(Body::inline(*b"hello\n"), 0o644));
    small.insert("lib", Entry::symlink("usr/lib"));
    assert_eq!(
        Digest::of(&bytes_of(&small)).to_string(),
        "sha256:86fc456e5ac25e95c8e9e82f6de159095cbb4dcf4bcb39ff5e501ee703042c73"
    );
}

/// Set for a process that packs one layer, prints its digests and ends.
const CHILD: &str = "KILN_TEST_PACK_AND_PRINT";

#[test]
fn time_folder_umask_and_locale_leave_no_trace() {
    if std::env::var_os(CHILD).is_some() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("tool"), b"program").unwrap();
        fs::write(folder.path().join("release"), Raw::default().file("bin/extra", b"extra").end()).unwrap();
        let tree =
            assemble(&plan(), &|artifact| Ok(folder.path().join(&artifact.name)), folder.path()).unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        let layer = pack(&store, "sample", key("key"), &tree, EPOCH).unwrap();
        let forms = [Compression::Zstd, Compression::Gzip]
            .map(|form| compress(&store, &layer, form, 2).unwrap().digest);
        println!("\ndigests {} {} {}", layer.diff_id, forms[0], forms[1]);
        return;
    }
    let run = |umask: &str, folder: &str, zone: &str, locale: &str| {
        let script = format!(
            "umask {umask} && cd {folder} && exec \"$0\" --exact layer::tests::time_folder_umask_and_locale_leave_no_trace --nocapture"
        );
        let mut shell = tool("sh");
        shell
            .args(["-c", &script])
            .arg(std::env::current_exe().unwrap())
            .env(CHILD, "1")
            .env("TZ", zone)
            .env("LC_ALL", locale);
        let output = String::from_utf8(shell.run("dash").unwrap().stdout).unwrap();
        output.lines().find(|line| line.starts_with("digests sha256:")).unwrap().to_owned()
    };
    let first = run("022", "/", "UTC", "C");
    // Times in file systems and in gzip headers count whole seconds.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert_eq!(run("077", "/tmp", "Asia/Tokyo", "tr_TR.UTF-8"), first);
}

#[test]
fn gnu_tar_lists_it() {
    let test = "gnu_tar_lists_it";
    if tool("tar").arg("--version").run("tar").is_err() {
        return testkit::not_run(test, "tar is not installed");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("layer.tar");
    let tree = rich();
    fs::write(&path, bytes_of(&tree)).unwrap();
    let listing = tool("tar")
        .args(["--numeric-owner", "--quoting-style=literal", "-tvf"])
        .arg(&path)
        .run("tar")
        .unwrap();
    assert!(listing.stderr.is_empty(), "{}", String::from_utf8_lossy(&listing.stderr));
    let lines: Vec<String> = String::from_utf8(listing.stdout)
        .unwrap()
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(lines.len(), tree.entries.len());
    for (line, (path, entry)) in lines.iter().zip(&tree.entries) {
        let (kind, suffix, size) = match &entry.node {
            Node::Directory => ("d", "/".to_owned(), 0),
            Node::File(body) => ("-", String::new(), body.len()),
            Node::Symlink(target) => ("l", format!(" -> {target}"), 0),
        };
        assert!(line.starts_with(kind), "{line}");
        assert!(
            line.ends_with(&format!("{}/{} {size} 2020-01-01 00:00 {path}{suffix}", entry.uid, entry.gid)),
            "{line}\n{path}"
        );
    }
    assert!(lines.iter().any(|line| line.starts_with("-rwsr-xr-x 0/0 6 ")));
}

#[test]
fn sizes_beyond_ustar_get_a_pax_record() {
    // A sparse file of 8 GiB and one byte. The tar is counted and discarded.
    struct Head(Vec<u8>, u64);
    impl std::io::Write for Head {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0
                .extend_from_slice(&bytes[..bytes.len().min(2048_usize.saturating_sub(self.0.len()))]);
            self.1 += bytes.len() as u64;
            // The headers have been seen, which is enough.
            if self.1 > 1 << 20 { Err(std::io::ErrorKind::WriteZero.into()) } else { Ok(bytes.len()) }
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("big");
    let len = (8 << 30) + 1;
    fs::File::create(&path).unwrap().set_len(len).unwrap();
    let mut tree = Tree::default();
    tree.insert("big", Entry::file(Body::Slice { file: path.into(), offset: 0, len }, 0o644));
    let mut head = Head(Vec::new(), 0);
    assert_eq!(write_tar(&tree, EPOCH, &mut head).unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(head.0[156], b'x');
    assert_eq!(&head.0[512..512 + 19], b"19 size=8589934593\n");
    assert_eq!(&head.0[1024 + 124..1024 + 136], b"00000000000\0");
}

#[test]
fn packing_is_cached_and_notices_damage() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let key = key("key");
    let first = pack(&store, "rich", key, &rich(), EPOCH).unwrap();
    assert!(!first.cached);
    assert_eq!(
        (Digest::of_file(&first.tar).unwrap(), first.tar.metadata().unwrap().len()),
        (first.diff_id, first.size)
    );
    let second = pack_with(&store, "rich", key, EPOCH, || panic!("the tree is not needed")).unwrap();
    assert_eq!((second.cached, second.diff_id, second.size), (true, first.diff_id, first.size));
    fs::OpenOptions::new().write(true).open(&first.tar).unwrap().set_len(512).unwrap();
    let error = pack(&store, "rich", key, &rich(), EPOCH).unwrap_err();
    assert!(error.message().contains("was changed: it has 512 bytes instead of"), "{error}");
}

fn key(input: &str) -> Key {
    Key::new("layer", 1, &input, &[]).unwrap()
}

/// A few megabytes that compress, in the store.
fn large(store: &Store) -> PackedLayer {
    let mut tree = Tree::default();
    for index in 0..40_u32 {
        let text: String = (0..20_000_u32)
            .map(|line| format!("{:x}\n", line.wrapping_mul(2_654_435_761).wrapping_add(index) >> 12))
            .collect();
        tree.insert(format!("usr/share/file{index}"), Entry::file(Body::inline(text.into_bytes()), 0o644));
    }
    pack(store, "large", key("large"), &tree, EPOCH).unwrap()
}

#[test]
fn compressed_bytes_do_not_depend_on_threads() {
    for compression in [Compression::Zstd, Compression::Gzip] {
        let digests: Vec<_> = [1, 2, 4]
            .map(|threads| {
                let folder = tempfile::tempdir().unwrap();
                let store = Store::open(folder.path()).unwrap();
                let layer = compress(&store, &large(&store), compression, threads).unwrap();
                assert_eq!(Digest::of_file(&layer.path).unwrap(), layer.digest);
                assert_eq!(layer.path.metadata().unwrap().len(), layer.size);
                layer.digest
            })
            .into();
        assert!(digests.iter().all(|digest| *digest == digests[0]), "{compression:?}: {digests:?}");
    }
}

#[test]
fn both_forms_at_once_are_read_by_other_programs() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let layer = large(&store);
    let (zstd, gzip) = std::thread::scope(|scope| {
        let zstd = scope.spawn(|| compress(&store, &layer, Compression::Zstd, 2).unwrap());
        let gzip = scope.spawn(|| compress(&store, &layer, Compression::Gzip, 2).unwrap());
        (zstd.join().unwrap(), gzip.join().unwrap())
    });
    for (program, form) in [("gzip", &gzip), ("zstd", &zstd)] {
        if tool(program).arg("--version").run(program).is_err() {
            testkit::not_run(
                "both_forms_at_once_are_read_by_other_programs",
                &format!("{program} is not installed"),
            );
            continue;
        }
        let input = fs::File::open(&form.path).unwrap();
        let output = tool(program).arg("-dc").stdin(Stdio::from(input)).run(program).unwrap();
        assert_eq!(Digest::of(&output.stdout), layer.diff_id, "{program}");
        assert!(form.size < layer.size, "{program}");
        assert!(
            !form.cached
                && compress(
                    &store,
                    &layer,
                    if program == "gzip" { Compression::Gzip } else { Compression::Zstd },
                    1
                )
                .unwrap()
                .cached
        );
    }
}

fn base_tar() -> Raw {
    Raw::default()
        .folder("./")
        .folder("./dev/")
        .honest("./dev/null", b'3', "", b"")
        .symlink("./dev/fd", "/proc/self/fd")
        .pax("SCHILY.xattr.security.capability", b"\x01\n\x02")
        .file("./usr/bin/perl", b"perl")
        .hardlink("./usr/bin/perl5.40", "./usr/bin/perl")
        .symlink("./bin", "usr/bin")
}

#[test]
fn a_base_keeps_owners_setuid_and_attributes_but_no_devices() {
    let folder = tempfile::tempdir().unwrap();
    let spool = folder.path().join("base.tar");
    let tree = tree_from_stream(base_tar().end().as_slice(), &spool, ReadPolicy::Base).unwrap();
    assert_eq!(tree.entries.keys().collect::<Vec<_>>(), ["bin", "dev", "usr/bin/perl", "usr/bin/perl5.40"]);
    let perl = tree.get("usr/bin/perl").unwrap();
    assert_eq!((perl.mode, perl.uid, perl.gid), (0o6755, 1000, 1000));
    assert_eq!(perl.xattrs["security.capability"], b"\x01\n\x02");
    assert_eq!(tree.get("usr/bin/perl5.40"), Some(perl));
    assert_eq!(tree.file("usr/bin/perl5.40").unwrap().read().unwrap(), b"perl");
}

#[test]
fn a_trusted_tar_is_still_checked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tar");
    let table = [
        (ReadPolicy::Layer, base_tar().end(), "device node"),
        (ReadPolicy::Base, base_tar().honest("./run/x", b'6', "", b"").end(), "named pipe"),
        (ReadPolicy::Base, base_tar().honest("./srv/sda", b'4', "", b"").end(), "device node"),
        (ReadPolicy::Base, base_tar().file("./bin", b"x").end(), "twice"),
        (ReadPolicy::Base, base_tar().file("../x", b"x").end(), "\"..\""),
        (ReadPolicy::Base, base_tar().0, "cut off"),
    ];
    for (policy, bytes, reason) in table {
        fs::write(&path, bytes).unwrap();
        let error = read_tar(&path, policy).unwrap_err();
        assert!(error.message().contains(reason), "{error}");
    }
}

fn artifact(name: &str, place: Place) -> ArtifactPlan {
    let origin = Origin::Url {
        url: format!("https://example.org/{name}"),
        checksum: Some(Checksum::Pinned(Digest::of(b""))),
        signature: None,
    };
    ArtifactPlan { name: name.into(), version: "1.2".into(), origin, place, license: None, module: None }
}

fn plan() -> LayerPlan {
    let rules = ArchiveRules { strip: 0, pick: Vec::new(), into: "usr/local".into(), mode: None };
    LayerPlan {
        name: "sample".into(),
        summary: String::new(),
        artifacts: vec![
            artifact("tool", Place::File { path: "usr/bin/tool".into(), mode: 0o755 }),
            artifact("release", Place::Archive(rules)),
        ],
        files: vec![FilePlan {
            path: "etc/tool.conf".into(),
            content: b"a = 1\n".to_vec(),
            mode: 0o640,
            uid: 0,
            gid: 42,
        }],
        directories: vec![DirectoryPlan { path: "var/lib/tool".into(), mode: 0o700, uid: 7, gid: 8 }],
        links: vec![LinkPlan { path: "usr/bin/alias".into(), target: "tool".into() }],
        enable: Vec::new(),
        mask: Vec::new(),
        packages: Vec::new(),
        extension: true,
        replaces: Vec::new(),
        windows: None,
    }
}

fn assembled(plan: &LayerPlan, folder: &Path) -> crate::error::Result<Tree> {
    fs::write(folder.join("tool"), b"program").unwrap();
    fs::write(folder.join("release"), Raw::default().folder("bin/").file("bin/extra", b"extra").end())
        .unwrap();
    assemble(plan, &|artifact| Ok(folder.join(&artifact.name)), folder)
}

#[test]
fn a_layer_holds_what_it_declares_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let tree = assembled(&plan(), folder.path()).unwrap();
    let paths = ["etc/tool.conf", "usr/bin/alias", "usr/bin/tool", "usr/local/bin/extra", "var/lib/tool"];
    assert_eq!(tree.entries.keys().collect::<Vec<_>>(), paths);
    assert_eq!(tree.file("usr/bin/tool").unwrap().read().unwrap(), b"program");
    assert_eq!(
        tree.get("etc/tool.conf").map(|entry| (entry.mode, entry.uid, entry.gid)),
        Some((0o640, 0, 42))
    );
    assert_eq!(tree.get("var/lib/tool").map(|entry| (entry.mode, entry.uid, entry.gid)), Some((0o700, 7, 8)));
}

#[test]
fn one_path_twice_in_a_layer_names_both_sources() {
    let folder = tempfile::tempdir().unwrap();
    let mut twice = plan();
    twice.links.push(LinkPlan { path: "usr/local/bin/extra".into(), target: "x".into() });
    let error = assembled(&twice, folder.path()).unwrap_err();
    assert_eq!(
        error.message(),
        "usr/local/bin/extra is declared twice: by the artifact release and by a link"
    );
    assert_eq!(error.kind(), ErrorKind::Definition);
}
