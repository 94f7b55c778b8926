//! The disk image and its outputs, judged by the tools that everybody else uses to read them.

mod bench;
mod clouds;
mod extensions;
mod provenance;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use kiln::definition::plan::DiskPlan;
use kiln::digest::Digest;
use kiln::error::ErrorKind;
use kiln::format::squashfs::{self, Compressor};
use kiln::part::layout;
use kiln::size::MIB;
use kiln::tree::{Body, Entry, Tree};
use kiln::verify::{self, Wanted};

use bench::{Bench, EPOCH, have, noise, run, text};

/// Where packages put GRUB's files for a BIOS.
const GRUB: &str = "/usr/lib/grub/i386-pc";

/// GRUB's files of this machine; without them `test` is counted as not run.
fn files_of_grub(test: &str) -> Option<Vec<PathBuf>> {
    let Ok(files) = fs::read_dir(GRUB) else {
        testkit::not_run(test, "no GRUB for a BIOS here (package grub-pc-bin)");
        return None;
    };
    Some(files.map(|file| file.unwrap().path()).collect())
}

/// Adds files of this machine to the tree, where they are here.
fn add(bench: &mut Bench, files: &[PathBuf]) {
    for path in files {
        let entry = Entry::file(Body::whole(path).unwrap(), 0o644);
        bench.tree.insert(text(path).trim_start_matches('/'), entry);
    }
    bench.tree.complete();
}

/// What to spoil, a part of the message, a part of the hint.
type Case = (fn(&mut Bench), &'static str, &'static str);

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
fn a_disk_for_sectors_of_4096_bytes_has_its_table_and_file_systems_in_them() {
    if !have("4K native", &["mksquashfs", "mke2fs", "fdisk", "fsck.vfat", "mtype", "e2fsck"]) {
        return;
    }
    let mut bench = Bench::new();
    bench.plan.disk = DiskPlan { sector_size: 4096, bios: 0, esp: 264 * MIB, ..bench.plan.disk };
    bench.write("raw");
    let raw = bench.path("out/test-node.raw");
    let table = run("fdisk", &["--sector-size", "4096", "-o", "Start,Type", "-l", text(&raw)]);
    for part in ["Disklabel type: gpt", "\n  256 EFI System\n", "\n67840 Linux root (x86-64)\n"] {
        assert!(table.contains(part), "{part} in {table}");
    }
    assert!(!table.contains("corrupt"), "{table}");

    let (esp, _) = bench.partition(layout::ESP);
    let head = fs::read(&esp).unwrap();
    assert_eq!(
        (&head[11..13], head[13]),
        (&4096_u16.to_le_bytes()[..], 1),
        "bytes in a sector, sectors in a cluster"
    );
    let verdict = run("fsck.vfat", &["-n", "-v", text(&esp)]);
    assert!(verdict.contains("4096 bytes per logical sector") && verdict.contains("32 bit"), "{verdict}");
    let entry = run("mtype", &["-i", text(&esp), "::/loader/entries/test-node.conf"]);
    assert!(entry.starts_with("title test-node"), "{entry}");
    let (var, _) = bench.partition(layout::VAR);
    run("e2fsck", &["-fn", text(&var)]);

    bench.plan.disk.esp = 96 * MIB;
    let error = bench.disk_error();
    assert!(error.message().contains("too small for FAT32"), "{error}");
    assert_eq!(error.hint(), Some("set disk.esp to at least 264 MiB"));
}

#[test]
fn a_bios_finds_its_loader_before_the_partition_table_and_in_a_partition_of_its_own() {
    if !have("BIOS loader", &["mksquashfs", "mke2fs", "sgdisk", "grub-mkimage"]) {
        return;
    }
    let Some(files) = files_of_grub("BIOS loader") else { return };
    let bench = |bios| {
        let mut bench = Bench::new();
        bench.plan.disk.bios = bios;
        add(&mut bench, &files);
        bench.write("raw");
        bench
    };
    let with = bench(MIB);
    let raw = fs::read(with.path("out/test-node.raw")).unwrap();
    let verdict = run("sgdisk", &["-v", text(&with.path("out/test-node.raw"))]);
    assert!(verdict.contains("No problems found"), "{verdict}");
    let info = run("sgdisk", &["-i", "1", text(&with.path("out/test-node.raw"))]);
    assert!(info.contains("21686148-6449-6E6F-744E-656564454649") && info.contains("'bios'"), "{info}");
    let boot = fs::read(Path::new(GRUB).join("boot.img")).unwrap();
    assert_eq!((&raw[..3], &raw[510..512]), (&boot[..3], &[0x55, 0xaa][..]));
    let core = &raw[1 << 20..2 << 20];
    assert!(core.starts_with(&fs::read(Path::new(GRUB).join("diskboot.img")).unwrap()[..0x1f4]));
    let without = fs::read(bench(0).path("out/test-node.raw")).unwrap();
    assert!(without.len() + (1 << 20) == raw.len() && without[..440] == [0; 440]);
}

#[test]
fn a_unified_kernel_image_has_the_parts_that_the_network_set_has() {
    const STUB: &str = "usr/lib/systemd/boot/efi/linuxx64.efi.stub";
    if !have("unified kernel image", &["mksquashfs", "objdump", "objcopy"]) {
        return;
    }
    let mut bench = Bench::new();
    let Ok(stub) = Body::whole(&Path::new("/").join(STUB)) else {
        return testkit::not_run("unified kernel image", "no stub here (package systemd-boot-efi)");
    };
    bench.tree.insert(STUB, Entry::file(stub, 0o644));
    bench.tree.complete();
    bench.write("uki");
    bench.write("pxe");
    let image = bench.path("out/test-node.efi");
    let headers = run("objdump", &["-h", text(&image)]);
    let part = |name: &str| {
        assert!(headers.contains(name), "{name} in {headers}");
        let out = bench.path("part");
        run("objcopy", &["-O", "binary", &format!("--only-section={name}"), text(&image), text(&out)]);
        fs::read(out).unwrap()
    };
    let file = |name: &str| fs::read(bench.path("out/test-node-pxe").join(name)).unwrap();
    assert!(part(".linux").starts_with(&file("vmlinuz")) && part(".initrd").starts_with(&file("initrd")));
    assert!(
        part(".cmdline").starts_with(b"console=ttyS0 quiet") && part(".uname").starts_with(b"6.12.1-test")
    );
}

#[test]
fn a_disc_boots_by_both_firmwares_and_is_the_same_twice() {
    if !have("ISO", &["mksquashfs", "xorriso", "grub-mkimage", "mtype", "sgdisk"]) {
        return;
    }
    let Some(files) = files_of_grub("ISO") else { return };
    let written = || {
        let mut bench = Bench::new();
        add(&mut bench, &files);
        bench.write("iso");
        bench
    };
    let (one, other) = (written(), written());
    let iso = one.path("out/test-node.iso");
    assert_eq!(Digest::of_file(&iso).unwrap(), Digest::of_file(&other.path("out/test-node.iso")).unwrap());
    let report =
        run("xorriso", &["-indev", text(&iso), "-report_el_torito", "plain", "-report_system_area", "plain"]);
    for part in ["BIOS", "UEFI", "/boot/bios", "/esp.img", "grub2-mbr", "GPT"] {
        assert!(report.contains(part), "{part} in {report}");
    }
    let esp = one.path("esp");
    run("xorriso", &["-osirrox", "on", "-indev", text(&iso), "-extract", "/esp.img", text(&esp)]);
    let entry = run("mtype", &["-i", text(&esp), "::/loader/entries/test-node.conf"]);
    assert!(entry.ends_with("options console=ttyS0 quiet\n"), "the root is in memory: {entry}");
}

#[test]
fn an_installer_has_the_disk_its_block_map_and_arguments_that_fit_both() {
    if !have("installer ISO", &["mksquashfs", "mke2fs", "xorriso", "mtype", "bmaptool"]) {
        return;
    }
    let mut bench = Bench::new();
    let mut set = |text: &str| {
        bench.plan.output_options.insert("iso".to_owned(), toml::from_str(text).unwrap());
    };
    set("install = { disk = \"bus=nvme,size>=100G\", overwrite = true, then = \"reboot\" }");
    bench.write("iso");
    let iso = bench.path("out/test-node.iso");
    let extract = |name: &str| {
        let to = bench.path(name);
        run("xorriso", &["-osirrox", "on", "-indev", text(&iso), "-extract", &format!("/{name}"), text(&to)]);
        to
    };
    let [esp, disk, map] = ["esp.img", "disk.raw.zst", "disk.raw.bmap"].map(extract);
    let entry = run("mtype", &["-i", text(&esp), "::/loader/entries/test-node.conf"]);
    let expected = format!(
        "options console=ttyS0 quiet firstboot.install=LABEL=TEST_NODE/disk.raw.zst firstboot.install-sha256={} \
         firstboot.install-disk=bus=nvme,size>=100G firstboot.install-overwrite firstboot.install-then=reboot\n",
        Digest::of_file(&map).unwrap().hex()
    );
    assert!(entry.ends_with(&expected), "{entry}");
    let target = bench.path("target");
    run("bmaptool", &["copy", "--bmap", text(&map), text(&disk), text(&target)]);
    run("cmp", &[text(&bench.path("scratch/disk.raw")), text(&target)]);
}

#[test]
fn a_fault_is_found_in_the_finished_disk_whatever_its_form() {
    if !have("verify", &["mksquashfs", "mke2fs", "sqfs2tar", "mtype", "qemu-img"]) {
        return;
    }
    let mut bench = Bench::new();
    bench.plan.kernel_arguments.push("apparmor=0".to_owned());
    for (path, text) in [("etc/shadow", "root:$6$a$b:1::::::\n"), ("usr/lib/os-release", "ID=debian\n")] {
        bench.tree.insert(path, Entry::file(Body::inline(text.as_bytes()), 0o640));
    }
    bench.tree.complete();
    let found = |path: &Path| {
        let spool = tempfile::tempdir().unwrap();
        let subject = verify::read(
            path,
            "it",
            Wanted { arch: bench.plan.arch, edition: None },
            bench.store(),
            spool.path(),
        )
        .unwrap();
        let found = verify::verify(&subject, &[]);
        found.into_iter().map(|one| (one.check, one.what)).collect::<BTreeMap<_, _>>()
    };
    for output in ["raw", "qcow2"] {
        bench.write(output);
        let found = found(&bench.path(&format!("out/test-node.{output}")));
        assert_eq!(found["password"], "/etc/shadow", "{output}: {found:?}");
        assert_eq!(found["kernel-argument"], "apparmor=0", "{output}: {found:?}");
        assert!(!found.contains_key("node"), "{output}: {found:?}");
    }
    let (empty, spool) = (Bench::new(), tempfile::tempdir().unwrap());
    empty.write("raw");
    let raw = empty.path("out/test-node.raw");
    let error = verify::read(
        &raw,
        "it",
        Wanted { arch: empty.plan.arch, edition: None },
        empty.store(),
        spool.path(),
    )
    .unwrap_err();
    assert!(error.message().contains("it holds no operating system"), "{error}");
}

#[test]
fn a_disk_that_ran_is_checked_as_its_next_machine_sees_it() {
    if !have("verify of a used disk", &["mksquashfs", "mke2fs", "sqfs2tar", "mtype", "debugfs"]) {
        return;
    }
    let mut bench = Bench::new();
    for (path, text) in [
        ("etc/ld.so.preload", "/usr/lib/x.so\n"),
        ("etc/sudoers.d/x", "x ALL=(ALL) NOPASSWD:ALL\n"),
        ("etc/sudoers", "x ALL=(ALL) NOPASSWD:ALL\n"),
        ("usr/lib/os-release", "ID=debian\n"),
    ] {
        bench.tree.insert(path, Entry::file(Body::inline(text.as_bytes()), 0o440));
    }
    bench.tree.complete();
    bench.write("raw");
    let (_, var) = bench.partition(layout::VAR);
    let raw = bench.path("out/test-node.raw");
    let (content, changes) = (bench.path("content"), bench.path("changes"));
    fs::write(&content, "root::1::::::\n").unwrap();
    let upper = "/lib/kiln/etc/upper";
    let lines = format!(
        "mkdir /lib\nmkdir /lib/kiln\nmkdir /lib/kiln/etc\nmkdir {upper}\nmkdir {upper}/sudoers.d\n\
         write {} {upper}/shadow\nea_set {upper}/sudoers.d trusted.overlay.opaque y\n\
         cd {upper}\nmknod ld.so.preload c 0 0\n",
        text(&content)
    );
    fs::write(&changes, lines).unwrap();
    run("debugfs", &["-w", "-f", text(&changes), &format!("{}?offset={var}", text(&raw))]);
    let spool = tempfile::tempdir().unwrap();
    let wanted = Wanted { arch: bench.plan.arch, edition: None };
    let subject = verify::read(&raw, "it", wanted, bench.store(), spool.path()).unwrap();
    let found = verify::verify(&subject, &["node", "secret-mode", "setuid"].map(str::to_owned));
    let found: Vec<_> = found.iter().map(|one| (one.check, one.what.as_str())).collect();
    let expected =
        [("leftover", "/var/lib/kiln/etc/upper"), ("password", "/etc/shadow"), ("sudo", "/etc/sudoers")];
    assert_eq!(found, expected);
}

/// A program for UEFI with a kernel command line.
fn program(command_line: &str) -> Vec<u8> {
    let mut bytes = vec![0; 512];
    for (at, part) in [
        (0, b"MZ".as_slice()),
        (0x3c, &[64]),
        (64, b"PE\0\0\x64\x86\x01"),
        (88, b".cmdline"),
        (96, &u32::try_from(command_line.len()).unwrap().to_le_bytes()),
        (108, &[0, 2]),
    ] {
        bytes[at..at + part.len()].copy_from_slice(part);
    }
    [&bytes, command_line.as_bytes()].concat()
}

#[test]
fn kernel_arguments_are_found_wherever_firmware_looks() {
    const TOOLS: [&str; 7] = ["mksquashfs", "mke2fs", "sqfs2tar", "mtype", "mcopy", "mdeltree", "sgdisk"];
    if !have("kernel arguments of a disk", &TOOLS) {
        return;
    }
    let mut bench = Bench::new();
    bench.tree.insert("usr/lib/os-release", Entry::file(Body::inline(*b"ID=debian\n"), 0o644));
    bench.tree.complete();
    bench.write("raw");
    let (_, esp) = bench.partition(layout::ESP);
    let raw = bench.path("out/test-node.raw");
    let image = format!("{}@@{esp}", text(&raw));
    let found = || {
        let spool = tempfile::tempdir().unwrap();
        let wanted = Wanted { arch: bench.plan.arch, edition: None };
        let subject = verify::read(&raw, "it", wanted, bench.store(), spool.path()).unwrap();
        let found = verify::verify(&subject, &[]);
        let is_ours = |check: &str| ["kernel-argument", "unread"].contains(&check);
        found.into_iter().filter(|one| is_ours(one.check)).map(|one| one.what).collect::<Vec<_>>()
    };
    assert_eq!(found(), [""; 0]);
    let mut expected = Vec::new();
    for (number, path) in [
        "/EFI/BOOT/BOOTX64.EFI",
        "/EFI/Linux/z.efi",
        "/EFI/Linux/z.efi.extra.d/a.addon.efi",
        "/kiln/other",
        "/loader/addons/a.addon.efi",
    ]
    .into_iter()
    .enumerate()
    {
        let own = bench.path("program");
        fs::write(&own, program(&format!("init=/{number}"))).unwrap();
        for (slash, _) in path.match_indices('/').skip(1) {
            let folder = format!("::{}", &path[..slash]);
            // Some are there.
            let _ = std::process::Command::new("mmd")
                .args(["-D", "s", "-i", &image, &folder])
                .output()
                .unwrap();
        }
        run("mcopy", &["-o", "-i", &image, text(&own), &format!("::{path}")]);
        expected.push(format!("init=/{number}"));
    }
    let entry = bench.path("entry");
    fs::write(&entry, "options \"systemd.debug_shell\"\n").unwrap();
    run("mcopy", &["-i", &image, text(&entry), "::/LOADER/ENTRIES/X.CONF"]);
    run("mattrib", &["-i", &image, "+h", "::/LOADER/ENTRIES/X.CONF"]);
    expected.push("systemd.debug_shell".to_owned());
    assert_eq!(found(), expected);
    // Its type does not hide it.
    let table = run("sgdisk", &["-p", text(&raw)]);
    let line = table.lines().find(|line| line.contains("EF00")).unwrap();
    let number = line.split_whitespace().next().unwrap();
    run("sgdisk", &["-t", &format!("{number}:8300"), text(&raw)]);
    assert_eq!(found(), expected);
    for folder in ["::/EFI", "::/kiln", "::/loader"] {
        run("mdeltree", &["-i", &image, folder]);
    }
    assert_eq!(found(), ["kernel command line"]);
}

#[test]
fn the_esp_is_clean_and_holds_loader_entry_kernel_and_initrd() {
    if !have("ESP", &["mksquashfs", "mke2fs", "fsck.vfat", "mtype", "mdir"]) {
        return;
    }
    let bench = Bench::new();
    let (esp, _) = bench.partition(layout::ESP);
    let verdict = run("fsck.vfat", &["-n", "-v", text(&esp)]);
    assert!(verdict.contains("FAT32") || verdict.contains("32 bit"), "{verdict}");
    assert!(!verdict.to_lowercase().contains("dirty") && !verdict.contains("differ"), "{verdict}");
    let entry = run("mtype", &["-i", text(&esp), "::/loader/entries/test-node.conf"]);
    let root = bench.with(|parts| parts.command_line().unwrap().to_owned());
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
    let (var, offset) = bench.partition(layout::VAR);
    run("e2fsck", &["-fn", &format!("{}?offset={offset}", text(&bench.path("scratch/disk.raw")))]);
    run("e2fsck", &["-fn", text(&var)]);
    let head = run("dumpe2fs", &["-h", text(&var)]);
    for line in [
        "Filesystem volume name:   var",
        "Reserved block count:     0",
        "Errors behavior:          Remount read-only",
    ] {
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
    let mut bench = Bench::new();
    let targets = ["/usr/share/ő.crt".to_owned(), format!("/usr/{}", "far/".repeat(40)), "ő/x".to_owned()];
    for (number, target) in targets.iter().enumerate() {
        bench.tree.insert(format!("usr/bin/to-{number}"), Entry::symlink(target.clone()));
        let long = format!("usr/bin/{}-{number}", "from-ő".repeat(30));
        bench.tree.insert(long, Entry::symlink(target.clone()));
    }
    let root = kept_root(&bench);
    let listing = run("unsquashfs", &["-lln", text(&root)]);
    let has =
        |start: &str, end: &str| listing.lines().any(|line| line.starts_with(start) && line.ends_with(end));
    assert!(has("drwxr-xr-x 0/0", " 2020-01-01 00:00 squashfs-root"), "{listing}");
    assert!(has("-rwxr-sr-x 0/42", "squashfs-root/usr/bin/shared"), "{listing}");
    assert!(has("drwx------ 1000/1000", "squashfs-root/home/user"), "{listing}");
    assert!(has("lrwxrwxrwx 0/0", "squashfs-root/usr/bin/link -> shared"), "{listing}");
    assert!(has("-rw------- 0/0", &"long-".repeat(40)), "{listing}");
    for target in targets {
        let found = listing.lines().filter(|line| line.ends_with(&format!(" -> {target}"))).count();
        assert_eq!(found, 2, "{target} in {listing}");
    }
    assert_eq!(
        listing.lines().filter(|line| line.contains("squashfs-root")).count(),
        bench.tree.entries.len() + 1
    );
    let content = run("unsquashfs", &["-cat", text(&root), "usr/bin/text"]);
    assert_eq!(content, "line of text\n".repeat(100_000));
}

/// The root as later builds find it: in the store.
fn kept_root(bench: &Bench) -> PathBuf {
    bench.with(|parts| {
        parts.root().unwrap();
        parts.keep().unwrap();
    });
    bench.with(|parts| parts.root().unwrap().to_owned())
}

#[test]
fn file_capabilities_survive_in_the_root() {
    if !have("capabilities", &["mksquashfs", "unsquashfs"]) {
        return;
    }
    let mut bench = Bench::new();
    let value = b"\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00".to_vec();
    let attributes = BTreeMap::from([("security.capability".to_owned(), value)]);
    bench
        .tree
        .insert("usr/bin/ping", Entry { xattrs: attributes, ..Entry::file(Body::inline(*b"p"), 0o755) });
    let root = kept_root(&bench);
    let head = run("unsquashfs", &["-s", text(&root)]);
    assert!(head.contains("Number of xattr ids 1"), "{head}");
}

#[test]
fn the_root_comes_from_the_store_until_something_in_it_changes() {
    if !have("cached root", &["mksquashfs"]) {
        return;
    }
    let mut bench = Bench::new();
    let first = kept_root(&bench);
    let time = fs::metadata(&first).unwrap().mtime_nsec();
    assert_eq!(first, bench.with(|parts| parts.root().unwrap().to_owned()));
    assert_eq!(time, fs::metadata(&first).unwrap().mtime_nsec());
    bench.tree.entries.get_mut("usr/bin/shared").unwrap().uid = 7;
    assert_ne!(first, bench.with(|parts| parts.root().unwrap().to_owned()));
}

#[test]
fn the_root_does_not_depend_on_the_number_of_processors() {
    if !have("processors", &["mksquashfs", "taskset"]) {
        return;
    }
    let bench = Bench::new();
    let (all, one) = (bench.path("all"), bench.path("one"));
    squashfs::write(&bench.tree, EPOCH, Compressor::Zstd, &all).unwrap();
    // Programs that this thread starts inherit its processors.
    let thread = fs::read_link("/proc/thread-self").unwrap();
    run("taskset", &["-pc", "0", text(Path::new(thread.file_name().unwrap()))]);
    squashfs::write(&bench.tree, EPOCH, Compressor::Zstd, &one).unwrap();
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
fn a_compressed_qcow2_has_the_same_content_in_fewer_bytes() {
    if !have("compressed qcow2", &["mksquashfs", "mke2fs", "qemu-img"]) {
        return;
    }
    let mut bench = Bench::new();
    bench.write("raw");
    bench.write("qcow2");
    let (raw, qcow2) = (bench.path("out/test-node.raw"), bench.path("out/test-node.qcow2"));
    let plain = fs::metadata(&qcow2).unwrap().len();
    for compression in ["zlib", "zstd"] {
        let options = toml::Table::from_iter([("compression".to_owned(), compression.into())]);
        bench.plan.output_options.insert("qcow2".to_owned(), options);
        let digests = [(); 2].map(|()| {
            fs::remove_file(&qcow2).unwrap();
            bench.write("qcow2");
            Digest::of_file(&qcow2).unwrap()
        });
        assert_eq!(digests[0], digests[1], "{compression}");
        assert!(fs::metadata(&qcow2).unwrap().len() < plain, "{compression}");
        run("qemu-img", &["compare", "-f", "raw", "-F", "qcow2", text(&raw), text(&qcow2)]);
    }
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
    assert!(
        raw.blocks() * 512 < raw.len() / 4,
        "{} of {} bytes are allocated",
        raw.blocks() * 512,
        raw.len()
    );
}

#[test]
fn what_does_not_fit_or_is_missing_is_named() {
    if !have("errors", &["mksquashfs"]) {
        return;
    }
    let cases: [Case; 6] = [
        (|bench| bench.plan.disk.esp = 20 * MIB, "disk.esp is 20 MiB", "at least 33 MiB"),
        (
            |bench| fs::write(bench.path("initrd"), noise(36 << 20, 3)).unwrap(),
            "do not fit into disk.esp of 40 MiB",
            "set disk.esp to",
        ),
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
        assert_eq!(error.kind(), ErrorKind::Definition, "{error}");
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
    let error = squashfs::write(&tree, EPOCH, Compressor::Zstd, &path).unwrap_err();
    assert!(error.message().contains("4 of 2"), "{error}");
    assert!(!path.exists());
}

#[test]
fn the_tools_own_reason_is_shown() {
    if !have("reason", &["mksquashfs"]) {
        return;
    }
    let bench = Bench::new();
    let error =
        squashfs::write(&bench.tree, EPOCH, Compressor::Zstd, &bench.path("no/such/folder")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tool);
    assert!(error.message().contains("No such file"), "{error}");
}
