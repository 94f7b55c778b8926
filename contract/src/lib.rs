//! The contract between `kiln` and `firstboot`: the paths where the builder puts things and the agent finds
//! them, and the formats of the shared files.
//!
//! Nothing here opens a file: [`gpt`] reads what it is given. [`suggest`] is the one place that guesses the
//! intended name of a mistyped one, [`text`] the one that makes text of others fit to be shown,
//! [`runtime`] the one that knows container runtimes, [`disk_rule`] the one that reads rules for disks,
//! [`product_uuid`] the one that doubts UUIDs, and [`foreign_root`] the one that knows which kernel
//! arguments ask for a root out of the initrd's reach; [`xml`] says which documents a parser may be given.

pub mod disk_rule;
mod foreign_root;
pub mod gpt;
pub mod product_uuid;
pub mod public_key;
pub mod runtime;
pub mod suggest;
pub mod text;
pub mod trust_policy;
pub mod xml;

pub use foreign_root::foreign_root;

/// Partition types of the Discoverable Partitions Specification
/// (<https://uapi-group.org/specifications/specs/discoverable_partitions_specification/>), as written there.
pub mod partition_type {
    /// EFI system partition.
    pub const ESP: &str = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b";
    /// The boot loader that a BIOS starts (GRUB's name for it: BIOS boot partition).
    pub const BIOS_BOOT: &str = "21686148-6449-6e6f-744e-656564454649";
    /// Root file system of this architecture.
    #[cfg(target_arch = "x86_64")]
    pub const ROOT: &str = ROOT_AMD64;
    /// Root file system of this architecture.
    #[cfg(target_arch = "aarch64")]
    pub const ROOT: &str = ROOT_ARM64;
    /// Root file system, x86-64.
    pub const ROOT_AMD64: &str = "4f68bce3-e8cd-4db1-96e7-fbcaf984b709";
    /// Root file system, AArch64.
    pub const ROOT_ARM64: &str = "b921b045-1df0-41c3-af44-4c6f280d3fae";
    /// dm-verity hashes of the root, x86-64.
    pub const ROOT_VERITY_AMD64: &str = "2c7357ed-ebd2-46d9-aec1-23d437ec2bf5";
    /// dm-verity hashes of the root, AArch64.
    pub const ROOT_VERITY_ARM64: &str = "df3300ce-d69f-4c92-978c-9bfb0f38d820";
    /// The signature of the root hash of those, x86-64.
    pub const ROOT_VERITY_SIGNATURE_AMD64: &str = "41092b05-9fc8-4523-994f-2def0408b176";
    /// The signature of the root hash of those, AArch64.
    pub const ROOT_VERITY_SIGNATURE_ARM64: &str = "6db69de6-29f4-4758-a7a5-962190f00ce3";
    /// `/var`.
    pub const VAR: &str = "4d21b016-b534-45c2-a9fb-5c16e091fd2d";
}

/// The compressed root file system inside the initrd of a network boot.
pub const INITRD_ROOT_IMAGE: &str = "/root.squashfs";

/// Inside the initrd: the kernel modules to load, one path per line, in order; a line may end in ` optional`.
pub const INITRD_MODULE_LIST: &str = "/modules";

/// Inside the initrd: kernel modules for hardware that a machine may not have. Each line is a device alias (a
/// shell pattern, as in the kernel's modules.alias) and the paths to load in order if a device has that
/// alias: dependencies first, the module last.
pub const INITRD_MODULE_ALIASES: &str = "/modules.alias";

/// Where the initrd mounts the root file system before it becomes `/`.
pub const INITRD_SYSROOT: &str = "/sysroot";

/// The path of the agent in an image; the initrd contains a copy as `/init`.
pub const AGENT: &str = "usr/bin/firstboot";

/// The upper side of the overlay over `/etc`, below `/var`.
pub const ETC_UPPER: &str = "lib/kiln/etc/upper";

/// The work folder of the overlay over `/etc`, below `/var`.
pub const ETC_WORK: &str = "lib/kiln/etc/work";

/// Below `/var`: exists when the image's files in `/var` have been copied to the writable partition.
pub const VAR_POPULATED: &str = "lib/kiln/populated";

/// The folder of the image's description, below the root.
pub const IMAGE_FOLDER: &str = "usr/lib/kiln";

/// The KubeletConfiguration that an image may contain, below the root. Its machines then read none from the
/// cluster.
pub const KUBELET_CONFIG: &str = "usr/lib/kiln/kubelet-config.yaml";

/// The folder with a file for each optional feature of Windows that the agent enables, below the root. The
/// file's name is DISM's name of the feature.
pub const WINDOWS_FEATURES: &str = "usr/lib/kiln/windows-features";

/// The trust policy of an image, below the root. Without it the agent accepts any platform that it
/// recognises.
pub const POLICY: &str = "usr/lib/kiln/policy.json";
