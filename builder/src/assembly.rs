//! The contents of an image. Data only: [`crate::part`] makes files of it, and [`crate::output`] hands them
//! out.

use std::path::PathBuf;

use crate::definition::plan::ImagePlan;
use crate::digest::Digest;
use crate::layer::PackedLayer;
use crate::tree::Tree;

/// An image whose content is complete, before any file is made of it.
#[derive(Debug, Clone, Copy)]
pub struct Image<'a> {
    /// The resolved definition.
    pub plan: &'a ImagePlan,
    /// Hash of all layers and of the plan: the seed of every identifier on the disk.
    pub identity: Digest,
    /// The time that every file carries, seconds since 1970.
    pub epoch: u64,
    /// The content.
    pub assembly: Assembly<'a>,
    /// Packages that help when a file is missing from the content.
    pub packages: Packages,
}

/// The base's names of packages that an image needs, for hints in errors.
#[derive(Debug, Clone, Copy)]
pub struct Packages {
    /// A small kernel.
    pub kernel: &'static str,
    /// A kernel with drivers for all hardware.
    pub full_kernel: &'static str,
    /// The boot loader for UEFI.
    pub boot_loader: &'static str,
}

impl Packages {
    /// Those of a base to which no package can be added.
    pub const NONE: Self = Self { kernel: "", full_kernel: "", boot_loader: "" };

    /// What to do where there is no kernel.
    pub fn add_kernel(&self) -> String {
        match self.kernel {
            "" => "take a root file system with a kernel and its modules, or only outputs without a kernel"
                .to_owned(),
            kernel => format!("add a kernel to base.packages, for example {kernel}"),
        }
    }

    /// What to do where there is more than one kernel.
    pub fn keep_one_kernel(&self) -> &'static str {
        match self.kernel {
            "" => "remove all but one from the root file system",
            _ => "keep one kernel package in base.packages",
        }
    }

    /// What to do where the kernel lacks something.
    pub fn choose_kernel(&self) -> String {
        match self.kernel {
            "" => "take a root file system with another kernel".to_owned(),
            kernel => format!("choose a kernel package with it ({kernel}, {})", self.full_kernel),
        }
    }

    /// What to do where the boot loader is missing.
    pub fn add_boot_loader(&self) -> String {
        match self.boot_loader {
            "" => "install systemd-boot in the root file system, or write a layer that takes the file from an address".to_owned(),
            package => format!("add the package {package} to base.packages"),
        }
    }
}

/// The content of an image.
#[derive(Debug, Clone, Copy)]
pub enum Assembly<'a> {
    /// A root file system, merged from layers.
    Tree {
        /// The merged tree, complete.
        tree: &'a Tree,
        /// Its layers, the base first.
        layers: &'a [PackedLayer],
    },
    /// A vendor's release, which stays as it is, and layers that become system extensions beside it.
    Vendor {
        /// The release.
        release: &'a VendorRelease,
        /// The layers as one tree. Nothing of the vendor's is in it.
        tree: &'a Tree,
        /// The layers.
        layers: &'a [PackedLayer],
    },
    /// An image of Windows, and what is added to it.
    Windows {
        /// The image.
        release: &'a WindowsRelease,
        /// The files of the layers as one tree, its root the system drive. Nothing of the image is in it.
        tree: &'a Tree,
        /// The layers.
        layers: &'a [PackedLayer],
    },
    /// Layers for a system that is elsewhere.
    Layers {
        /// The layers as one tree.
        tree: &'a Tree,
        /// The layers.
        layers: &'a [PackedLayer],
    },
}

/// An image of Windows, verified and on this machine.
#[derive(Debug, Clone)]
pub struct WindowsRelease {
    /// Its file, for messages.
    pub title: String,
    /// What it is ("Windows Server 2022 Standard").
    pub product: String,
    /// The file with it, a WIM.
    pub wim: PathBuf,
    /// Its number there.
    pub index: u32,
    /// Its build.
    pub build: u32,
}

/// A vendor's release, verified and on this machine.
#[derive(Debug, Clone)]
pub struct VendorRelease {
    /// Its name and version, for messages.
    pub title: String,
    /// The disk image, compressed with bzip2.
    pub disk: Option<PathBuf>,
    /// The kernel and the initrd for the network.
    pub network: Option<(PathBuf, PathBuf)>,
    /// Where additions go.
    pub places: &'static VendorPlaces,
}

/// Where a vendor's system takes what is added to it. Paths are relative to the root.
#[derive(Debug)]
pub struct VendorPlaces {
    /// Types of the partitions that a disk must have.
    pub partitions: &'static [&'static str],
    /// Type of the partition with the writable root, an ext4 file system.
    pub root: &'static str,
    /// The folder of extensions.
    pub extensions: &'static str,
    /// The folder whose links systemd-sysext follows.
    pub links: &'static str,
    /// The folder of the initrd for the network that is copied into the root.
    pub carried: &'static str,
    /// Where it is copied to, absolute.
    pub carried_to: &'static str,
    /// In that folder, the configuration that Ignition merges a user's with.
    pub ignition: &'static str,
    /// Arguments without which the network's kernel does not run Ignition.
    pub arguments: &'static [&'static str],
}

impl<'a> Image<'a> {
    /// The merged tree: the root file system, or what is beside a vendor's.
    pub const fn tree(&self) -> &'a Tree {
        match self.assembly {
            Assembly::Tree { tree, .. }
            | Assembly::Vendor { tree, .. }
            | Assembly::Windows { tree, .. }
            | Assembly::Layers { tree, .. } => tree,
        }
    }

    /// The layers, the base first if it is one.
    pub const fn layers(&self) -> &'a [PackedLayer] {
        match self.assembly {
            Assembly::Tree { layers, .. }
            | Assembly::Vendor { layers, .. }
            | Assembly::Windows { layers, .. }
            | Assembly::Layers { layers, .. } => layers,
        }
    }

    /// The layers that lie on the base: those of the definition, and the final layer.
    pub fn layers_above_base(&self) -> &'a [PackedLayer] {
        match self.assembly {
            Assembly::Tree { layers, .. } => layers.get(1..).unwrap_or_default(),
            Assembly::Vendor { layers, .. }
            | Assembly::Windows { layers, .. }
            | Assembly::Layers { layers, .. } => layers,
        }
    }

    /// The vendor's release that the image is made of, if it is.
    pub const fn vendor(&self) -> Option<&'a VendorRelease> {
        match self.assembly {
            Assembly::Tree { .. } | Assembly::Windows { .. } | Assembly::Layers { .. } => None,
            Assembly::Vendor { release, .. } => Some(release),
        }
    }

    /// The image of Windows that this one is made of, if it is.
    pub const fn windows(&self) -> Option<&'a WindowsRelease> {
        match self.assembly {
            Assembly::Tree { .. } | Assembly::Vendor { .. } | Assembly::Layers { .. } => None,
            Assembly::Windows { release, .. } => Some(release),
        }
    }
}

/// A file or text that is made once of an assembly, for all outputs that need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The layers as tars.
    Layers,
    /// The compressed read-only root file system.
    Root,
    /// The kernel.
    Kernel,
    /// The initrd.
    Initrd,
    /// The kernel's command line when it boots from the disk.
    CommandLine,
    /// The EFI system partition.
    Esp,
    /// The disk.
    Disk,
    /// The layers without the base, as system extensions.
    Extensions,
    /// Kernel, initrd and root for a boot from the network.
    Network,
    /// An image in Windows' own format.
    Wim,
    /// The layers for a Windows that is elsewhere.
    WindowsLayers,
}

impl Part {
    /// All parts of an assembly that is a tree.
    pub const OF_A_TREE: &'static [Self] = &[
        Self::Layers,
        Self::Root,
        Self::Kernel,
        Self::Initrd,
        Self::CommandLine,
        Self::Esp,
        Self::Disk,
        Self::Extensions,
        Self::Network,
    ];

    /// All parts of a vendor's release with layers beside it.
    pub const OF_A_VENDOR: &'static [Self] = &[Self::Disk, Self::Network, Self::Extensions];

    /// All parts of an image of Windows with layers added to it.
    pub const OF_WINDOWS: &'static [Self] = &[Self::Wim, Self::Disk, Self::WindowsLayers];

    /// All parts of layers for a Windows that is elsewhere.
    pub const FOR_WINDOWS: &'static [Self] = &[Self::WindowsLayers];

    /// As messages name it.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Layers => "layers as archives",
            Self::Root => "root file system",
            Self::Kernel => "kernel",
            Self::Initrd => "initrd",
            Self::CommandLine => "kernel command line",
            Self::Esp => "EFI system partition",
            Self::Disk => "disk",
            Self::Extensions => "system extensions",
            Self::Network => "set for the network",
            Self::Wim => "image in Windows' format",
            Self::WindowsLayers => "layers for Windows",
        }
    }
}
