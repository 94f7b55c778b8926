//! `kiln diff` and `kiln inspect --map` of finished images.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::bake::{definition, done, kiln};
use crate::lookalike;
use crate::tools::run;

/// What a command says when it fails.
fn refused(folder: &Path, arguments: &[&str]) -> String {
    let output = kiln(folder, arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("help:") && !said.contains("panicked"), "{said}");
    said
}

/// A base with two images, and what is baked from the second.
fn bake(here: &Path, outputs: &str) {
    definition(here, "install.wim", outputs);
    let text = fs::read_to_string(here.join("win.toml")).unwrap();
    let text = text.replace("build =", "edition = 'ServerStandardCore'\nbuild =");
    fs::write(here.join("win.toml"), text).unwrap();
    done(here, &["lock", "win.toml"]);
    done(here, &["build", "win.toml", "--output-dir", "out"]);
}

#[test]
fn lookalike_windows_is_compared_with_the_base_that_it_was_made_from() {
    let test = "lookalike_windows_is_compared_with_the_base_that_it_was_made_from";
    let Some(folder) = lookalike::folder(test) else { return };
    let here = folder.path();
    bake(here, "'wim', 'raw', 'vhdx'");
    let core = ["--edition", "ServerStandardCore"];
    for image in ["out/win.wim", "out/win.raw", "out/win.vhdx", "out"] {
        let said = done(here, &[&["diff", "install.wim", image][..], &core].concat());
        for line in [
            "  added    kubelet  automatic, LocalSystem, C:\\k\\kubelet.exe --windows-service",
            "  added    kubelet  Action=Allow Active=TRUE Dir=In Protocol=6 LPort=10250 Name=kubelet",
            "  changed  Path  %SystemRoot%\\system32;%SystemRoot% -> %SystemRoot%\\system32;%SystemRoot%;C:\\k",
            "  added    HKLM\\SOFTWARE\\Policies  (5 keys, 1 value: Microsoft\\Windows\\WindowsUpdate\\AU\\NoAutoUpdate = 1)",
            "  added    HKLM\\SYSTEM\\ControlSet001\\Services\\hns\\State  (1 key, 1 value: HNSControlFlag = 80)",
            "  added    C:\\k (and 1 below it)",
            "  removed  C:\\Windows\\System32\\config\\SYSTEM.LOG1  5 B",
            "  changed  C:\\Windows\\System32\\config\\SOFTWARE  content, 8.19 kB -> 8.19 kB",
        ] {
            let start = line.split("content").next().unwrap();
            assert!(said.lines().any(|own| own.starts_with(start)), "{image}: {line}\nin\n{said}");
        }
        let hosts = "  changed  C:\\Windows\\System32\\drivers\\etc\\hosts  content";
        assert!(said.contains(hosts) && !said.contains("ntoskrnl"), "{image}: {said}");
    }
    let said = refused(here, &["diff", "install.wim", "out"]);
    assert!(
        said.contains("install.wim holds 2 images") && said.contains("choose one with --edition"),
        "{said}"
    );
    judge_forms(here, &core);
    judge_again(here);
    judge_maps(here);
    judge_pins(here);
}

/// The outputs of one build have the same files, whatever holds them.
fn judge_forms(here: &Path, core: &[&str]) {
    let said = done(here, &["diff", "out/win.wim", "out/win.raw"]);
    assert!(said.contains("no difference\nrights of files: not compared"), "{said}");
    let said = done(here, &["diff", "out/win.raw", "out/win.vhdx"]);
    assert_eq!(said.lines().filter(|line| line.contains("difference")).count(), 1, "{said}");
    assert!(!said.contains("not compared"), "{said}");
    let arguments =
        [&["diff", "install.wim", "out/win.wim", "--json", "--html", "diff.html"][..], core].concat();
    let output = kiln(here, &arguments);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let service = json["registry"]
        .as_array()
        .unwrap()
        .iter()
        .find(|change| change["key"].as_str() == Some(r"HKLM\SYSTEM\ControlSet001\Services\kubelet"));
    let first = service.unwrap()["whole"]["first"].as_array().unwrap();
    let path = serde_json::json!(["ImagePath", "\"C:\\k\\kubelet.exe --windows-service\""]);
    assert!(first.contains(&path), "{first:?}");
    let page = fs::read_to_string(here.join("diff.html")).unwrap();
    for part in ["<h2>registry ", "<h2>services ", "<h2>files ", r"C:\k\kubelet.exe"] {
        assert!(page.contains(part), "{part}");
    }
}

/// Two builds of one definition are the same.
fn judge_again(here: &Path) {
    fs::rename(here.join("cache"), here.join("other")).unwrap();
    done(here, &["build", "win.toml", "--output-dir", "again"]);
    let said = done(here, &["diff", "out", "again", "--exit-code"]);
    assert!(said.lines().any(|line| line == "no difference"), "{said}");
    let said = done(here, &["diff", "out/win.raw", "again/win.raw", "--exit-code"]);
    assert!(said.lines().any(|line| line == "no difference"), "{said}");
}

/// What a lock and a manifest tell of the base.
fn judge_pins(here: &Path) {
    let said = done(here, &["diff", "win.lock", "out/win.wim"]);
    assert!(said.lines().any(|line| line == "no difference"), "{said}");
    let manifest = fs::read_to_string(here.join("out/manifest.json")).unwrap();
    fs::write(here.join("other.json"), manifest.replace("\"revision\": 2700", "\"revision\": 2600")).unwrap();
    let said = done(here, &["diff", "other.json", "out/manifest.json"]);
    assert!(said.contains("changed  build  20348.2600 -> 20348.2700"), "{said}");
    assert!(said.contains("registry: not compared: neither tells of them"), "{said}");
}

/// The map of the WIM and that of the volume have the same folders.
fn judge_maps(here: &Path) {
    let folders = |image: &str, map: &str| {
        let said = done(here, &["inspect", image, "--map", map]);
        let svg = fs::read_to_string(here.join(map)).unwrap();
        for part in ["/Windows/System32/ntoskrnl.exe:", "/k:", "/Program Files:"] {
            assert!(svg.contains(part), "{image}: {part} is not in {svg}");
        }
        said.lines().find(|line| line.contains(" files")).unwrap().to_owned()
    };
    assert_eq!(folders("out/win.wim", "wim.svg"), folders("out/win.raw", "raw.svg"));
    done(here, &["inspect", "out", "--map", "build.html"]);
    let page = fs::read_to_string(here.join("build.html")).unwrap();
    assert!(
        page.contains("ntoskrnl.exe") && page.contains("runtime"),
        "the layers are drawn beside the folders"
    );
}

#[test]
fn lookalike_windows_that_is_broken_is_not_compared() {
    let test = "lookalike_windows_that_is_broken_is_not_compared";
    let Some(folder) = lookalike::folder(test) else { return };
    let here = folder.path();
    lookalike::export(here);
    lookalike::disk(here);
    let good = fs::read(here.join("x.wim")).unwrap();
    fs::write(here.join("cut.wim"), &good[..good.len() - 10]).unwrap();
    fs::write(here.join("head.wim"), &good[..300]).unwrap();
    let mut disk = fs::read(here.join("disk.raw")).unwrap();
    disk[(25 << 20) + 4 * 4096..][..4096].fill(0);
    fs::write(here.join("mft.raw"), disk).unwrap();
    run("qemu-img", &["create", "-q", "-f", "qcow2", "-b", "disk.raw", "-F", "raw", "backed.qcow2"], here);
    for (image, says) in [
        ("cut.wim", "wimlib-imagex refuses it"),
        ("head.wim", "wimlib-imagex refuses it"),
        ("mft.raw", "NTFS volume"),
        ("backed.qcow2", "backing file"),
    ] {
        let output = kiln(here, &["diff", "x.wim", image]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(says), "{image}: {said}");
        assert!(said.contains(image) && !said.contains("panicked"), "{image}: {said}");
    }
    // The same Windows on the disk: nothing but rights may differ, of which a WIM of a volume has all.
    let said = done(here, &["diff", "x.wim", "disk.raw"]);
    assert!(said.lines().any(|line| line == "no difference"), "{said}");
}

#[test]
fn lookalike_windows_with_two_spellings_of_a_folder_takes_nothing_below_it() {
    let test = "lookalike_windows_with_two_spellings_of_a_folder_takes_nothing_below_it";
    let Some(folder) = lookalike::folder(test) else { return };
    let here = folder.path();
    lookalike::export(here);
    for name in ["twice/Data", "twice/data"] {
        fs::create_dir_all(here.join(name)).unwrap();
        fs::write(here.join(name).join("x"), name).unwrap();
    }
    run("wimlib-imagex", &["update", "x.wim", "1", "--command", "add 'twice' '/'"], here);
    definition(here, "x.wim", "'wim'");
    done(here, &["build", "win.toml", "--output-dir", "out"]);
    let node = here.join("node/layer.toml");
    let layer = fs::read_to_string(&node).unwrap();
    fs::write(&node, format!("{layer}\n[[file]]\npath = 'C:\\data\\new.txt'\ncontent = \"x\"\n")).unwrap();
    let said = refused(here, &["build", "win.toml", "--output-dir", "out"]);
    assert!(said.contains(r"x.wim has both C:\Data and C:\data, so"), "{said}");
    // A comparison tells both.
    let said = done(here, &["diff", "install.wim", "x.wim", "--edition", "2"]);
    assert!(said.contains("added    C:\\Data") && said.contains("added    C:\\data"), "{said}");
}
