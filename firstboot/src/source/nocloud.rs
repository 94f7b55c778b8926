//! A disk or disc with the label `cidata` (cloud-init's NoCloud: <https://docs.cloud-init.io/en/latest/reference/datasources/nocloud.html>)
//! whose `user-data` is a node config. It is mounted in a mount namespace of one thread: nobody else sees it, and it goes with the thread.

use std::fs::{self, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::document::{self, Kind};
use super::labels::{self, FileSystem};
use super::{Document, Surroundings};
use crate::error::{Class, Failure, Result};
use crate::host::command;
use crate::host::root::Root;

/// Devices that hold no configuration, or are slow to say so.
const IGNORED: &[&str] = &["ram", "zram", "fd", "nbd", "dm-", "md"];

/// How long devices may take to be found by the kernel's drivers.
const SETTLE: Duration = Duration::from_secs(10);

/// Exists on every machine; covered only for the one thread.
const MOUNT_POINT: &str = "/run";

pub(super) fn look(surroundings: &Surroundings, remarks: &mut Vec<String>) -> Result<Option<(Document, String)>> {
    let root = surroundings.root;
    if root.is_machine() {
        // No udev, no waiting: then the devices are those that are there.
        let _ = command::run("udevadm", &["settle", "--timeout=9"], SETTLE);
    }
    let disks = whole(root, labelled(root));
    if disks.len() > 1 {
        let names: Vec<String> = disks.iter().map(|disk| disk.0.display().to_string()).collect();
        return Err(
            Failure::new(Class::Source, format!("several disks have the label cidata: {}", names.join(", "))).help("detach all but one")
        );
    }
    let Some((device, kind)) = disks.into_iter().next() else { return Ok(None) };
    let shown = device.display().to_string();
    let Some(document) = read_user_data(&device, kind)? else {
        remarks.push(format!("{shown} has the label cidata, but no user-data on it"));
        return Ok(None);
    };
    match document::kind(document.bytes()) {
        Kind::NodeConfig => Ok(Some((document, shown))),
        kind => {
            let advice = "put a JoinConfiguration (apiVersion: kubeadm.k8s.io/…) there to join a cluster";
            remarks.push(format!("user-data on {shown} is {}, not a node config, and is ignored; {advice}", kind.word()));
            Ok(None)
        }
    }
}

/// Without partitions of disks that have the label as well: a boot sector without a file system's table reads as a partition table, and a
/// hybrid disc has a partition that begins where it does.
fn whole(root: &Root, disks: Vec<(PathBuf, FileSystem)>) -> Vec<(PathBuf, FileSystem)> {
    let names: Vec<_> = disks.iter().filter_map(|disk| disk.0.file_name().map(ToOwned::to_owned)).collect();
    let is_part = |device: &Path| {
        names.iter().any(|disk| root.path("/sys/class/block").join(disk).join(device.file_name().unwrap_or_default()).exists())
    };
    disks.into_iter().filter(|(device, _)| !is_part(device)).collect()
}

/// Block devices with the label, by name.
fn labelled(root: &Root) -> Vec<(PathBuf, FileSystem)> {
    let entries = fs::read_dir(root.path("/sys/class/block")).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.retain(|name| !IGNORED.iter().any(|ignored| name.starts_with(ignored)));
    names.sort();
    let devices = names.into_iter().map(|name| root.path("/dev").join(name));
    devices
        .filter_map(|device| Some((labels::read(&head(&device)?)?, device)))
        .filter_map(|((kind, label), device)| matches!(label.as_str(), "cidata" | "CIDATA").then_some((device, kind)))
        .collect()
}

/// The beginning of a device. A drive without a disc in it does not wait for one.
fn head(device: &Path) -> Option<Vec<u8>> {
    let file = OpenOptions::new().read(true).custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits()).open(device).ok()?;
    let mut bytes = Vec::new();
    file.take(labels::HEAD as u64).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// Mounts, reads, and forgets. In a thread, as its mount namespace ends with it, whatever happens.
fn read_user_data(device: &Path, kind: FileSystem) -> Result<Option<Document>> {
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            mount_privately(device, kind).map_err(|error| unmounted(device, kind, error))?;
            Document::read_file(&Path::new(MOUNT_POINT).join("user-data"))
        });
        reader.join().unwrap_or_else(|_| Err(Failure::new(Class::Internal, "the thread that reads a NoCloud disk panicked")))
    })
}

fn unmounted(device: &Path, kind: FileSystem, error: nix::Error) -> Failure {
    let message = format!("mounting {} ({}): {}", device.display(), kind.name(), error.desc());
    let failure = Failure::new(Class::Source, message);
    match error {
        nix::Error::ENODEV => failure.help(format!("the kernel of this image has no module for {}: use another file system", kind.name())),
        _ => failure,
    }
}

fn mount_privately(device: &Path, kind: FileSystem) -> nix::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount::<str, str, str, str>(None, "/", None, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None)?;
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some(device), MOUNT_POINT, Some(kind.name()), flags, kind.options())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::files;

    #[test]
    fn devices_are_found_by_their_labels() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        let device = |name: &str, label: &[u8]| {
            let mut head = vec![0; 40_000];
            head[1080..1082].copy_from_slice(b"\x53\xef");
            head[1144..1144 + label.len()].copy_from_slice(label);
            files::write(&root.path(format!("/dev/{name}")), &head, 0o600).unwrap();
            files::write(&root.path(format!("/sys/class/block/{name}/size")), b"80", 0o644).unwrap();
        };
        assert!(labelled(&root).is_empty());
        device("vda", b"root");
        device("vdb", b"cidata");
        device("dm-0", b"cidata");
        files::write(&root.path("/sys/class/block/sr0/size"), b"0", 0o644).unwrap();
        assert_eq!(labelled(&root), [(folder.path().join("dev/vdb"), FileSystem::Ext4)]);
        device("sda1", b"CIDATA");
        let fetch = |_: &str| panic!("no network");
        let surroundings = Surroundings { root: &root, command_line: "", fetch: &fetch };
        let failure = look(&surroundings, &mut Vec::new()).unwrap_err();
        assert!(failure.message.starts_with("several disks have the label cidata: ") && failure.class == Class::Source, "{failure}");
    }
}
