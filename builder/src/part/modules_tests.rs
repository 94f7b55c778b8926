use std::fs;
use std::io::Write;
use std::path::Path;

use super::*;
use crate::tree::{Body, Entry};

const PACKAGES: Packages = Packages { kernel: "kernel", full_kernel: "full", boot_loader: "loader" };

const ELF: &[u8] = b"\x7fELF module";

fn tree(files: &[(&str, &[u8])]) -> Tree {
    let mut tree = Tree::default();
    for (name, bytes) in files {
        tree.insert(format!("usr/lib/modules/6.12/{name}"), Entry::file(Body::inline(*bytes), 0o644));
    }
    tree.complete();
    tree
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

const DEP: &[u8] = b"kernel/squashfs.ko.xz:\nkernel/overlay.ko:\nkernel/loop.ko:\n\
    kernel/virtio_blk.ko: kernel/virtio_ring.ko kernel/virtio.ko\nkernel/virtio_ring.ko: kernel/virtio.ko\nkernel/virtio.ko:\n\
    kernel/ext4.ko.zst: kernel/jbd2.ko kernel/crc32c-fast.ko\nkernel/jbd2.ko:\nkernel/crc32c-fast.ko:\nkernel/soft.ko:\n";

fn usual(extra: &[(&str, &[u8])]) -> Tree {
    let compressed = zstd::encode_all(ELF, 1).unwrap();
    let packed = xz(ELF);
    let mut files: Vec<(&str, &[u8])> = vec![
        ("modules.dep", DEP),
        ("modules.builtin", b"kernel/nvme.ko\n"),
        ("modules.softdep", b"# comment\nsoftdep ext4 pre: soft builtin-one post: other\nsoftdep soft pre: ext4\n"),
        ("modules.alias", b"# comment\nalias virtio:d00000002v* virtio_blk\nalias fs-ext4 ext4\nalias virtio:d1v* virtio_net\n"),
        ("kernel/squashfs.ko.xz", &packed),
        ("kernel/ext4.ko.zst", &compressed),
    ];
    for name in ["overlay", "loop", "virtio_blk", "virtio_ring", "virtio", "jbd2", "crc32c-fast", "soft"] {
        files.push((Box::leak(format!("kernel/{name}.ko").into_boxed_str()), ELF));
    }
    files.extend(extra);
    tree(&files)
}

fn needed(file: &str) -> Load {
    Load { file: file.to_owned(), optional: false }
}

#[test]
fn a_kernel_lacks_the_drivers_that_are_neither_files_nor_built_in() {
    let all = HARDWARE
        .iter()
        .chain(NETWORK)
        .flat_map(|(_, names)| *names)
        .map(|name| (*name).to_owned());
    let mut modules: BTreeSet<String> = all.collect();
    assert!(lacking(&modules).is_empty());
    modules.remove("hpsa");
    modules.remove("smartpqi");
    modules.remove("gve");
    assert_eq!(
        lacking(&modules),
        [
            MissingDrivers {
                devices: "disks and controllers",
                hardware: "servers",
                drivers: vec!["hpsa", "smartpqi"]
            },
            MissingDrivers { devices: "network cards", hardware: "Google Cloud", drivers: vec!["gve"] },
        ]
    );
}

#[test]
fn takes_dependencies_first_and_decompresses() {
    let selection = select(&usual(&[]), PACKAGES).unwrap();
    let order: Vec<_> = selection.load.iter().map(|load| (load.file.as_str(), load.optional)).collect();
    let expected = [
        ("loop.ko", false),
        ("squashfs.ko", false),
        ("overlay.ko", false),
        ("soft.ko", true),
        ("crc32c_fast.ko", false),
        ("jbd2.ko", false),
        ("ext4.ko", false),
    ];
    assert_eq!(order, expected);
    let chain = ["virtio.ko", "virtio_ring.ko", "virtio_blk.ko"].map(needed).to_vec();
    assert_eq!(selection.aliases, [("virtio:d00000002v*".to_owned(), chain)]);
    assert!(selection.files.values().all(|bytes| bytes == ELF));
    assert_eq!(selection.files.len(), 10);
}

#[test]
fn what_is_built_in_is_not_missed_and_what_is_missing_is_named() {
    let builtin = usual(&[
        ("modules.dep", b"kernel/loop.ko:\nkernel/overlay.ko:\n"),
        ("modules.builtin", b"fs/squashfs.ko\nfs/ext4.ko\n"),
    ]);
    assert_eq!(select(&builtin, PACKAGES).unwrap().load.len(), 2);
    let lacking = usual(&[("modules.dep", b"kernel/loop.ko:\nkernel/squashfs.ko.xz:\n")]);
    let error = select(&lacking, PACKAGES).unwrap_err();
    assert!(error.message().contains("no module overlay"), "{error}");
}

#[test]
fn broken_trees_are_named() {
    let gone = usual(&[
        ("modules.dep", &[DEP, b"kernel/nvme.ko: kernel/gone.ko\n"].concat()),
        ("modules.alias", b"alias pci:* nvme\n"),
    ]);
    assert!(
        select(&gone, PACKAGES)
            .unwrap_err()
            .message()
            .contains("lacks usr/lib/modules/6.12/kernel/")
    );
    let garbage = usual(&[("kernel/loop.ko", b"not a module")]);
    assert!(
        select(&garbage, PACKAGES)
            .unwrap_err()
            .message()
            .contains("loop.ko is not a kernel module")
    );
    assert!(select(&Tree::default(), PACKAGES).unwrap_err().message().contains("no kernel modules"));
    let mut two = usual(&[]);
    two.insert("usr/lib/modules/7.0/modules.dep", Entry::file(Body::inline(*b""), 0o644));
    assert!(select(&two, PACKAGES).unwrap_err().message().contains("6.12, 7.0"));
    let mut undep = usual(&[]);
    undep.remove("usr/lib/modules/6.12/modules.softdep");
    assert!(
        select(&undep, PACKAGES)
            .unwrap_err()
            .message()
            .contains("lacks usr/lib/modules/6.12/modules.softdep")
    );
}

/// Excerpts of what depmod makes of Debian's kernel packages, and the answers of `modprobe --show-depends` to
/// the names in the tables of this module: `NAME: MODULE…`, itself last.
const KERNELS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/part/modules_of_kernels");

/// The excerpt of a kernel as a tree, with a module at every path of modules.dep.
fn kernel(folder: &Path) -> Tree {
    let read = |name: &str| fs::read(folder.join(name)).unwrap();
    let dep = read("modules.dep");
    let packed = xz(ELF);
    let text = String::from_utf8(dep.clone()).unwrap();
    let paths = text.lines().filter_map(|line| line.split_once(':')).map(|(path, _)| path);
    let mut files: Vec<(&str, &[u8])> = paths
        .map(|path| (path, if path.ends_with(".xz") { packed.as_slice() } else { ELF }))
        .collect();
    let indexes = ["modules.softdep", "modules.alias", "modules.builtin"].map(|name| (name, read(name)));
    files.extend(indexes.iter().map(|(name, bytes)| (*name, bytes.as_slice())));
    files.push(("modules.dep", &dep));
    tree(&files)
}

#[test]
fn every_kernel_package_gets_the_modules_that_modprobe_would_load() {
    let mut kernels = 0;
    let entries = fs::read_dir(KERNELS).unwrap().map(|entry| entry.unwrap().path());
    for entry in entries.filter(|path| path.is_dir()) {
        kernels += 1;
        let tree = kernel(&entry);
        let index = Index::read(&tree, "6.12", PACKAGES).unwrap();
        let answers = fs::read_to_string(entry.join("modprobe")).unwrap();
        for (name, modules) in answers.lines().map(|line| line.split_once(": ").unwrap()) {
            let wanted: BTreeSet<String> = modules.split(' ').map(|module| format!("{module}.ko")).collect();
            let chosen = index.loads(name);
            let files: BTreeSet<String> = chosen.iter().map(|load| load.file.clone()).collect();
            assert_eq!(files, wanted, "{name} of {}", entry.display());
            assert_eq!(chosen.last(), Some(&needed(&format!("{name}.ko"))), "{name} of {}", entry.display());
        }
        let selection = select(&tree, PACKAGES).unwrap();
        let variables = Load { file: "efivarfs.ko".to_owned(), optional: true };
        assert!(selection.load.contains(&variables), "the firmware names no boot disk: {}", entry.display());
        let loaded = |file: &str| selection.load.iter().any(|load| load.file == file);
        assert_eq!(loaded("ext4.ko"), loaded("crc32c_generic.ko"), "{}", entry.display());
        assert_eq!(
            selection.load.iter().filter(|load| load.file == "jbd2.ko").count(),
            usize::from(loaded("ext4.ko"))
        );
    }
    assert_eq!(kernels, 4);
}

#[test]
fn an_implementation_for_another_processor_may_fail() {
    let several = usual(&[
        ("modules.dep", &[DEP, b"kernel/crc32c-intel.ko:\nkernel/crc32c-generic.ko:\n"].concat()),
        ("modules.softdep", b"softdep ext4 pre: crypto-crc32c\nsoftdep virtio_blk pre: crypto-crc32c\n"),
        ("modules.alias", b"alias crypto-crc32c crc32c_intel\nalias crypto-crc32c crc32c_generic\nalias virtio:d2v* virtio_blk\n"),
        ("kernel/crc32c-intel.ko", ELF),
        ("kernel/crc32c-generic.ko", ELF),
    ]);
    let selection = select(&several, PACKAGES).unwrap();
    let optional =
        ["crc32c_intel.ko", "crc32c_generic.ko"].map(|file| Load { file: file.to_owned(), optional: true });
    assert!(selection.load.windows(2).any(|pair| pair == optional), "{:?}", selection.load);
    let (pattern, loads) = &selection.aliases[0];
    assert_eq!((pattern.as_str(), &loads[..2]), ("virtio:d2v*", &optional[..]));
    assert_eq!(loads.last(), Some(&needed("virtio_blk.ko")));
}
