//! `firstboot install` as a program, with a file in the place of a disk: it is killed at a hundred moments,
//! and ends its work after each.

#![allow(clippy::disallowed_methods, reason = "the test makes disks and servers, and runs the agent")]

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use contract::gpt::{self, Partition, Side, Table, Write};
use contract::partition_type;
use firstboot::install::content::{self, Content};
use firstboot::install::map;
use testkit::{TestServer, folder, not_run};

const MIB: usize = 1 << 20;
const SIZE: usize = 24 * MIB;
const DISK: usize = 40 * MIB;
/// Where the var partition of the image begins and ends.
const VAR: (usize, usize) = (8 * MIB, 22 * MIB);

/// An image with a partition table, a root, and a var partition.
fn image() -> Vec<u8> {
    let partition = |number: u32, kind: &str, first: usize, end: usize| Partition {
        number,
        kind: kind.to_owned(),
        id: format!("0000000{number}-0000-4000-8000-000000000000"),
        first: (first / 512) as u64,
        last: (end / 512 - 1) as u64,
    };
    let mut table = Table::of(vec![
        partition(1, partition_type::ROOT, MIB, 8 * MIB),
        partition(2, partition_type::VAR, VAR.0, VAR.1),
        partition(3, partition_type::ESP, VAR.1, VAR.1 + MIB),
    ]);
    let sectors = (SIZE / 512) as u64;
    assert!(table.fit(sectors));
    let mut image = vec![0; SIZE];
    let parts =
        [table.primary(sectors), table.backup(sectors), table.protection(sectors).into_iter().collect()];
    for Write { offset, bytes } in parts.concat() {
        image[offset as usize..][..bytes.len()].copy_from_slice(&bytes);
    }
    for (at, byte) in image[MIB..7 * MIB].iter_mut().enumerate() {
        *byte = (at / 4096 * 7 + at) as u8 | 1;
    }
    image
}

/// A folder with an image, its map, and an empty disk; `var` is what the var partition holds.
fn rack(var: &[u8]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut image = image();
    image[VAR.0..VAR.0 + var.len()].copy_from_slice(var);
    fs::write(folder.path().join("n1.raw"), &image).unwrap();
    fs::write(folder.path().join("n1.raw.bmap"), map::written(&image, 256 << 10)).unwrap();
    new_disk(&folder.path().join("disk"));
    folder
}

fn new_disk(path: &Path) {
    File::create(path).unwrap().set_len(DISK as u64).unwrap();
}

fn install(folder: &Path, image: &str, more: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_firstboot"))
        .args(["install", "--image", image, "--disk"])
        .arg(format!("path={}", folder.join("disk").display()))
        .args(more)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The exit code, and what was printed.
fn ended(child: Child) -> (i32, String) {
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap_or(-1), text.into_owned())
}

fn held(disk: &Path) -> Content {
    let file = File::open(disk).unwrap();
    content::look(&|at, bytes| file.read_exact_at(bytes, at), DISK as u64, 512)
}

/// Whether the disk holds the image, and a table that fits.
fn assert_complete(disk: &Path, folder: &Path, skipped: Option<(usize, usize)>) {
    let image = fs::read(folder.join("n1.raw")).unwrap();
    let mut file = File::open(disk).unwrap();
    let table = gpt::read(&mut file, 512, (DISK / 512) as u64).unwrap();
    assert_eq!((table.side, table.partitions.len()), (Side::Primary, 3));
    let bytes = fs::read(disk).unwrap();
    assert_eq!(bytes.len(), DISK);
    let (from, to) = skipped.unwrap_or((SIZE, SIZE));
    assert!(bytes[34 * 512..from] == image[34 * 512..from] && bytes[to..SIZE] == image[to..SIZE]);
    assert!(&bytes[DISK - 512..][..8] == b"EFI PART");
}

fn server(folder: &Path) -> (TestServer, String, String) {
    let server = folder::serve(folder);
    let map = Command::new("sha256sum").arg(folder.join("n1.raw.bmap")).output().unwrap();
    let digest = String::from_utf8_lossy(&map.stdout)[..64].to_owned();
    let url = server.url("/n1.raw");
    (server, url, digest)
}

#[test]
fn a_hundred_kills_leave_a_disk_that_cannot_boot_or_is_complete() {
    let folder = rack(b"");
    let folder = folder.path();
    let (_server, url, digest) = server(folder);
    let time = |_| {
        new_disk(&folder.join("disk"));
        let begin = Instant::now();
        assert_eq!(ended(install(folder, &url, &["--sha256", &digest])).0, 0);
        begin.elapsed()
    };
    let whole = (0..3).map(time).min().unwrap();
    let (mut begun, mut complete) = (0, 0);
    for number in 0..100_u32 {
        new_disk(&folder.join("disk"));
        let mut child = install(folder, &url, &["--sha256", &digest]);
        // Spread over the time of a whole run, in an order that looks random.
        std::thread::sleep(whole * (number * 37 % 100) / 100);
        child.kill().unwrap();
        child.wait().unwrap();
        match held(&folder.join("disk")) {
            Content::Data(_) => {
                assert_complete(&folder.join("disk"), folder, None);
                complete += 1;
                continue;
            }
            Content::Begun => begun += 1,
            Content::Nothing => {}
            content => panic!("{number}: {content}"),
        }
        let (code, text) = ended(install(folder, &url, &["--sha256", &digest]));
        assert_eq!(code, 0, "{number}: {text}");
        assert_complete(&folder.join("disk"), folder, None);
    }
    assert!(begun > 10, "{begun} were interrupted while they wrote, {complete} at the end");
}

#[test]
fn each_end_has_its_exit_code() {
    let folder = rack(b"");
    let folder = folder.path();
    let path = |name: &str| folder.join(name).display().to_string();
    let (_server, url, digest) = server(folder);
    let other = "0".repeat(64);
    fs::write(folder.join("bad.raw"), &fs::read(path("n1.raw")).unwrap()[..9 * MIB]).unwrap();
    fs::copy(path("n1.raw.bmap"), path("bad.raw.bmap")).unwrap();
    fs::write(folder.join("lie.raw"), "").unwrap();
    fs::write(folder.join("lie.raw.bmap"), "<bmap/>").unwrap();
    let code = |image: &str, more: &[&str]| ended(install(folder, image, more));
    for (image, more, expected, says) in [
        (url.as_str(), &[][..], 64, "plain http"),
        (&url, &["--sha256", &other], 12, "not the pinned one"),
        (&url.replace("n1", "n2"), &["--sha256", &digest], 14, "404"),
        (&path("n2.raw"), &[], 10, "there is no block map"),
        (&path("lie.raw"), &[], 12, "version is not 2.0"),
        (&path("bad.raw"), &[], 10, "the image ends after 9437184 of the 25165824 bytes"),
        (&path("n1.raw"), &["--config", &path("none")], 3, "there is no node config"),
        (&path("n1.raw"), &["--dry-run"], 0, "would install n1 (25.2 MB"),
        (&path("n1.raw"), &[], 0, "n1 is on"),
        (&path("n1.raw"), &[], 2, "the disk holds data"),
        (&path("n1.raw"), &["--overwrite"], 0, "n1 is on"),
        ("LABEL=no-such-label/n1.raw", &[], 10, "no file system has the label"),
        ("n1.raw", &[], 64, "neither http"),
    ] {
        let (found, text) = code(image, more);
        assert!(found == expected && text.contains(says), "{image} {more:?}: {found}: {text}");
    }
    assert_complete(&folder.join("disk"), folder, None);
}

#[test]
fn progress_is_told_to_people_programs_and_servers() {
    let folder = rack(b"");
    let folder = folder.path();
    let image = folder.join("n1.raw").display().to_string();
    let reports = folder::serve(folder);
    let (code, text) = ended(install(folder, &image, &["--json", "--report", &reports.url("/report")]));
    assert_eq!(code, 0, "{text}");
    let events: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(events.len() < 40, "{text}");
    let last = events.last().unwrap();
    assert_eq!((&last["phase"], &last["percent"]), (&"installed".into(), &100.into()), "{last}");
    let request = reports.requests().pop().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!((request.method.as_str(), &report["phase"]), ("POST", &"installed".into()));
}

/// An ext4 file system in a file.
fn ext4(folder: &Path) -> Option<Vec<u8>> {
    let path: PathBuf = folder.join("var");
    File::create(&path).unwrap().set_len((VAR.1 - VAR.0) as u64).unwrap();
    let made = Command::new("mkfs.ext4").arg("-q").arg(&path).output().ok()?;
    made.status.success().then(|| fs::read(&path).unwrap())
}

#[test]
fn the_node_config_is_on_the_var_partition_for_root_alone() {
    const TEST: &str = "the node config of an installed system";
    let made = tempfile::tempdir().unwrap();
    let Some(var) = ext4(made.path()) else { return not_run(TEST, "there is no mkfs.ext4") };
    if !nix::unistd::geteuid().is_root() || !Path::new("/dev/loop-control").exists() {
        return not_run(TEST, "it needs root and loop devices");
    }
    let folder = rack(&var);
    let folder = folder.path();
    fs::write(folder.join("join.yaml"), "kind: JoinConfiguration\n").unwrap();
    let (image, config) =
        (folder.join("n1.raw").display().to_string(), folder.join("join.yaml").display().to_string());
    let (code, text) = ended(install(folder, &image, &["--config", &config]));
    assert_eq!(code, 0, "{text}");
    assert_complete(&folder.join("disk"), folder, Some(VAR));
    fs::write(made.path().join("var"), &fs::read(folder.join("disk")).unwrap()[VAR.0..VAR.1]).unwrap();
    let debugfs = |command: &str| {
        let output = Command::new("debugfs")
            .arg("-R")
            .arg(command)
            .arg(made.path().join("var"))
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let path = "/lib/kiln/etc/upper/firstboot/config.yaml";
    assert_eq!(debugfs(&format!("cat {path}")), "kind: JoinConfiguration\n");
    let about = debugfs(&format!("stat {path}"));
    assert!(about.contains("Mode:  0600") && about.contains("User:     0"), "{about}");
    let checked = Command::new("e2fsck").args(["-fn"]).arg(made.path().join("var")).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}

/// A loop device over a file, which goes away with it.
struct Loop(String);

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["-d", &self.0]).status();
    }
}

#[test]
fn an_image_on_a_file_system_with_a_label_is_found_and_read() {
    const TEST: &str = "an image on a file system with a label";
    let folder = rack(b"");
    let folder = folder.path();
    let label = format!("K{}", std::process::id());
    let files = folder.join("files");
    fs::create_dir_all(files.join("images")).unwrap();
    for name in ["n1.raw", "n1.raw.bmap"] {
        fs::copy(folder.join(name), files.join("images").join(name)).unwrap();
    }
    let disc = folder.join("disc");
    File::create(&disc).unwrap().set_len(64 << 20).unwrap();
    let made = Command::new("mkfs.ext4").args(["-q", "-L", &label, "-d"]).arg(&files).arg(&disc).status();
    if !made.is_ok_and(|status| status.success()) {
        return not_run(TEST, "there is no mkfs.ext4 that fills a file system");
    }
    let device = Command::new("losetup").args(["-f", "--show"]).arg(&disc).output();
    let device = device
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        .unwrap_or_default();
    if device.is_empty() {
        return not_run(TEST, "it needs root and loop devices");
    }
    let _loop = Loop(device);
    let (code, text) = ended(install(folder, &format!("LABEL={label}/images/n1.raw"), &[]));
    assert_eq!(code, 0, "{text}");
    assert!(text.contains(&format!("installing {label} (25.2 MB")), "{text}");
    assert_complete(&folder.join("disk"), folder, None);
    let (code, text) = ended(install(folder, &format!("LABEL={label}/n2.raw"), &["--overwrite"]));
    assert!(
        code == 10 && text.contains(&format!("block map /n2.raw.bmap on the disc {label}")),
        "{code}: {text}"
    );
}

/// A machine whose kernel command line asks for an installation, with two disks and UEFI.
fn machine(folder: &Path, line: &str) {
    const VENDOR: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
    let write = |path: &str, bytes: &[u8]| {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    write("proc/cmdline", line.as_bytes());
    write("sys/class/dmi/id/product_serial", b"7XK2\n");
    for name in ["vda", "vdb"] {
        write(&format!("sys/block/{name}/size"), (DISK / 512).to_string().as_bytes());
        write(&format!("dev/{name}"), b"old data");
        fs::OpenOptions::new()
            .write(true)
            .open(folder.join("dev").join(name))
            .unwrap()
            .set_len(DISK as u64)
            .unwrap();
    }
    write("sys/block/vdb/serial", b"wanted\n");
    write(&format!("sys/firmware/efi/efivars/BootOrder-{VENDOR}"), &[7, 0, 0, 0, 5, 0]);
}

#[test]
fn what_the_kernel_command_line_asks_for_is_done() {
    const TEST: &str = "an installation that the kernel command line asks for";
    let made = tempfile::tempdir().unwrap();
    let Some(var) = ext4(made.path()) else { return not_run(TEST, "there is no mkfs.ext4") };
    if !nix::unistd::geteuid().is_root() || !Path::new("/dev/loop-control").exists() {
        return not_run(TEST, "it needs root and loop devices");
    }
    let (folder, root) = (rack(&var), tempfile::tempdir().unwrap());
    let (server, url, digest) = server(folder.path());
    let asked = format!(
        "quiet firstboot.install={url} firstboot.install-sha256={digest} firstboot.install-disk=serial=want* \
         firstboot.install-report={} firstboot.config-inline=YTogMQo=",
        server.url("/report")
    );
    let run = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_firstboot"));
        let child = command.arg("install").arg("--rootfs").arg(root.path());
        ended(child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    };
    machine(root.path(), &asked);
    let (code, text) = run();
    assert!(code == 2 && text.contains("the disk holds data: /dev/vdb"), "{code}: {text}");
    machine(root.path(), &format!("{asked} firstboot.install-overwrite"));
    let (code, text) = run();
    assert_eq!(code, 0, "{text}");
    assert_complete(&root.path().join("dev/vdb"), folder.path(), Some(VAR));
    assert!(fs::read(root.path().join("dev/vda")).unwrap().starts_with(b"old data"));
    let variables = root.path().join("sys/firmware/efi/efivars");
    let variable = |name: &str| {
        fs::read(variables.join(format!("{name}-8be4df61-93ca-11d2-aa0d-00e098032b8c"))).unwrap()
    };
    assert_eq!(variable("BootOrder"), [7, 0, 0, 0, 0, 0, 5, 0]);
    assert!(variable("Boot0000").windows(4).any(|part| part == b"n\x001\x00"));
    assert!(!root.path().join("run/firstboot/install-config").exists(), "kept only for another try");
    let reports: Vec<_> = server.requests().into_iter().filter(|request| request.method == "POST").collect();
    let phase = |request: &testkit::Request| {
        let report: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
        assert_eq!(report["machine"]["serial"], "7XK2");
        report["phase"].as_str().unwrap().to_owned()
    };
    let last = phase(reports.last().unwrap());
    assert!(reports.iter().map(phase).any(|phase| phase == "failed") && last == "installed");
}
