//! Disks that carry configuration, found by the label of their file system: block devices of Linux.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

pub use super::disk::Disk;
use super::disk_identity;
use super::labels;
use crate::error::Result;
use crate::host::media;
use crate::host::root::Root;
use crate::{os, paths};

/// Devices that hold no configuration, or answer slowly.
const IGNORED: &[&str] = &["ram", "zram", "fd", "nbd", "dm-", "md"];

/// All labelled disks by device name, once the kernel's drivers are done.
pub fn find(root: &Root) -> Vec<Disk> {
    if root.is_machine() {
        media::settle();
    }
    let entries = fs::read_dir(root.path(paths::BLOCK_CLASS)).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.retain(|name| !IGNORED.iter().any(|ignored| name.starts_with(ignored)));
    names.sort();
    whole(root, names.iter().filter_map(|name| look_at(root, name)).collect())
}

/// The file system of a device. A drive without a disc in it does not wait for one.
fn look_at(root: &Root, name: &str) -> Option<Disk> {
    let device = root.path(Path::new(paths::DEV).join(name));
    let file = os::open(&device, true).ok()?;
    let (kind, labels) = labels::read(&|offset, length| bytes_at(&file, offset, length))?;
    let head = bytes_at(&file, 0, labels::HEAD);
    Some(Disk { device, kind, labels, identity: disk_identity::of(root, name, &head) })
}

/// Without partitions of disks that have the same label: a boot sector without a file system's table reads as
/// a partition table, and a hybrid disc has a partition that begins where it does.
fn whole(root: &Root, disks: Vec<Disk>) -> Vec<Disk> {
    let is_part = |part: &Disk| {
        disks.iter().filter(|disk| disk.labels == part.labels).any(|disk| {
            let names = (disk.device.file_name(), part.device.file_name());
            let (Some(disk), Some(part)) = names else { return false };
            root.path(Path::new(paths::BLOCK_CLASS).join(disk).join(part)).exists()
        })
    };
    disks.iter().filter(|disk| !is_part(disk)).cloned().collect()
}

/// At most `length` bytes, from `offset` on; what cannot be read is left out.
fn bytes_at(file: &File, offset: u64, length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut file = file;
    if file.seek(SeekFrom::Start(offset)).is_ok() {
        let _ = file.take(length as u64).read_to_end(&mut bytes);
    }
    bytes
}

impl Disk {
    /// Whether it is a disc in a drive. Only the owner of the machine puts discs in, while any disk may be a
    /// tenant's volume.
    pub fn is_optical(&self) -> bool {
        self.device
            .file_name()
            .is_some_and(|name| disk_identity::is_optical(&name.to_string_lossy()))
    }

    /// Mounts it where only `read` sees it, and unmounts it afterwards. Links on it lead nowhere else.
    pub fn with_files<T: Send>(&self, read: impl FnOnce(&Root) -> Result<T> + Send) -> Result<T> {
        let read = |folder: &Path| read(&Root::at(folder));
        media::with_files(&self.device, self.kind.name(), self.kind.options(), read)
    }
}

/// Adds a device whose ext4 file system has this label.
#[cfg(test)]
pub(crate) fn add(root: &Root, name: &str, label: &str) {
    let mut head = vec![0; 40_000];
    head[1080..1082].copy_from_slice(b"\x53\xef");
    head[1144..1144 + label.len()].copy_from_slice(label.as_bytes());
    crate::host::files::write(&root.path(format!("/dev/{name}")), &head, 0o600).unwrap();
    crate::host::files::write(&root.path(format!("/sys/class/block/{name}/size")), b"80", 0o644).unwrap();
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::host::files;

    #[test]
    fn devices_are_found_by_their_labels() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        assert!(find(&root).is_empty());
        for (name, label) in [("vdb", "cidata"), ("dm-0", "cidata"), ("vda", "root"), ("vda1", "root")] {
            add(&root, name, label);
        }
        files::write(&root.path("/sys/class/block/vda/vda1/size"), b"80", 0o644).unwrap();
        files::write(&root.path("/sys/class/block/sr0/size"), b"0", 0o644).unwrap();
        let found: Vec<(PathBuf, Vec<String>)> =
            find(&root).into_iter().map(|disk| (disk.device, disk.labels)).collect();
        assert_eq!(
            found,
            [
                (folder.path().join("dev/vda"), vec!["root".to_owned()]),
                (folder.path().join("dev/vdb"), vec!["cidata".to_owned()])
            ]
        );
    }
}
