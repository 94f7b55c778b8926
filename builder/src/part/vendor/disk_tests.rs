use std::fs;
use std::os::unix::fs::FileExt;

use testkit::lookalike_flatcar::{Flatcar, Sizes, missing, place};

use super::*;
use crate::base::flatcar::PLACES;
use crate::process::{Run, tool};
use crate::tree::{Body, Entry};

const SIZES: Sizes = Sizes::SMALL;

fn additions() -> Tree {
    let mut tree = Tree::default();
    tree.insert("opt/extensions/x/x-1.raw", Entry::file(Body::inline(vec![7; 300_000]), 0o644));
    tree.insert("etc/extensions/x.raw", Entry::symlink("/opt/extensions/x/x-1.raw"));
    tree.insert("var/lib/x", Entry { uid: 7, gid: 8, ..Entry::directory(0o750) });
    tree.complete();
    tree
}

/// A disk like Flatcar's; none, said aloud, where this machine cannot make one.
fn disk(test: &str, folder: &Path) -> Option<PathBuf> {
    if let Some((program, _)) = missing() {
        testkit::not_run(test, &format!("no {program}"));
        return None;
    }
    let (usr, kernel) = (folder.join("usr"), folder.join("kernel"));
    fs::create_dir_all(usr.join("lib")).unwrap();
    fs::write(&kernel, [0; 4096]).unwrap();
    let like =
        Flatcar { sizes: SIZES, usr: &usr, usr_blocks: 6144, kernel: &kernel, initrd: None, arguments: None };
    Some(like.disk(folder, "vendor.raw").path)
}

fn added(disk: &Path, scratch: &Path) -> Result<()> {
    let release =
        VendorRelease { title: "flatcar 1.2.3".to_owned(), disk: None, network: None, places: &PLACES };
    add(disk, &release, &additions(), 1_577_836_800, scratch)
}

#[test]
fn only_blocks_of_the_root_partition_change_and_always_in_the_same_way() {
    let folder = tempfile::tempdir().unwrap();
    let Some(vendor) = disk("blocks that change", folder.path()) else { return };
    let copies = ["one", "two"].map(|name| folder.path().join(name));
    for copy in &copies {
        fs::copy(&vendor, copy).unwrap();
        let scratch = tempfile::tempdir().unwrap();
        added(copy, scratch.path()).unwrap();
    }
    let [before, one, two] = [&vendor, &copies[0], &copies[1]].map(|path| fs::read(path).unwrap());
    assert!(one == two, "two builds differ");
    let changed: Vec<usize> = before
        .chunks(4096)
        .zip(one.chunks(4096))
        .enumerate()
        .filter(|(_, (before, after))| before != after)
        .map(|(block, _)| block * 4096)
        .collect();
    let (at, length) = place(&SIZES, "ROOT");
    let root = at as usize..(at + length) as usize;
    assert!(!changed.is_empty() && before.len() == one.len());
    assert!(changed.iter().all(|block| root.contains(block)), "{changed:?}");

    // Other programs agree.
    let place = format!("{}?offset={at}", copies[0].display());
    tool("e2fsck").args(["-f", "-n", &place]).run("").unwrap();
    tool("sgdisk").arg("--verify").arg(&copies[0]).run("").unwrap();
    let said = |request: &str| {
        let output = tool("debugfs").args(["-R", request, &place]).run("").unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(said("stat /etc/extensions/x.raw").contains("/opt/extensions/x/x-1.raw"));
    let folder = said("stat /var/lib/x");
    assert!(folder.contains("Mode:  0750") && folder.contains("User:     7   Group:     8"), "{folder}");
    assert_eq!(said("cat /opt/extensions/x/x-1.raw").len(), 300_000);
}

#[test]
fn disks_that_are_not_as_the_vendors_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let Some(vendor) = disk("disks of other layouts", folder.path()) else { return };
    let (root, _) = place(&SIZES, "ROOT");
    let sgdisk = |words: &'static [&'static str]| {
        move |path: &Path| drop(tool("sgdisk").args(words).arg(path).run("").unwrap())
    };
    let write = |at: u64, bytes: &'static [u8]| {
        move |path: &Path| File::options().write(true).open(path).unwrap().write_all_at(bytes, at).unwrap()
    };
    let features = root + 1024 + 0x60;
    type Damage = Box<dyn Fn(&Path)>;
    let cases: [(&str, Damage, &str); 10] = [
        ("a damaged table", Box::new(write(1024, &[9; 64])), "at the start of the disk is damaged"),
        ("no table", Box::new(|path: &Path| fs::write(path, [0; 1 << 20]).unwrap()), "partition table"),
        (
            "cut off",
            Box::new(|path: &Path| {
                File::options().write(true).open(path).unwrap().set_len(64 << 20).unwrap()
            }),
            "partition table",
        ),
        ("no root", Box::new(sgdisk(&["--typecode=9:8300"])), "no partition of the type"),
        (
            "two roots",
            Box::new(sgdisk(&["--typecode=6:3884dd41-8582-4404-b9a8-e9b84f2df50e"])),
            "more than one",
        ),
        (
            "no /usr",
            Box::new(sgdisk(&["--typecode=3:8300", "--typecode=4:8300"])),
            "no partition of the type",
        ),
        ("unknown features", Box::new(write(features + 3, &[0x40])), "e2fsprogs"),
        ("a journal", Box::new(write(features, &[0xc6])), "must be replayed"),
        ("no file system", Box::new(write(root + 1024, &[0; 1024])), "root partition of flatcar 1.2.3"),
        (
            "a full root",
            Box::new(move |path: &Path| {
                let place = format!("{}?offset={root}", path.display());
                tool("debugfs").args(["-w", "-R", "mkdir /etc", &place]).run("").unwrap();
            }),
            "has /etc already",
        ),
    ];
    for (what, damage, says) in cases {
        let (path, scratch) = (folder.path().join("copy"), tempfile::tempdir().unwrap());
        fs::copy(&vendor, &path).unwrap();
        damage(&path);
        let error = added(&path, scratch.path()).expect_err(what);
        assert_eq!(error.kind(), ErrorKind::Archive, "{what}: {error}");
        assert!(error.to_string().contains(says), "{what}: {error}");
    }
}
