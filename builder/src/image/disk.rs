//! The immutable disk: one sparse file with everything on it.
//!
//! ```text
//! MBR, GPT │ esp │ root (squashfs, read-only) │ root-verity (room, optional) │ var (ext4, grows) │ GPT
//! ```
//!
//! Every part is written straight into its place: no partition is ever staged in a file of its own but the root, which the store keeps.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use contract::partition_type;

use crate::definition::plan::{Arch, DiskPlan};
use crate::determinism;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::image::ext4::{self, Ext4};
use crate::image::gpt::{Layout, Request, flag};
use crate::image::{MIB, esp};
use crate::output::Image;

/// Label of the EFI system partition.
pub const ESP: &str = "esp";
/// Label of the root partition.
pub const ROOT: &str = "root";
/// Label of the room for dm-verity hashes.
pub const VERITY: &str = "root-verity";
/// Label of the partition and of the file system for `/var`.
pub const VAR: &str = "var";

/// A disk image and what is where on it.
#[derive(Debug)]
pub struct Disk {
    /// The sparse raw file.
    pub path: PathBuf,
    /// Its partitions.
    pub layout: Layout,
}

/// Writes the disk into the scratch folder of `image`.
///
/// # Errors
/// When a size in the definition does not work, a needed file is not in the tree, or a tool fails.
pub fn build(image: &Image<'_>) -> Result<Disk> {
    check_sizes(&image.plan.disk)?;
    let root = image.root()?;
    let mut root_file = File::open(root).at("opening", root)?;
    let root_size = root_file.metadata().at("reading", root)?.len();
    let layout = layout(image.plan.arch, &image.plan.disk, &image.identity, root_size);
    let command_line = command_line(image);
    image.initrd()?;

    let _step = image.progress.step("writing the disk");
    let path = image.scratch.join("disk.raw");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path)
        .at("creating", &path)?;
    file.set_len(layout.size).at("enlarging", &path)?;
    layout.write(&mut file)?;
    let place = |label| layout.get(label).expect("the layout has this partition");
    // First, because mke2fs flushes the whole file before it ends.
    write_var(image, &path, place(VAR).offset, place(VAR).size)?;
    esp::write(image, &file, place(ESP).offset, place(ESP).size, &command_line)?;
    copy_into(&mut root_file, &mut file, place(ROOT).offset).at("copying the root file system to", &path)?;
    Ok(Disk { path, layout })
}

/// The kernel's arguments when it boots from the disk: the definition's, and which root, so that two Kiln disks in one machine are
/// not confused.
pub fn command_line(image: &Image<'_>) -> String {
    let root = format!("root=PARTUUID={}", root_guid(&image.identity));
    image
        .plan
        .kernel_arguments
        .iter()
        .map(String::as_str)
        .chain([root.as_str()])
        .collect::<Vec<_>>()
        .join(" ")
}

fn root_guid(identity: &Digest) -> uuid::Uuid {
    determinism::uuid(identity, "root partition")
}

/// What goes where; `root_size` in bytes.
fn layout(arch: Arch, plan: &DiskPlan, identity: &Digest, root_size: u64) -> Layout {
    let (root, verity) = match arch {
        Arch::Amd64 => (partition_type::ROOT_AMD64, partition_type::ROOT_VERITY_AMD64),
        Arch::Arm64 => (partition_type::ROOT_ARM64, partition_type::ROOT_VERITY_ARM64),
    };
    let guid = |purpose: &str| determinism::uuid(identity, purpose);
    let mut requests = vec![
        Request {
            label: ESP,
            kind: partition_type::ESP,
            guid: guid("esp partition"),
            size: plan.esp,
            flags: 0,
        },
        Request {
            label: ROOT,
            kind: root,
            guid: root_guid(identity),
            size: root_size,
            flags: flag::READ_ONLY,
        },
    ];
    if plan.verity > 0 {
        let flags = flag::READ_ONLY | flag::NO_AUTO;
        requests.push(Request {
            label: VERITY,
            kind: verity,
            guid: guid("verity partition"),
            size: plan.verity,
            flags,
        });
    }
    let flags = flag::GROW_FILE_SYSTEM;
    requests.push(Request {
        label: VAR,
        kind: partition_type::VAR,
        guid: guid("var partition"),
        size: plan.var,
        flags,
    });
    Layout::new(guid("disk"), requests)
}

fn check_sizes(plan: &DiskPlan) -> Result<()> {
    for (key, size) in [("disk.esp", plan.esp), ("disk.var", plan.var), ("disk.verity", plan.verity)] {
        if !size.is_multiple_of(MIB) {
            let message = format!("{key} is {size} bytes, not whole MiB");
            let help = format!("set {key} to {} MiB", size.div_ceil(MIB));
            return Err(Error::new(ErrorKind::Definition, message).help(help));
        }
    }
    if plan.var < ext4::MINIMUM {
        let message = format!("disk.var is {} MiB: too small for a file system that grows", plan.var / MIB);
        return Err(Error::new(ErrorKind::Definition, message)
            .help(format!("set disk.var to at least {} MiB", ext4::MINIMUM / MIB)));
    }
    Ok(())
}

/// Between two files the kernel copies by itself, and shares the blocks where the file system can.
fn copy_into(from: &mut File, to: &mut File, offset: u64) -> io::Result<()> {
    to.seek(SeekFrom::Start(offset))?;
    io::copy(from, to).map(drop)
}

fn write_var(image: &Image<'_>, file: &Path, offset: u64, size: u64) -> Result<()> {
    image.record_tool("mke2fs", &ext4::version()?);
    let uuid = determinism::uuid(&image.identity, "var file system");
    let hash_seed = determinism::uuid(&image.identity, "var hash seed");
    Ext4 { file, offset, size, label: VAR, uuid, hash_seed, epoch: image.epoch }.write(image.scratch)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: DiskPlan = DiskPlan { esp: 64 * MIB, var: 128 * MIB, verity: 8 * MIB };

    #[test]
    fn var_is_last_and_the_disk_holds_no_more_than_asked() {
        let layout = layout(Arch::Amd64, &PLAN, &Digest::of(b""), 3 * MIB + 1);
        let labels: Vec<_> = layout.partitions.iter().map(|partition| partition.label).collect();
        assert_eq!(labels, [ESP, ROOT, VERITY, VAR]);
        assert_eq!(layout.size, (1 + 64 + 4 + 8 + 128 + 1) * MIB);
    }

    #[test]
    fn no_verity_partition_without_room_for_it() {
        let layout = layout(Arch::Arm64, &DiskPlan { verity: 0, ..PLAN }, &Digest::of(b""), MIB);
        assert!(layout.get(VERITY).is_none());
        assert_eq!(layout.get(ROOT).unwrap().kind, partition_type::ROOT_ARM64);
    }

    #[test]
    fn odd_sizes_are_named() {
        let error = check_sizes(&DiskPlan { var: 128 * MIB + 1, ..PLAN }).unwrap_err();
        assert!(error.message().contains("disk.var"), "{error}");
        assert_eq!(error.hint(), Some("set disk.var to 129 MiB"));
        let error = check_sizes(&DiskPlan { var: 16 * MIB, ..PLAN }).unwrap_err();
        assert!(error.message().contains("too small"), "{error}");
    }
}
