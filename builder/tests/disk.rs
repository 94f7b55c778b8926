//! The disk image and its outputs, judged by the tools that everybody else uses to read them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use kiln::definition::plan::{Arch, BasePlan, DiskPlan, Distribution, ImagePlan};
use kiln::digest::Digest;
use kiln::error::Class;
use kiln::image::{MIB, disk, squashfs};
use kiln::output::{self, Image, Parts};
use kiln::progress::Progress;
use kiln::store::Store;
use kiln::tree::{Body, Entry, Tree};

const EPOCH: u64 = 1_577_836_800;

/// A small image with everything a disk needs, in folders of its own.
struct Bench {
    folder: tempfile::TempDir,
    plan: ImagePlan,
    tree: Tree,
    store: Store,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        for name in ["scratch", "out"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        fs::write(folder.path().join("initrd"), noise(3 << 20, 2)).unwrap();
        Self { folder, plan: plan(), tree: tree(), store }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn with<T>(&self, use_image: impl FnOnce(&Image<'_>) -> T) -> T {
        let scratch = self.path("scratch");
        let image = Image {
            plan: &self.plan,
            tree: &self.tree,
            layers: &[],
            identity: Digest::of(b"a test image"),
            epoch: EPOCH,
            store: &self.store,
            scratch: &scratch,
            progress: &Progress::silent(),
            parts: Parts::default(),
        };
        image.parts.initrd.set(self.path("initrd")).unwrap();
        use_image(&image)
    }

    fn write(&self, name: &str) -> Vec<String> {
        self.with(|image| output::find(name).unwrap().write(image, &self.path("out")).unwrap())
    }

    fn disk_error(&self) -> kiln::error::Error {
        self.with(|image| image.disk().map(drop).unwrap_err())
    }

    /// Bytes of one partition as a file of its own, and its offset.
    fn partition(&self, label: &str) -> (PathBuf, u64) {
        let place = self.with(|image| image.disk().unwrap().layout.get(label).unwrap().clone());
        let path = self.path(label);
        let mut from = File::open(self.path("scratch/disk.raw")).unwrap();
        from.seek(SeekFrom::Start(place.offset)).unwrap();
        std::io::copy(&mut from.take(place.size), &mut File::create(&path).unwrap()).unwrap();
        (path, place.offset)
    }
}

fn plan() -> ImagePlan {
    ImagePlan {
        name: "test-node".to_owned(),
        arch: Arch::Amd64,
        variables: BTreeMap::new(),
        base: BasePlan { distribution: Distribution::Debian, suite: "trixie".to_owned(), packages: Vec::new() },
        layers: Vec::new(),
        preload: Vec::new(),
        kernel_arguments: vec!["console=ttyS0".to_owned(), "quiet".to_owned()],
        disk: DiskPlan { esp: 40 * MIB, var: 64 * MIB, verity: 2 * MIB },
        outputs: Vec::new(),
    }
}

fn tree() -> Tree {
    let mut tree = Tree::default();
    tree.insert("boot/vmlinuz-6.12.1-test", Entry::file(Body::inline(noise(5 << 20, 1)), 0o644));
    tree.insert("usr/lib/systemd/boot/efi/systemd-bootx64.efi", Entry::file(Body::inline(*b"MZ loader"), 0o755));
    tree.insert("usr/bin/shared", Entry { gid: 42, ..Entry::file(Body::inline(*b"x"), 0o2755) });
    tree.insert("usr/bin/text", Entry::file(Body::inline(b"line of text\n".repeat(100_000)), 0o755));
    tree.insert("usr/bin/link", Entry::symlink("shared"));
    tree.insert(format!("usr/share/{}", "long-".repeat(40)), Entry::file(Body::inline(*b"long"), 0o600));
    tree.insert("home/user", Entry { uid: 1000, gid: 1000, ..Entry::directory(0o700) });
    tree.complete();
    tree
}

/// Bytes that do not compress, the same in each run.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// Says whether `tools` are all here, and on standard error that the test does nothing when they are not.
fn have(test: &str, tools: &[&str]) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = |tool: &&str| std::env::split_paths(&paths).any(|folder| folder.join(tool).is_file());
    let missing: Vec<_> = tools.iter().filter(|tool| !found(tool)).collect();
    if !missing.is_empty() {
        eprintln!("not run: {test}: no {missing:?} on this machine");
    }
    missing.is_empty()
}

/// Runs a tool that must succeed; what it printed on both outputs.
fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).env("LC_ALL", "C.UTF-8").env("MTOOLS_SKIP_CHECK", "1").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {text}");
    text.into_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn sgdisk_finds_no_problem_and_the_declared_types_and_flags() {
    if !have("partition table", &["mksquashfs", "mke2fs", "sgdisk"]) {
        return;
    }
    let bench = Bench::new();
    bench.write("raw");
    let raw = bench.path("out/test-node.raw");
    let verdict = run("sgdisk", &["-v", text(&raw)]);
    assert!(verdict.contains("No problems found"), "{verdict}");
    let expected = [
        ("1", "C12A7328-F81F-11D2-BA4B-00A0C93EC93B", "0000000000000000", "'esp'"),
        ("2", "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709", "1000000000000000", "'root'"),
        ("3", "2C7357ED-EBD2-46D9-AEC1-23D437EC2BF5", "9000000000000000", "'root-verity'"),
        ("4", "4D21B016-B534-45C2-A9FB-5C16E091FD2D", "0800000000000000", "'var'"),
    ];
    for (number, kind, flags, label) in expected {
        let info = run("sgdisk", &["-i", number, text(&raw)]);
        for part in [kind, flags, label] {
            assert!(info.contains(part), "{part} in {info}");
        }
    }
}

#[test]
fn the_esp_is_clean_and_holds_loader_entry_kernel_and_initrd() {
    if !have("ESP", &["mksquashfs", "mke2fs", "fsck.vfat", "mtype", "mdir"]) {
        return;
    }
    let bench = Bench::new();
    let (esp, _) = bench.partition(disk::ESP);
    let verdict = run("fsck.vfat", &["-n", "-v", text(&esp)]);
    assert!(verdict.contains("FAT32") || verdict.contains("32 bit"), "{verdict}");
    assert!(!verdict.to_lowercase().contains("dirty") && !verdict.contains("differ"), "{verdict}");
    let entry = run("mtype", &["-i", text(&esp), "::/loader/entries/test-node.conf"]);
    let root = bench.with(disk::command_line);
    assert!(root.starts_with("console=ttyS0 quiet root=PARTUUID="), "{root}");
    assert_eq!(
        entry,
        format!(
            "title test-node\nversion 6.12.1-test\nsort-key test-node\nlinux /kiln/6.12.1-test/linux\n\
             initrd /kiln/6.12.1-test/initrd\noptions {root}\n"
        )
    );
    assert_eq!(run("mtype", &["-i", text(&esp), "::/EFI/BOOT/BOOTX64.EFI"]), "MZ loader");
    for (name, expected) in [("linux", noise(5 << 20, 1)), ("initrd", noise(3 << 20, 2))] {
        let out = bench.path(name);
        run("mcopy", &["-i", text(&esp), &format!("::/kiln/6.12.1-test/{name}"), text(&out)]);
        assert!(fs::read(&out).unwrap() == expected, "{name} differs");
    }
    let listing = run("mdir", &["-i", text(&esp), "-/", "::"]);
    assert!(listing.contains("2020-01-01"), "{listing}");
}

#[test]
fn var_is_clean_and_grows_to_a_real_disk() {
    if !have("var", &["mksquashfs", "mke2fs", "e2fsck", "dumpe2fs", "resize2fs"]) {
        return;
    }
    let bench = Bench::new();
    let (var, offset) = bench.partition(disk::VAR);
    run("e2fsck", &["-fn", &format!("{}?offset={offset}", text(&bench.path("scratch/disk.raw")))]);
    run("e2fsck", &["-fn", text(&var)]);
    let head = run("dumpe2fs", &["-h", text(&var)]);
    for line in ["Filesystem volume name:   var", "Reserved block count:     0", "Errors behavior:          Remount read-only"] {
        assert!(head.contains(line), "{line} in {head}");
    }
    assert!(head.contains("Reserved GDT blocks:      255"), "{head}");
    assert!(!head.contains("orphan_file") && !head.contains("metadata_csum_seed"), "{head}");
    File::options().write(true).open(&var).unwrap().set_len(100 << 30).unwrap();
    run("resize2fs", &[text(&var)]);
    run("e2fsck", &["-fn", text(&var)]);
}

#[test]
fn the_root_keeps_owners_modes_links_and_names() {
    if !have("root", &["mksquashfs", "unsquashfs"]) {
        return;
    }
    let bench = Bench::new();
    let root = bench.with(|image| image.root().unwrap().to_owned());
    let listing = run("unsquashfs", &["-lln", text(&root)]);
    let has = |start: &str, end: &str| listing.lines().any(|line| line.starts_with(start) && line.ends_with(end));
    assert!(has("drwxr-xr-x 0/0", " 2020-01-01 00:00 squashfs-root"), "{listing}");
    assert!(has("-rwxr-sr-x 0/42", "squashfs-root/usr/bin/shared"), "{listing}");
    assert!(has("drwx------ 1000/1000", "squashfs-root/home/user"), "{listing}");
    assert!(has("lrwxrwxrwx 0/0", "squashfs-root/usr/bin/link -> shared"), "{listing}");
    assert!(has("-rw------- 0/0", &"long-".repeat(40)), "{listing}");
    assert_eq!(listing.lines().filter(|line| line.contains("squashfs-root")).count(), bench.tree.entries.len() + 1);
    let content = run("unsquashfs", &["-cat", text(&root), "usr/bin/text"]);
    assert_eq!(content, "line of text\n".repeat(100_000));
}

#[test]
fn file_capabilities_survive_in_the_root() {
    if !have("capabilities", &["mksquashfs", "unsquashfs"]) {
        return;
    }
    let mut bench = Bench::new();
    let value = b"\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00".to_vec();
    let attributes = BTreeMap::from([("security.capability".to_owned(), value)]);
    bench.tree.insert("usr/bin/ping", Entry { xattrs: attributes, ..Entry::file(Body::inline(*b"p"), 0o755) });
    let root = bench.with(|image| image.root().unwrap().to_owned());
    let head = run("unsquashfs", &["-s", text(&root)]);
    assert!(head.contains("Number of xattr ids 1"), "{head}");
}

#[test]
fn the_root_comes_from_the_store_until_something_in_it_changes() {
    if !have("cached root", &["mksquashfs"]) {
        return;
    }
    let mut bench = Bench::new();
    let first = bench.with(|image| image.root().unwrap().to_owned());
    let time = fs::metadata(&first).unwrap().mtime_nsec();
    assert_eq!(first, bench.with(|image| image.root().unwrap().to_owned()));
    assert_eq!(time, fs::metadata(&first).unwrap().mtime_nsec());
    bench.tree.entries.get_mut("usr/bin/shared").unwrap().uid = 7;
    assert_ne!(first, bench.with(|image| image.root().unwrap().to_owned()));
}

#[test]
fn the_root_does_not_depend_on_the_number_of_processors() {
    if !have("processors", &["mksquashfs", "taskset"]) {
        return;
    }
    let bench = Bench::new();
    let (all, one) = (bench.path("all"), bench.path("one"));
    squashfs::write(&bench.tree, EPOCH, &all).unwrap();
    // Programs that this thread starts inherit its processors.
    let thread = fs::read_link("/proc/thread-self").unwrap();
    run("taskset", &["-pc", "0", text(Path::new(thread.file_name().unwrap()))]);
    squashfs::write(&bench.tree, EPOCH, &one).unwrap();
    assert_eq!(Digest::of_file(&all).unwrap(), Digest::of_file(&one).unwrap());
}

#[test]
fn qcow2_is_sound_and_equal_to_the_raw_disk() {
    if !have("qcow2", &["mksquashfs", "mke2fs", "qemu-img"]) {
        return;
    }
    let bench = Bench::new();
    bench.write("raw");
    assert_eq!(bench.write("qcow2"), ["test-node.qcow2"]);
    let (raw, qcow2) = (bench.path("out/test-node.raw"), bench.path("out/test-node.qcow2"));
    run("qemu-img", &["check", text(&qcow2)]);
    run("qemu-img", &["compare", "-f", "raw", "-F", "qcow2", text(&raw), text(&qcow2)]);
}

#[test]
fn two_builds_are_bit_identical_and_sparse() {
    if !have("determinism", &["mksquashfs", "mke2fs", "qemu-img"]) {
        return;
    }
    let (one, two) = (Bench::new(), Bench::new());
    one.write("raw");
    one.write("qcow2");
    // In another second and under another mask: a clock or a mode that leaked into the bytes would show.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let mask = nix::sys::stat::umask(nix::sys::stat::Mode::S_IRWXG | nix::sys::stat::Mode::S_IRWXO);
    two.write("raw");
    two.write("qcow2");
    nix::sys::stat::umask(mask);
    for extension in ["raw", "vmlinuz", "initrd", "cmdline", "qcow2"] {
        let name = format!("out/test-node.{extension}");
        let [a, b] = [&one, &two].map(|bench| Digest::of_file(&bench.path(&name)).unwrap());
        assert_eq!(a, b, "{name}");
    }
    let raw = fs::metadata(one.path("out/test-node.raw")).unwrap();
    assert!(raw.blocks() * 512 < raw.len() / 4, "{} of {} bytes are allocated", raw.blocks() * 512, raw.len());
}

#[test]
fn what_does_not_fit_or_is_missing_is_named() {
    if !have("errors", &["mksquashfs"]) {
        return;
    }
    let cases: [(fn(&mut Bench), &str, &str); 6] = [
        (|bench| bench.plan.disk.esp = 20 * MIB, "disk.esp is 20 MiB", "at least 33 MiB"),
        (|bench| fs::write(bench.path("initrd"), noise(36 << 20, 3)).unwrap(), "do not fit into disk.esp of 40 MiB", "set disk.esp to"),
        (|bench| bench.tree.remove("boot/vmlinuz-6.12.1-test"), "no kernel", "linux-image-cloud-amd64"),
        (
            |bench| drop(bench.tree.insert("boot/vmlinuz-5", Entry::file(Body::inline(*b"k"), 0o644))),
            "more than one kernel: 5 and 6.12.1-test",
            "keep one",
        ),
        (|bench| bench.tree.remove("usr/lib/systemd/boot"), "systemd-bootx64.efi", "systemd-boot-efi"),
        (|bench| bench.plan.disk.var += 1, "disk.var is 67108865 bytes", "disk.var to 65 MiB"),
    ];
    for (spoil, message, hint) in cases {
        let mut bench = Bench::new();
        spoil(&mut bench);
        let error = bench.disk_error();
        assert_eq!(error.class(), Class::Definition, "{error}");
        assert!(error.message().contains(message) && error.hint().unwrap().contains(hint), "{error}");
    }
}

#[test]
fn a_tree_without_its_parents_is_refused() {
    if !have("parents", &["mksquashfs"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut tree = Tree::default();
    tree.insert("a/b/c", Entry::file(Body::inline(*b"x"), 0o644));
    let path = folder.path().join("root");
    let error = squashfs::write(&tree, EPOCH, &path).unwrap_err();
    assert!(error.message().contains("4 of 2"), "{error}");
    assert!(!path.exists());
}

#[test]
fn the_tools_own_reason_is_shown() {
    if !have("reason", &["mksquashfs"]) {
        return;
    }
    let bench = Bench::new();
    let error = squashfs::write(&bench.tree, EPOCH, &bench.path("no/such/folder")).unwrap_err();
    assert_eq!(error.class(), Class::Tool);
    assert!(error.message().contains("No such file"), "{error}");
}
