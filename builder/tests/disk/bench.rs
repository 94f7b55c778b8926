//! An image small enough for a test, and the programs that judge it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Command;

use kiln::assembly::{Assembly, Image};
use kiln::base;
use kiln::definition::plan::{Arch, BasePlan, DiskPlan, ImagePlan, PackagesPlan};
use kiln::digest::Digest;
use kiln::layer::PackedLayer;
use kiln::output;
use kiln::part::Parts;
use kiln::part::work::Work;
use kiln::progress::Progress;
use kiln::size::MIB;
use kiln::store::Store;
use kiln::tree::{Body, Entry, Tree};

/// The time of the test image.
pub const EPOCH: u64 = 1_577_836_800;

/// A small image with everything a disk needs, in folders of its own.
pub struct Bench {
    folder: tempfile::TempDir,
    pub plan: ImagePlan,
    pub tree: Tree,
    pub layers: Vec<PackedLayer>,
    store: Store,
}

impl Bench {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        for name in ["scratch", "out"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        fs::write(folder.path().join("initrd"), noise(3 << 20, 2)).unwrap();
        Self { folder, plan: plan(), tree: tree(), layers: Vec::new(), store }
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn with<T>(&self, use_parts: impl FnOnce(&Parts<'_>) -> T) -> T {
        let (scratch, progress) = (self.path("scratch"), Progress::silent());
        let assembly = Assembly::Tree { tree: &self.tree, layers: &self.layers };
        let identity = Digest::of(b"a test image");
        let packages = base::of(&self.plan.base).unwrap().packages();
        let image = Image { plan: &self.plan, identity, epoch: EPOCH, assembly, packages };
        let work = Work::new(&self.store, &scratch, &progress);
        use_parts(&Parts::new(image, work).with_initrd(self.path("initrd")))
    }

    pub fn write(&self, name: &str) -> Vec<String> {
        let writer = output::configured(name, self.plan.output_options.get(name)).unwrap();
        let files = self.with(|parts| writer.write(parts, &self.path("out")).unwrap());
        files.into_iter().map(|written| written.file).collect()
    }

    pub fn disk_error(&self) -> kiln::error::Error {
        self.with(|parts| parts.disk().map(drop).unwrap_err())
    }

    /// Bytes of one partition as a file of its own, and its offset.
    pub fn partition(&self, label: &str) -> (PathBuf, u64) {
        let place =
            self.with(|parts| parts.disk().unwrap().layout.as_ref().unwrap().get(label).unwrap().clone());
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
        choices: Vec::new(),
        base: BasePlan::Packages(PackagesPlan {
            distribution: "debian".to_owned(),
            suite: "trixie".to_owned(),
            snapshot: None,
            components: Vec::new(),
            packages: Vec::new(),
        }),
        layers: Vec::new(),
        preload: Vec::new(),
        kernel_arguments: vec!["console=ttyS0".to_owned(), "quiet".to_owned()],
        disk: DiskPlan {
            sector_size: 512,
            bios: MIB,
            esp: 40 * MIB,
            var: 64 * MIB,
            verity: 2 * MIB,
            windows: 0,
            boot_manager: Default::default(),
        },
        metadata: None,
        outputs: Vec::new(),
        output_options: BTreeMap::new(),
        tests: Vec::new(),
    }
}

fn tree() -> Tree {
    let mut tree = Tree::default();
    tree.insert("boot/vmlinuz-6.12.1-test", Entry::file(Body::inline(noise(5 << 20, 1)), 0o644));
    tree.insert(
        "usr/lib/systemd/boot/efi/systemd-bootx64.efi",
        Entry::file(Body::inline(*b"MZ loader"), 0o755),
    );
    tree.insert("usr/bin/shared", Entry { gid: 42, ..Entry::file(Body::inline(*b"x"), 0o2755) });
    tree.insert("usr/bin/text", Entry::file(Body::inline(b"line of text\n".repeat(100_000)), 0o755));
    tree.insert("usr/bin/link", Entry::symlink("shared"));
    tree.insert(format!("usr/share/{}", "long-".repeat(40)), Entry::file(Body::inline(*b"long"), 0o600));
    tree.insert("home/user", Entry { uid: 1000, gid: 1000, ..Entry::directory(0o700) });
    tree.complete();
    tree
}

/// Bytes that do not compress, the same in each run.
pub fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// Whether `tools` are all here; if not, the test is counted as not run.
pub fn have(test: &str, tools: &[&str]) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = |tool: &&str| std::env::split_paths(&paths).any(|folder| folder.join(tool).is_file());
    let missing: Vec<_> = tools.iter().filter(|tool| !found(tool)).collect();
    if !missing.is_empty() {
        testkit::not_run(test, &format!("no {missing:?} on this machine"));
    }
    missing.is_empty()
}

/// Runs a tool that must succeed; what it printed on both outputs.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C.UTF-8")
        .env("MTOOLS_SKIP_CHECK", "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {text}");
    text.into_owned()
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
