//! The layout of the disk: data. Another disk is another list of rows.

use contract::partition_type;
use uuid::Uuid;

use crate::assembly::Part;
use crate::definition::plan::{Arch, DiskPlan};
use crate::determinism;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::format::ext4;
use crate::format::gpt::{Layout, Request, flag};
use crate::size::MIB;

/// Label of the partition of the boot loader for a BIOS.
pub const BIOS: &str = "bios";
/// Label of the EFI system partition.
pub const ESP: &str = "esp";
/// Label of the root partition.
pub const ROOT: &str = "root";
/// Label of the room for dm-verity hashes.
pub const VERITY: &str = "root-verity";
/// Label of the partition and of the file system for `/var`.
pub const VAR: &str = "var";

/// A partition, before it has a place.
#[derive(Debug)]
pub struct Row {
    /// Name in the partition table.
    pub label: &'static str,
    /// Its type on each architecture, as in [`partition_type`].
    kind: fn(Arch) -> &'static str,
    /// Its identifier is derived from this and the image's identity.
    purpose: &'static str,
    /// How long it is.
    pub size: Size,
    /// Attribute bits: [`flag`].
    flags: u64,
    /// Its content.
    pub content: Content,
}

/// How long a partition is.
#[derive(Debug)]
pub enum Size {
    /// As long as its content.
    OfContent,
    /// As the definition says, under this key. The definition may say 0 where `optional`: then there is no
    /// such partition.
    Defined {
        /// The key in the definition.
        key: &'static str,
        /// Its value.
        of: fn(&DiskPlan) -> u64,
        /// The least that works, in bytes.
        least: u64,
        /// Whether the disk can do without.
        optional: bool,
    },
}

/// The content of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// A part.
    Part(Part),
    /// The boot loader that a BIOS starts.
    BiosLoader,
    /// An empty ext4 file system.
    EmptyFileSystem,
    /// Nothing yet: the room is reserved for a later release, which writes dm-verity hashes there.
    Reserved,
}

/// The disk of an image whose content is a tree, in the order on the disk. The last partition grows at first
/// boot.
pub const DISK: &[Row] = &[
    Row {
        label: BIOS,
        kind: |_| partition_type::BIOS_BOOT,
        purpose: "bios partition",
        size: Size::Defined { key: "disk.bios", of: |plan| plan.bios, least: 0, optional: true },
        flags: flag::NO_AUTO,
        content: Content::BiosLoader,
    },
    Row {
        label: ESP,
        kind: |_| partition_type::ESP,
        purpose: "esp partition",
        size: Size::Defined { key: "disk.esp", of: |plan| plan.esp, least: 0, optional: false },
        flags: 0,
        content: Content::Part(Part::Esp),
    },
    Row {
        label: ROOT,
        kind: |arch| match arch {
            Arch::Amd64 => partition_type::ROOT_AMD64,
            Arch::Arm64 => partition_type::ROOT_ARM64,
        },
        purpose: ROOT_PURPOSE,
        size: Size::OfContent,
        flags: flag::READ_ONLY,
        content: Content::Part(Part::Root),
    },
    Row {
        label: VERITY,
        kind: |arch| match arch {
            Arch::Amd64 => partition_type::ROOT_VERITY_AMD64,
            Arch::Arm64 => partition_type::ROOT_VERITY_ARM64,
        },
        purpose: "verity partition",
        size: Size::Defined { key: "disk.verity", of: |plan| plan.verity, least: 0, optional: true },
        flags: flag::READ_ONLY | flag::NO_AUTO,
        content: Content::Reserved,
    },
    Row {
        label: VAR,
        kind: |_| partition_type::VAR,
        purpose: "var partition",
        size: Size::Defined { key: "disk.var", of: |plan| plan.var, least: ext4::MINIMUM, optional: false },
        flags: flag::GROW_FILE_SYSTEM,
        content: Content::EmptyFileSystem,
    },
];

const ROOT_PURPOSE: &str = "root partition";

/// The identifier of the root partition.
pub fn root_guid(identity: &Digest) -> Uuid {
    determinism::uuid(identity, ROOT_PURPOSE)
}

/// Gives every row its place; `length` is how long a part is, in bytes.
pub fn place(
    rows: &[Row],
    arch: Arch,
    plan: &DiskPlan,
    identity: &Digest,
    length: impl Fn(Content) -> u64,
) -> Layout {
    let request = |row: &Row| {
        let size = match row.size {
            Size::OfContent => length(row.content),
            Size::Defined { of, optional, .. } => Some(of(plan)).filter(|size| !optional || *size > 0)?,
        };
        let guid = determinism::uuid(identity, row.purpose);
        Some(Request { label: row.label, kind: (row.kind)(arch), guid, size, flags: row.flags })
    };
    let guid = determinism::uuid(identity, "disk");
    Layout::new(guid, plan.sector_size, rows.iter().filter_map(request).collect())
}

/// Refuses sizes of the definition that the rows cannot have.
///
/// # Errors
/// [`ErrorKind::Definition`], naming the key and a value that works.
pub fn check_sizes(rows: &[Row], plan: &DiskPlan) -> Result<()> {
    let error = |message: String, key: &str, mib: u64, word: &str| {
        Err(Error::new(ErrorKind::Definition, message).help(format!("set {key} to {word}{mib} MiB")))
    };
    for row in rows {
        let Size::Defined { key, of, .. } = row.size else { continue };
        let size = of(plan);
        if !size.is_multiple_of(MIB) {
            return error(format!("{key} is {size} bytes, not whole MiB"), key, size.div_ceil(MIB), "");
        }
    }
    for row in rows {
        let Size::Defined { key, of, least, .. } = row.size else { continue };
        if of(plan) < least {
            let message = format!("{key} is {} MiB: too small for a file system that grows", of(plan) / MIB);
            return error(message, key, least / MIB, "at least ");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::plan::BootManager;

    const PLAN: DiskPlan = DiskPlan {
        sector_size: 512,
        bios: MIB,
        esp: 64 * MIB,
        var: 128 * MIB,
        verity: 8 * MIB,
        windows: 0,
        boot_manager: BootManager::Pca2011,
    };

    #[test]
    fn var_is_last_and_the_disk_holds_no_more_than_asked() {
        let layout = place(DISK, Arch::Amd64, &PLAN, &Digest::of(b""), |_| 3 * MIB + 1);
        let labels: Vec<_> = layout.partitions.iter().map(|partition| partition.label).collect();
        assert_eq!(labels, [BIOS, ESP, ROOT, VERITY, VAR]);
        assert_eq!(layout.size, (1 + 1 + 64 + 4 + 8 + 128 + 1) * MIB);
    }

    #[test]
    fn no_partition_without_room_for_it() {
        let plan = DiskPlan { verity: 0, bios: 0, ..PLAN };
        let layout = place(DISK, Arch::Arm64, &plan, &Digest::of(b""), |_| MIB);
        assert!(layout.get(VERITY).is_none() && layout.get(BIOS).is_none());
        assert_eq!(layout.get(ROOT).unwrap().kind, partition_type::ROOT_ARM64);
    }

    #[test]
    fn odd_sizes_are_named() {
        let error = check_sizes(DISK, &DiskPlan { var: 128 * MIB + 1, ..PLAN }).unwrap_err();
        assert!(error.message().contains("disk.var"), "{error}");
        assert_eq!(error.hint(), Some("set disk.var to 129 MiB"));
        let error = check_sizes(DISK, &DiskPlan { var: 16 * MIB, ..PLAN }).unwrap_err();
        assert!(error.message().contains("too small"), "{error}");
    }
}
