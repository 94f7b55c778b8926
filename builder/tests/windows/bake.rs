//! A whole bake: lock and build of an image of what looks like Windows.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use kiln::format::hive::{self, Hive, Value};

use crate::lookalike;
use crate::tools::run;

/// A layer with everything that one for Windows can have.
const NODE: &str = r#"
schema = 1
summary = "x"
os = ["windows"]
path = ['C:\k']
replaces = ['C:\Windows\System32\drivers\etc\hosts']

[[file]]
path = 'C:\k\kubelet.exe'
content = "MZ kubelet"

[[file]]
path = 'C:\program files\containerd\config.toml'
content = "version = 3\n"

[[file]]
path = 'C:\Windows\System32\drivers\etc\hosts'
content = "127.0.0.1 x\r\n"

[[directory]]
path = 'C:\var\log\kubelet'

[[registry]]
key = 'HKLM\SYSTEM\CurrentControlSet\Services\hns\State'
name = "HNSControlFlag"
type = "dword"
data = 80

[[registry]]
key = 'HKLM\SOFTWARE\Policies\Microsoft\Windows\WindowsUpdate\AU'
name = "NoAutoUpdate"
type = "dword"
data = 1

[[windows-service]]
name = "kubelet"
command = 'C:\k\kubelet.exe --windows-service'
depends-on = ["Tcpip"]
restart-after = [5]

[[firewall]]
name = "kubelet"
ports = ["10250"]
"#;

const RUNTIME: &str = "schema = 1\nsummary = 'x'\nos = ['windows']\nprovides = ['container-runtime']\n";

/// A definition in `folder` on the base `windows`, with these outputs.
pub fn definition(folder: &Path, windows: &str, outputs: &str) -> PathBuf {
    for (name, text) in [("runtime", RUNTIME), ("node", NODE)] {
        fs::create_dir_all(folder.join(name)).unwrap();
        fs::write(folder.join(name).join("layer.toml"), text).unwrap();
    }
    let text = format!(
        "schema = 1\nname = 'win'\narch = 'amd64'\nkubernetes = '1.36.4'\nruntime = 'runtime'\n\
         layers = ['./runtime', './node']\noutputs = [{outputs}]\n\
         [base]\nwindows = '{windows}'\nbuild = 20348\nminimum-revision = 2700\n[disk]\nesp = '100MiB'\nwindows = '128MiB'\n"
    );
    let path = folder.join("win.toml");
    fs::write(&path, text).unwrap();
    path
}

pub fn kiln(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kiln"));
    command.args(arguments).current_dir(folder).env("KILN_CACHE", folder.join("cache"));
    command.output().unwrap()
}

/// What it says where it must succeed.
pub fn done(folder: &Path, arguments: &[&str]) -> String {
    let output = kiln(folder, arguments);
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}");
    said
}

/// Cuts a partition out of a raw disk.
fn partition(disk: &Path, number: u32, to: &Path) {
    let folder = disk.parent().unwrap();
    let said = run("sgdisk", &["-i", &number.to_string(), disk.to_str().unwrap()], folder);
    let sector = |name: &str| -> u64 {
        let line = said.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    };
    let (first, last) = (sector("First sector: "), sector("Last sector: "));
    let arguments = [
        format!("if={}", disk.display()),
        format!("of={}", to.display()),
        "bs=512".to_owned(),
        format!("skip={first}"),
        format!("count={}", last - first + 1),
        "conv=sparse".to_owned(),
        "status=none".to_owned(),
    ];
    run("dd", &arguments.each_ref().map(String::as_str), folder);
}

#[test]
fn lookalike_windows_becomes_a_wim_and_disks_that_others_read() {
    let test = "lookalike_windows_becomes_a_wim_and_disks_that_others_read";
    let Some(folder) = lookalike::folder(test) else { return };
    let here = folder.path();
    definition(here, "install.wim", "'wim', 'raw', 'qcow2', 'vhd', 'vhdx', 'vmdk', 'ova'");
    let text = fs::read_to_string(here.join("win.toml")).unwrap();
    fs::write(here.join("win.toml"), text.replace("build =", "edition = 'ServerStandardCore'\nbuild ="))
        .unwrap();
    done(here, &["lock", "win.toml"]);
    let lock = fs::read_to_string(here.join("win.lock")).unwrap();
    for line in ["image = 2", "edition = \"ServerStandardCore\"", "build = 20348", "revision = 2700"] {
        assert!(lock.contains(line), "{line}: {lock}");
    }
    done(here, &["build", "win.toml", "--output-dir", "out"]);
    let out = here.join("out");
    judge_wim(&out);
    judge_disk(&out);
    judge_ova(&out);
    for image in ["out/win.wim", "out/win.raw", "out/win.qcow2", "out/win.vhdx"] {
        let output = kiln(here, &["verify", image, "--json"]);
        let said = String::from_utf8_lossy(&output.stdout);
        let found: Vec<&str> =
            said.split("\"check\":").skip(1).filter_map(|rest| rest.split('"').nth(1)).collect();
        // What the test's layers lack: a runtime, its configuration, the second value, plugins.
        let wanted = ["windows-kubelet", "windows-runtime", "windows-service", "windows-update"];
        assert_eq!(found, wanted, "{image}: {said} {}", String::from_utf8_lossy(&output.stderr));
    }
    fs::rename(here.join("cache"), here.join("other")).unwrap();
    done(here, &["build", "win.toml", "--output-dir", "again"]);
    for name in ["win.wim", "win.raw", "win.vhdx"] {
        assert!(
            fs::read(out.join(name)).unwrap() == fs::read(here.join("again").join(name)).unwrap(),
            "{name}"
        );
    }
    for (name, form) in
        [("win.qcow2", "qcow2"), ("win.vhd", "vpc"), ("win.vhdx", "vhdx"), ("win.vmdk", "vmdk")]
    {
        run("qemu-img", &["convert", "-f", form, "-O", "raw", name, "again.raw"], &out);
        // A VHD's disk is as long as a geometry, and zeros behind it.
        let (raw, again) = (fs::read(out.join("win.raw")).unwrap(), fs::read(out.join("again.raw")).unwrap());
        assert!(raw[..raw.len() - (1 << 20)] == again[..raw.len() - (1 << 20)], "{name}");
    }
}

fn judge_ova(out: &Path) {
    let descriptor = run("tar", &["-xOf", "win.ova", "win.ovf"], out);
    for part in ["vmw:osType=\"windows2019srv_64Guest\"", ">lsilogicsas<", ">E1000e<", "vmw:value=\"efi\""] {
        assert!(descriptor.contains(part), "{part}: {descriptor}");
    }
}

fn judge_wim(out: &Path) {
    run("wimlib-imagex", &["verify", "win.wim"], out);
    let list = run("wimlib-imagex", &["dir", "win.wim", "1"], out);
    for path in [
        "/k/kubelet.exe",
        "/Program Files/containerd/config.toml",
        "/var/log/kubelet",
        "/Windows/System32/ntoskrnl.exe",
        "/Windows/System32/config/SYSTEM",
    ] {
        assert!(list.lines().any(|line| line == path), "{path}: {list}");
    }
    assert!(!list.contains("/program files") && !list.contains("LOG1"), "{list}");
    run("wimlib-imagex", &["extract", "win.wim", "1", "/Windows/System32/config", "--dest-dir=."], out);
    judge_hives(&out.join("config"));
    fs::remove_dir_all(out.join("config")).unwrap();
}

/// The values of the layer, read by hivex.
fn judge_hives(config: &Path) {
    let service = r"\ControlSet001\Services\kubelet";
    for (hive, key, name, value) in [
        ("SYSTEM", r"\ControlSet001\Services\hns\State", "HNSControlFlag", "80"),
        ("SYSTEM", r"\ControlSet001\Services\Tcpip", "Start", "1"),
        ("SYSTEM", service, "ImagePath", r"C:\k\kubelet.exe --windows-service"),
        ("SYSTEM", service, "Start", "2"),
        ("SYSTEM", service, "Type", "16"),
        ("SYSTEM", service, "ObjectName", "LocalSystem"),
        ("SYSTEM", service, "DependOnService", "Tcpip"),
        (
            "SYSTEM",
            r"\ControlSet001\Control\Session Manager\Environment",
            "Path",
            r"%SystemRoot%\system32;%SystemRoot%;C:\k",
        ),
        ("SOFTWARE", r"\Policies\Microsoft\Windows\WindowsUpdate\AU", "NoAutoUpdate", "1"),
        ("SOFTWARE", r"\Microsoft\Windows NT\CurrentVersion", "EditionID", "ServerStandardCore"),
    ] {
        assert_eq!(run("hivexget", &[hive, key, name], config).trim_end(), value, "{key} {name}");
    }
    let rules = r"\ControlSet001\Services\SharedAccess\Parameters\FirewallPolicy\FirewallRules";
    let rule = run("hivexget", &["SYSTEM", rules, "kubelet"], config);
    assert!(rule.contains("|LPort=10250|") && rule.contains("Action=Allow"), "{rule}");
}

fn judge_disk(out: &Path) {
    let said = run("sgdisk", &["-v", "-p", "win.raw"], out);
    assert!(said.contains("No problems found"), "{said}");
    for (number, kind) in [("1", "EF00"), ("2", "0C01"), ("3", "0700")] {
        let line = said.lines().find(|line| line.split_whitespace().next() == Some(number)).unwrap();
        assert!(line.contains(kind), "{line}");
    }
    let (esp, volume) = (out.join("esp"), out.join("volume"));
    partition(&out.join("win.raw"), 1, &esp);
    partition(&out.join("win.raw"), 3, &volume);
    judge_esp(out);
    judge_volume(out);
}

fn judge_esp(out: &Path) {
    for (path, text) in [
        ("EFI/Boot/BOOTX64.EFI", "MZ boot manager"),
        ("EFI/Microsoft/Boot/bootmgfw.efi", "MZ boot manager"),
        ("EFI/Microsoft/Boot/en-US/bootmgfw.efi.mui", "MZ texts"),
        ("EFI/Microsoft/Boot/Fonts/segoe_slboot.ttf", "font"),
        ("EFI/Microsoft/Boot/Resources/bootres.dll", "MZ logo"),
    ] {
        assert_eq!(run("mtype", &["-i", "esp", &format!("::{path}")], out), text, "{path}");
    }
    run("mcopy", &["-i", "esp", "::EFI/Microsoft/Boot/BCD", "BCD"], out);
    let manager = r"\Objects\{9dea862c-5cdd-4e70-acc1-f32b344d4795}\Elements";
    let entry = run("hivexget", &["BCD", &format!("{manager}\\23000003"), "Element"], out);
    let path = run("hivexget", &["BCD", &format!("{manager}\\12000002"), "Element"], out);
    assert_eq!(path.trim_end(), r"\EFI\Microsoft\Boot\bootmgfw.efi");
    let loader = format!("\\Objects\\{}\\Elements", entry.trim_end());
    let title = run("hivexget", &["BCD", &format!("{loader}\\12000004"), "Element"], out);
    assert_eq!(title.trim_end(), "Windows Server 2022 Standard");
    // The store names the disk and the partitions that the table has.
    let export = run("hivexregedit", &["--export", "BCD", "\\"], out);
    let bytes: String = export.replace(',', "").to_lowercase();
    for arguments in [&["-p", "win.raw"][..], &["-i", "1", "win.raw"], &["-i", "3", "win.raw"]] {
        let said = run("sgdisk", arguments, out);
        let guid = said.lines().find_map(|line| {
            let (_, guid) = line.split_once("(GUID): ").or_else(|| line.split_once("unique GUID: "))?;
            Some(guid.trim().to_owned())
        });
        let guid = uuid::Uuid::parse_str(&guid.unwrap()).unwrap();
        assert!(bytes.contains(&hex::encode(guid.to_bytes_le())), "{guid}: {export}");
    }
}

fn judge_volume(out: &Path) {
    let info = run("ntfsinfo", &["--mft", "volume"], out);
    assert!(info.contains("Volume Name: Windows") && info.contains("Volume Flags: 0x0000"), "{info}");
    for (path, text) in [
        ("/k/kubelet.exe", "MZ kubelet"),
        ("/Program Files/containerd/config.toml", "version = 3\n"),
        ("/Windows/System32/drivers/etc/hosts", "127.0.0.1 x\r\n"),
        ("/Windows/System32/ntoskrnl.exe", "MZ kernel"),
    ] {
        assert_eq!(run("ntfscat", &["volume", path], out), text, "{path}");
    }
    for (path, users_read) in [
        ("/k", true),
        ("/k/kubelet.exe", true),
        ("/Program Files/containerd/config.toml", true),
        ("/Windows/System32/config/SYSTEM", false),
    ] {
        let said = run("ntfssecaudit", &["-v", "volume", path], out);
        let bytes: String =
            said.lines().filter_map(|line| line.trim().get(8..)).collect::<String>().replace(' ', "");
        // S-1-1-0, everyone; S-1-5-32-545, users, who may read and execute.
        assert!(!bytes.contains("010100000000000100000000"), "{path}: {said}");
        let users = "a900120001020000000000052000000021020000";
        assert_eq!(bytes.contains(users), users_read, "{path}: {said}");
    }
    let folder = run("ntfssecaudit", &["-v", "volume", "/k"], out);
    assert!(folder.contains("00031800 ff011f00"), "files below it inherit the rights: {folder}");
}

#[test]
fn lookalike_disks_become_the_same_wim_whatever_holds_them() {
    let test = "lookalike_disks_become_the_same_wim_whatever_holds_them";
    let Some(folder) = lookalike::folder(test) else { return };
    let here = folder.path();
    lookalike::disk(here);
    let forms =
        [("qcow2", "disk.qcow2", ""), ("vhdx", "disk.vhdx", ""), ("vpc", "disk.vhd", "subformat=fixed")];
    for (form, name, options) in forms {
        let options = if options.is_empty() { Vec::new() } else { vec!["-o", options] };
        let arguments = [&["convert", "-f", "raw", "-O", form][..], &options, &["disk.raw", name]].concat();
        run("qemu-img", &arguments, here);
    }
    let mut lists = Vec::new();
    for name in ["disk.raw", "disk.qcow2", "disk.vhdx", "disk.vhd"] {
        definition(here, name, "'wim'");
        fs::remove_file(here.join("win.lock")).unwrap_or_default();
        done(here, &["lock", "win.toml"]);
        let out = here.join(format!("of-{name}"));
        done(here, &["build", "win.toml", "--output-dir", out.to_str().unwrap()]);
        judge_wim(&out);
        let list = run("wimlib-imagex", &["dir", "win.wim", "1", "--detailed"], &out);
        // Where bytes are, and how many after compression, differs with the order of clusters.
        let same =
            |line: &&str| !["Offset in WIM", "Compressed size"].iter().any(|name| line.starts_with(name));
        lists.push(list.lines().filter(same).map(str::to_owned).collect::<Vec<_>>());
    }
    assert!(lists.windows(2).all(|pair| pair[0] == pair[1]), "{:#?}", lists);
}

#[test]
fn lookalike_windows_starts_with_the_boot_manager_that_is_asked_for() {
    let test = "lookalike_windows_starts_with_the_boot_manager_that_is_asked_for";
    let Some(folder) = lookalike::folder(test) else { return };
    let here = folder.path();
    lookalike::export(here);
    definition(here, "x.wim", "'raw'");
    done(here, &["lock", "win.toml"]);
    let newer = ["build", "win.toml", "--set", "disk.boot-manager=\"2023\""];
    let output = kiln(here, &newer);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && said.contains(r"has no file \Windows\Boot\EFI_EX\bootmgfw_EX.efi"),
        "{said}"
    );
    for (path, text) in [
        ("EFI_EX/bootmgfw_EX.efi", "MZ newer manager"),
        ("EFI_EX/bootmgr_EX.efi", "MZ of the network"),
        ("EFI_EX/boot_EX", "no ending"),
        ("EFI_EX/other.efi", "no mark"),
        ("Fonts_EX/segoe_slboot_EX.ttf", "newer font"),
    ] {
        fs::write(here.join("file"), text).unwrap();
        let command = format!("add 'file' '/Windows/Boot/{path}'");
        run("wimlib-imagex", &["update", "x.wim", "1", "--command", &command], here);
    }
    fs::remove_file(here.join("win.lock")).unwrap();
    done(here, &["lock", "win.toml"]);
    done(here, &[&newer[..], &["--output-dir", "newer"]].concat());
    done(here, &["build", "win.toml", "--output-dir", "older"]);
    for (out, manager, font) in
        [("newer", "MZ newer manager", "newer font"), ("older", "MZ boot manager", "font")]
    {
        let out = &here.join(out);
        partition(&out.join("win.raw"), 1, &out.join("esp"));
        let read = |path: &str| run("mtype", &["-i", "esp", &format!("::EFI/{path}")], out);
        assert_eq!(read("Boot/BOOTX64.EFI"), manager);
        assert_eq!(read("Microsoft/Boot/bootmgfw.efi"), manager);
        assert_eq!(read("Microsoft/Boot/en-US/bootmgfw.efi.mui"), "MZ texts");
        assert_eq!(read("Microsoft/Boot/Fonts/segoe_slboot.ttf"), font);
        let names = run("mdir", &["-i", "esp", "-/", "-b", "::"], out);
        assert_eq!(names.contains("bootmgr.efi"), out.ends_with("newer"), "{names}");
        assert!(!names.contains("_EX") && !names.contains("other.efi"), "{names}");
    }
}

#[test]
fn lookalike_windows_whose_newer_boot_manager_is_unclear_is_refused() {
    let test = "lookalike_windows_whose_newer_boot_manager_is_unclear_is_refused";
    let Some(folder) = lookalike::folder(test) else { return };
    let here = folder.path();
    fs::create_dir(here.join("folder")).unwrap();
    fs::write(here.join("file"), "MZ").unwrap();
    for (added, says) in [
        (&[("folder", "bootmgfw_EX.efi")][..], "has no file"),
        (&[("file", "bootmgfw_EX.efi"), ("file", "bootmgfw_ex.EFI")], "has two files"),
    ] {
        let _ = fs::remove_file(here.join("win.lock"));
        let _ = fs::remove_file(here.join("x.wim"));
        lookalike::export(here);
        for (what, name) in added {
            let command = format!("add '{what}' '/Windows/Boot/EFI_EX/{name}'");
            run("wimlib-imagex", &["update", "x.wim", "1", "--command", &command], here);
        }
        definition(here, "x.wim", "'raw'");
        done(here, &["lock", "win.toml"]);
        let output = kiln(here, &["build", "win.toml", "--set", "disk.boot-manager=\"2023\""]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(says), "{says}: {said}");
    }
}

#[test]
fn lookalike_windows_that_does_not_fit_its_partition_is_told_what_to_set() {
    let test = "lookalike_windows_that_does_not_fit_its_partition_is_told_what_to_set";
    let Some(folder) = lookalike::folder(test) else { return };
    let here = folder.path();
    lookalike::export(here);
    // Nothing compresses this.
    let mut state = 1_u64;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    });
    fs::write(here.join("large"), noise.take(80 << 20).collect::<Vec<u8>>()).unwrap();
    run("wimlib-imagex", &["update", "x.wim", "1", "--command", "add 'large' '/large'"], here);
    definition(here, "x.wim", "'raw'");
    done(here, &["lock", "win.toml"]);
    for (size, says) in [("64MiB", "No space left"), ("32MiB", "disk.windows of 33554432 bytes")] {
        let output = kiln(here, &["build", "win.toml", "--set", &format!("disk.windows={size}")]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(says), "{said}");
        assert!(said.contains("help: set disk.windows to"), "{said}");
    }
}

#[test]
fn lookalike_windows_takes_no_archive_with_names_that_it_cannot_have() {
    let test = "lookalike_windows_takes_no_archive_with_names_that_it_cannot_have";
    let Some(folder) = lookalike::folder(test) else { return };
    let here = folder.path();
    lookalike::export(here);
    definition(here, "x.wim", "'wim'");
    let node = here.join("node/layer.toml");
    let layer = fs::read_to_string(&node).unwrap();
    for (names, says) in [(["aux.txt", "b"], "aux.txt"), (["Same", "same"], "case"), (["dot.", "b"], "dot.")]
    {
        for name in names {
            fs::write(here.join(name), name).unwrap();
        }
        run("tar", &["-cf", "tools.tar", names[0], names[1]], here);
        let artifact = format!(
            "[[artifact]]\nname = 'tools'\nversion = '1'\nurl = 'file://{}/tools.tar'\nchecksum = 'unpublished'\n\
             archive = {{ into = 'C:\\tools' }}\n",
            here.display()
        );
        fs::write(&node, format!("{layer}{artifact}")).unwrap();
        let _ = fs::remove_file(here.join("win.lock"));
        done(here, &["lock", "win.toml"]);
        let output = kiln(here, &["build", "win.toml"]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && said.contains(says) && said.contains("help:"),
            "{names:?}: {said}"
        );
    }
}

#[test]
fn lookalike_windows_without_a_feature_is_refused_unless_a_layer_enables_it() {
    let test = "lookalike_windows_without_a_feature_is_refused_unless_a_layer_enables_it";
    let Some(folder) = lookalike::folder(test) else { return };
    let here = folder.path();
    lookalike::export(here);
    definition(here, "x.wim", "'wim'");
    let needs = "summary = \"x\"\nwindows-features = ['Containers', 'Microsoft-Hyper-V']";
    fs::write(here.join("node/layer.toml"), NODE.replace("summary = \"x\"", needs)).unwrap();
    done(here, &["lock", "win.toml"]);
    let output = kiln(here, &["build", "win.toml"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    for part in
        ["x.wim lacks the feature Microsoft-Hyper-V", "the layer \"node\"", "no service vmms", "help:"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    let enables = format!("{RUNTIME}enables-windows-features = ['Microsoft-Hyper-V']\n");
    fs::write(here.join("runtime/layer.toml"), enables).unwrap();
    done(here, &["build", "win.toml", "--output-dir", "out"]);
    let out = here.join("out");
    run("wimlib-imagex", &["extract", "win.wim", "1", "/usr/lib/kiln/image.json", "--dest-dir=."], &out);
    let description: serde_json::Value =
        serde_json::from_slice(&fs::read(out.join("image.json")).unwrap()).unwrap();
    assert_eq!(description["enables_windows_features"], serde_json::json!(["Microsoft-Hyper-V"]));
}

/// Gives the base of a hive these numbers of changes, and its type.
fn numbered(mut bytes: Vec<u8>, first: u32, second: u32, kind: u32) -> Vec<u8> {
    for (at, value) in [(4, first), (8, second), (28, kind)] {
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }
    hive::seal(&mut bytes);
    bytes
}

#[test]
fn lookalike_windows_whose_last_changes_are_in_a_log_file_has_them_in_the_image() {
    let test = "lookalike_windows_whose_last_changes_are_in_a_log_file_has_them_in_the_image";
    let Some(folder) = lookalike::folder(test) else { return };
    let here = folder.path();
    lookalike::export(here);
    let path = "/Windows/System32/config/SYSTEM";
    run("wimlib-imagex", &["extract", "x.wim", "1", path, "--dest-dir=."], here);
    let before = fs::read(here.join("SYSTEM")).unwrap();
    let mut hive = Hive::read(before.clone(), 0).unwrap();
    hive.set(r"ControlSet001\Services\late", "Start", &Value::Dword(3)).unwrap();
    let after = hive.into_bytes();
    let bins = &after[4096..];
    let mut entry = b"HvLE".to_vec();
    let size = (40 + 8 + bins.len()).next_multiple_of(512);
    for field in [size, 0, 8, bins.len(), 1, 0, 0, 0, 0, 0, bins.len()] {
        entry.extend(u32::try_from(field).unwrap().to_le_bytes());
    }
    entry.extend(bins);
    entry.resize(size, 0);
    hive::seal_entry(&mut entry);
    fs::write(here.join("log"), [numbered(after[..512].to_vec(), 8, 8, 6), entry].concat()).unwrap();
    fs::write(here.join("dirty"), numbered(before, 8, 7, 0)).unwrap();
    let commands = format!("add 'dirty' '{path}'\nadd 'log' '{path}.LOG2'\n");
    fs::write(here.join("commands"), commands).unwrap();
    let input = fs::File::open(here.join("commands")).unwrap();
    let updated = Command::new("wimlib-imagex")
        .args(["update", "x.wim", "1"])
        .current_dir(here)
        .stdin(input)
        .output();
    assert!(updated.unwrap().status.success());
    definition(here, "x.wim", "'wim'");
    done(here, &["build", "win.toml", "--output-dir", "out"]);
    let out = here.join("out");
    judge_wim(&out);
    run("wimlib-imagex", &["extract", "win.wim", "1", path, "--dest-dir=."], &out);
    let found = run("hivexget", &["SYSTEM", r"\ControlSet001\Services\late", "Start"], &out);
    assert_eq!(found.trim_end(), "3");
}
