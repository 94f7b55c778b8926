//! Bases that are broken, not what they seem, or not what the definition wants: each is refused by name.

use std::fs;
use std::path::Path;

use crate::bake::{definition, kiln};
use crate::lookalike::{self, PROGRAMS, Registry, SERVER_2022};
use crate::tools::{have, run};

/// A change to a good base that must be told.
type Fault = (&'static str, fn(&Path));

/// Tries `kiln lock` on a base; what it says when it refuses.
fn said(folder: &Path, windows: &str) -> String {
    definition(folder, windows, "'wim'");
    let _ = fs::remove_file(folder.join("win.lock"));
    let output = kiln(folder, &["lock", "win.toml"]);
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(!said.contains("panicked"), "{said}");
    if output.status.success() { format!("it was taken: {said}") } else { said }
}

/// Replaces bytes of a file.
fn put(path: &Path, at: usize, bytes: &[u8]) {
    let mut all = fs::read(path).unwrap();
    all[at..at + bytes.len()].copy_from_slice(bytes);
    fs::write(path, all).unwrap();
}

fn cut(path: &Path, length: usize) {
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..length.min(bytes.len())]).unwrap();
}

#[test]
fn lookalike_wims_that_are_broken_or_wrong_are_refused_by_name() {
    let test = "lookalike_wims_that_are_broken_or_wrong_are_refused_by_name";
    let Some(folder) = lookalike::folder(test) else { return };
    let here = folder.path();
    run("wimlib-imagex", &["export", "install.wim", "2", "good.wim"], here);
    let mut wrong = Vec::new();
    let faults: &[Fault] = &[
        ("holds 2 images", |here| {
            fs::copy(here.join("install.wim"), here.join("x.wim")).unwrap();
        }),
        ("header", |here| cut(&here.join("x.wim"), 100)),
        ("refuses it", |here| cut(&here.join("x.wim"), 300)),
        ("refuses it", |here| {
            let length = fs::metadata(here.join("x.wim")).unwrap().len() as usize;
            cut(&here.join("x.wim"), length - 10);
        }),
        // The header: its length, its version, its parts, how many images, where the tables are.
        ("refuses it", |here| put(&here.join("x.wim"), 8, &[0; 4])),
        ("refuses it", |here| put(&here.join("x.wim"), 12, &[0xff; 4])),
        ("refuses it", |here| put(&here.join("x.wim"), 20, &[1, 0, 0, 0])),
        ("refuses it", |here| put(&here.join("x.wim"), 40, &[2, 0, 3, 0])),
        ("refuses it", |here| put(&here.join("x.wim"), 44, &[0xff; 4])),
        ("refuses it", |here| put(&here.join("x.wim"), 44, &[9, 0, 0, 0])),
        ("refuses it", |here| put(&here.join("x.wim"), 64, &[0xff; 8])),
        ("refuses it", |here| put(&here.join("x.wim"), 56, &[0xff; 8])),
        ("refuses it", |here| put(&here.join("x.wim"), 88, &[0xff; 8])),
        ("refuses it", |here| put(&here.join("x.wim"), 80, &[0xff; 8])),
        ("neither a WIM nor a disk", |here| put(&here.join("x.wim"), 0, b"MSWIN")),
        ("config/SOFTWARE\" does not exist", |here| remove(here, "SOFTWARE", None)),
        ("config/SYSTEM\" does not exist", |here| remove(here, "SYSTEM", None)),
        ("it is empty", |here| remove(here, "SYSTEM", Some(b""))),
        ("does not begin with \"regf\"", |here| remove(here, "SOFTWARE", Some(b"of no registry"))),
        ("dirty", |here| {
            let mut hive = hive(here, "SYSTEM");
            hive[4] ^= 1;
            remove(here, "SYSTEM", Some(&hive));
        }),
        ("checksum", |here| {
            let mut hive = hive(here, "SOFTWARE");
            hive[200] ^= 1;
            remove(here, "SOFTWARE", Some(&hive));
        }),
        ("no bin at", |here| {
            let mut hive = hive(here, "SOFTWARE");
            hive[4096] ^= 1;
            remove(here, "SOFTWARE", Some(&hive));
        }),
        ("is a link where a file must be", |here| {
            fs::create_dir_all(here.join("link")).unwrap();
            std::os::unix::fs::symlink("/etc/hostname", here.join("link/SYSTEM")).unwrap();
            update(here, "delete '/Windows/System32/config/SYSTEM'\nadd 'link' '/Windows/System32/config'\n");
            fs::remove_dir_all(here.join("link")).unwrap();
        }),
    ];
    for (number, (says, fault)) in faults.iter().enumerate() {
        fs::copy(here.join("good.wim"), here.join("x.wim")).unwrap();
        fault(here);
        let said = said(here, "x.wim");
        if !said.contains(says) {
            wrong.push(format!("case {number}: \"{says}\" is not in: {said}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A hive of `x.wim`.
fn hive(here: &Path, name: &str) -> Vec<u8> {
    let path = format!("/Windows/System32/config/{name}");
    run("wimlib-imagex", &["extract", "x.wim", "1", &path, "--dest-dir=."], here);
    let bytes = fs::read(here.join(name)).unwrap();
    fs::remove_file(here.join(name)).unwrap();
    bytes
}

/// Takes a hive out of `x.wim`, or puts another in its place.
fn remove(here: &Path, name: &str, other: Option<&[u8]>) {
    let path = format!("/Windows/System32/config/{name}");
    match other {
        None => update(here, &format!("delete '{path}'\n")),
        Some(bytes) => {
            fs::write(here.join("other"), bytes).unwrap();
            update(here, &format!("add 'other' '{path}'\n"));
        }
    }
}

fn update(here: &Path, commands: &str) {
    for command in commands.lines() {
        run("wimlib-imagex", &["update", "x.wim", "1", "--command", command], here);
    }
}

#[test]
fn lookalike_windows_that_the_definition_does_not_want_is_refused_by_name() {
    let test = "lookalike_windows_that_the_definition_does_not_want_is_refused_by_name";
    if !have(test, &PROGRAMS) {
        return;
    }
    for (registry, says) in [
        (Registry { build: "26100", ..SERVER_2022 }, "wants build 20348"),
        (Registry { revision: 2699, ..SERVER_2022 }, "20348.2700 or later"),
        (Registry { state: "IMAGE_STATE_COMPLETE", ..SERVER_2022 }, "not generalized"),
        (Registry { build: "x", ..SERVER_2022 }, "does not tell CurrentBuildNumber"),
        (Registry { edition: "Professional", ..SERVER_2022 }, "no Windows Server"),
        (Registry { processors: "ARM64", ..SERVER_2022 }, "processors of ARM64"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        lookalike::wim(folder.path(), registry);
        lookalike::export(folder.path());
        let said = said(folder.path(), "x.wim");
        assert!(said.contains(says) && said.contains("help:"), "{says}: {said}");
    }
}

#[test]
fn lookalike_windows_with_a_service_of_a_layer_is_refused_when_it_is_baked() {
    let test = "lookalike_windows_with_a_service_of_a_layer_is_refused_when_it_is_baked";
    if !have(test, &PROGRAMS) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    lookalike::wim(folder.path(), Registry { service: "KUBELET", ..SERVER_2022 });
    lookalike::export(folder.path());
    definition(folder.path(), "x.wim", "'wim'");
    let output = kiln(folder.path(), &["build", "win.toml", "--output-dir", "out"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("the service kubelet: the base has it already"), "{said}");
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(!folder.path().join("out/win.wim").exists());
}

#[test]
fn lookalike_disks_that_are_broken_or_wrong_are_refused_by_name() {
    let test = "lookalike_disks_that_are_broken_or_wrong_are_refused_by_name";
    let Some(folder) = lookalike::folder(test) else { return };
    let here = folder.path();
    lookalike::disk(here);
    // Where the volume with Windows begins.
    const VOLUME: usize = 25 << 20;
    let mut wrong = Vec::new();
    let raw: &[Fault] = &[
        ("partition table", |here| put(&here.join("x.raw"), 512, b"NO TABLE")),
        ("partition table", |here| put(&here.join("x.raw"), 512 + 16, &[0xff; 4])),
        ("partition", |here| cut(&here.join("x.raw"), 40 << 20)),
        ("neither a WIM nor a disk", |here| put(&here.join("x.raw"), 510, &[0, 0])),
        // BitLocker writes its own sign over that of NTFS, and the volume of recovery holds no Windows.
        ("wimlib-imagex refuses it", |here| put(&here.join("x.raw"), VOLUME + 3, b"-FVE-FS-")),
        ("NTFS volume", |here| put(&here.join("x.raw"), VOLUME + 0x30, &[0xff; 8])),
        ("NTFS volume", |here| put(&here.join("x.raw"), VOLUME + 0x0d, &[0])),
        ("NTFS volume", |here| put(&here.join("x.raw"), VOLUME + 0x28, &[0xff; 8])),
        ("NTFS volume", |here| {
            let mft = VOLUME + 4 * 4096;
            put(&here.join("x.raw"), mft, &[0; 4096]);
        }),
    ];
    for (number, (says, fault)) in raw.iter().enumerate() {
        fs::copy(here.join("disk.raw"), here.join("x.raw")).unwrap();
        fault(here);
        let said = said(here, "x.raw");
        if !said.contains(says) {
            wrong.push(format!("case {number}: \"{says}\" is not in: {said}"));
        }
    }
    let vhdx: &[Fault] = &[
        ("qemu-img cannot read it", |here| cut(&here.join("x.vhdx"), 60_000)),
        ("qemu-img cannot read it", |here| {
            put(&here.join("x.vhdx"), 64 << 10, &[0; 4096]);
            put(&here.join("x.vhdx"), 128 << 10, &[0; 4096]);
        }),
        ("qemu-img cannot read it", |here| put(&here.join("x.vhdx"), 192 << 10, &[0; 65536])),
    ];
    run("qemu-img", &["convert", "-f", "raw", "-O", "vhdx", "disk.raw", "good.vhdx"], here);
    for (number, (says, fault)) in vhdx.iter().enumerate() {
        fs::copy(here.join("good.vhdx"), here.join("x.vhdx")).unwrap();
        fault(here);
        let said = said(here, "x.vhdx");
        if !said.contains(says) {
            wrong.push(format!("case {number}: \"{says}\" is not in: {said}"));
        }
    }
    let vhd: &[Fault] = &[
        ("differences to another VHD", |here| {
            let length = fs::metadata(here.join("x.vhd")).unwrap().len() as usize;
            put(&here.join("x.vhd"), length - 512 + 60, &[0, 0, 0, 4]);
        }),
        ("whose end is missing", |here| {
            let length = fs::metadata(here.join("x.vhd")).unwrap().len() as usize;
            cut(&here.join("x.vhd"), length - 512);
        }),
        // The header of a dynamic disk, and its table of blocks.
        ("qemu-img cannot read it", |here| put(&here.join("x.vhd"), 512, b"NOSPARSE")),
        ("qemu-img cannot read it", |here| put(&here.join("x.vhd"), 512 + 28, &[0xff; 4])),
    ];
    run("qemu-img", &["convert", "-f", "raw", "-O", "vpc", "disk.raw", "good.vhd"], here);
    for (number, (says, fault)) in vhd.iter().enumerate() {
        fs::copy(here.join("good.vhd"), here.join("x.vhd")).unwrap();
        fault(here);
        let said = said(here, "x.vhd");
        if !said.contains(says) {
            wrong.push(format!("case {number}: \"{says}\" is not in: {said}"));
        }
    }
    run("qemu-img", &["create", "-q", "-f", "qcow2", "-b", "disk.raw", "-F", "raw", "backed.qcow2"], here);
    assert!(said(here, "backed.qcow2").contains("backing file"));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
