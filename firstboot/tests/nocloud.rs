//! Tests with real mounts of NoCloud disks of every kind, made by the usual tools. They need root, loop
//! devices and those tools.
#![allow(clippy::disallowed_methods, reason = "tests make machines and servers")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use firstboot::binding::Binding;
use firstboot::checkpoint::{Checkpoint, CheckpointFile};
use firstboot::error::ErrorKind;
use firstboot::evidence::Evidence;
use firstboot::host::root::Root;
use firstboot::metadata::{self, Metadata};
use firstboot::run::{Console, Session};
use firstboot::trust_policy::TrustPolicy;

const CONFIG: &str = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\n";

struct Loop(String);

impl Loop {
    fn attach(image: &Path) -> Self {
        let output = Command::new("losetup")
            .args(["--find", "--show", "--read-only"])
            .arg(image)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        Self(String::from_utf8(output.stdout).unwrap().trim().to_owned())
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["--detach", &self.0]).status();
    }
}

fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program)
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "{program} {arguments:?}");
}

/// Why a kind of disk cannot be tested here.
fn missing(tools: &[&str]) -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("not root".to_owned());
    }
    let is_absent = |tool: &&&str| {
        Command::new(tool)
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_err()
    };
    if let Some(tool) = tools.iter().find(is_absent) {
        return Some(format!("no {tool}"));
    }
    let probe = tempfile::NamedTempFile::new().unwrap();
    probe.as_file().set_len(1 << 20).unwrap();
    let output = Command::new("losetup").args(["--find", "--show"]).arg(probe.path()).output();
    match output {
        Ok(output) if output.status.success() => {
            drop(Loop(String::from_utf8_lossy(&output.stdout).trim().to_owned()));
            None
        }
        _ => Some("no loop devices".to_owned()),
    }
}

/// An image with `files`, made by `make(image, folder)`.
fn image(folder: &Path, files: &[(&str, &str)], make: impl Fn(&str, &str)) -> PathBuf {
    let (content, image) = (folder.join("content"), folder.join("image"));
    fs::create_dir(&content).unwrap();
    files.iter().for_each(|(name, text)| fs::write(content.join(name), text).unwrap());
    make(image.to_str().unwrap(), content.to_str().unwrap());
    image
}

/// A folder in which devices can be used; where temporary files go they often cannot.
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn search(folder: &Path, device: &str) -> firstboot::error::Result<Metadata> {
    let root = folder.join("root");
    fs::create_dir_all(root.join("dev")).unwrap();
    fs::create_dir_all(root.join("sys/class/block/vdb")).unwrap();
    run("cp", &["-a", device, root.join("dev/vdb").to_str().unwrap()]);
    metadata::gather(&Root::at(root), &TrustPolicy::default(), &|_, _| panic!("no network"))
}

fn vfat(image: &str, content: &str) {
    run("truncate", &["-s", "2M", image]);
    run("mkfs.vfat", &["-n", "CIDATA", image]);
    let script = format!("mcopy -i {image} {content}/* ::");
    run("sh", &["-c", &script]);
}

fn iso9660(image: &str, content: &str) {
    run("genisoimage", &["-quiet", "-V", "cidata", "-J", "-r", "-o", image, content]);
}

fn ext4(image: &str, content: &str) {
    run("truncate", &["-s", "4M", image]);
    run("mke2fs", &["-q", "-t", "ext4", "-L", "cidata", "-d", content, image]);
}

type Make = fn(&str, &str);

#[test]
fn user_data_is_read_from_every_kind_of_disk() {
    let kinds: [(&str, Make, &[&str]); 3] = [
        ("vfat", vfat, &["mkfs.vfat", "mcopy"]),
        ("iso9660", iso9660, &["genisoimage"]),
        ("ext4", ext4, &["mke2fs"]),
    ];
    for (name, make, tools) in kinds {
        if let Some(reason) = missing(tools) {
            testkit::not_run(&format!("user_data_is_read_from_every_kind_of_disk ({name})"), &reason);
            continue;
        }
        if !fs::read_to_string("/proc/filesystems")
            .unwrap()
            .lines()
            .any(|line| line.trim_start_matches("nodev").trim() == name)
            && !Command::new("modprobe")
                .arg(name)
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
        {
            testkit::not_run(
                &format!("user_data_is_read_from_every_kind_of_disk ({name})"),
                &format!("this kernel has no {name}"),
            );
            continue;
        }
        let before = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let folder = scratch();
        let image = image(folder.path(), &[("user-data", CONFIG), ("meta-data", "instance-id: x\n")], make);
        let device = Loop::attach(&image);
        let search = search(folder.path(), &device.0).unwrap_or_else(|failure| panic!("{name}: {failure}"));
        let (source, found) = search.user_data.unwrap_or_else(|| panic!("{name}: {:?}", search.notices));
        assert_eq!((source, found.document.bytes()), ("nocloud", CONFIG.as_bytes()), "{name}");
        assert_eq!(search.facts.text("instance-id"), Some("x"), "{name}");
        assert_eq!(
            fs::read_to_string("/proc/self/mountinfo").unwrap(),
            before,
            "{name}: nothing stays mounted"
        );
        eprintln!("{name}: read");
    }
}

#[test]
fn a_disk_without_user_data_gets_a_notice() {
    if let Some(reason) = missing(&["mke2fs"]) {
        return testkit::not_run("a_disk_without_user_data_gets_a_notice", &reason);
    }
    let folder = scratch();
    let device = Loop::attach(&image(folder.path(), &[("meta-data", "instance-id: x\n")], ext4));
    let search = search(folder.path(), &device.0).unwrap();
    assert!(search.user_data.is_none());
    assert!(search.notices[0].contains("no user-data on it"), "{:?}", search.notices);
}

#[test]
fn a_disk_that_cannot_be_mounted_is_a_failure_of_the_source() {
    if let Some(reason) = missing(&["mke2fs"]) {
        return testkit::not_run("a_disk_that_cannot_be_mounted_is_a_failure_of_the_source", &reason);
    }
    let folder = scratch();
    let mut head = vec![0_u8; 1 << 20];
    head[1080..1082].copy_from_slice(b"\x53\xef");
    head[1144..1150].copy_from_slice(b"cidata");
    fs::write(folder.path().join("image"), head).unwrap();
    let device = Loop::attach(&folder.path().join("image"));
    let failure = search(folder.path(), &device.0).unwrap_err();
    assert_eq!(failure.kind, ErrorKind::Source);
    assert!(failure.message.contains("mounting ") && failure.message.contains("(ext4)"), "{failure}");
}

#[test]
fn a_link_on_a_disk_leads_nowhere() {
    if let Some(reason) = missing(&["mke2fs"]) {
        return testkit::not_run("a_link_on_a_disk_leads_nowhere", &reason);
    }
    let folder = scratch();
    fs::write(folder.path().join("secret"), CONFIG).unwrap();
    let target = folder.path().join("secret");
    let device =
        Loop::attach(&image(folder.path(), &[("meta-data", "instance-id: x\n")], |image, content| {
            std::os::unix::fs::symlink(&target, Path::new(content).join("user-data")).unwrap();
            ext4(image, content);
        }));
    let search = search(folder.path(), &device.0).unwrap();
    assert!(search.user_data.is_none(), "a link on a disk led to a file of the machine");
    assert!(search.notices[0].contains("no user-data on it"), "{:?}", search.notices);
}

/// A tenant attaches a disk to a machine that joined with a config of the image.
#[test]
fn a_labelled_disk_does_not_take_over_a_joined_machine() {
    if let Some(reason) = missing(&["mke2fs"]) {
        return testkit::not_run("a_labelled_disk_does_not_take_over_a_joined_machine", &reason);
    }
    let folder = scratch();
    let device = Loop::attach(&image(folder.path(), &[("user-data", CONFIG)], ext4));
    let found = search(folder.path(), &device.0).unwrap();
    let disk = found.user_data.and_then(|(_, user_data)| user_data.disk).expect("it remembers its disk");
    let root = Root::at(folder.path().join("root"));
    let evidence = |only| Evidence::of(&root).with_only_disk(only);
    for (only, expected) in [(None, 0), (Some("another disk".to_owned()), 0), (Some(disk), 1)] {
        assert_eq!(evidence(only.clone()).disks("cidata").len(), expected, "{only:?}");
    }
    let machine_id = "0123456789abcdef0123456789abcdef\n";
    fs::create_dir_all(root.path("/etc")).unwrap();
    fs::write(root.path("/etc/machine-id"), machine_id).unwrap();
    let identity = firstboot::machine::Machine::read(&root).unwrap().identity;
    CheckpointFile::begin(&root, Checkpoint::new(&identity, "config", "n1"))
        .unwrap()
        .done("cleanup", "config", 1, true)
        .unwrap();
    let text = |text: &str| Some(text.to_owned());
    let binding = Binding { platform: text("none"), source: text("file"), ..Binding::default() };
    binding.write(&root).unwrap();
    firstboot::run::run(&Session::new(&root, Console { json: false })).unwrap();
    let status = firstboot::status::read(&root).unwrap().unwrap();
    assert_eq!(status.outcome, firstboot::status::Outcome::AlreadyJoined);
}
