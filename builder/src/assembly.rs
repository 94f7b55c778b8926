//! The contents of an image. Data only: [`crate::part`] makes files of it, and [`crate::output`] hands them
//! out.

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

/// The content of an image.
///
/// One kind exists today. Two more will be variants beside it:
///
/// - `Vendor { disk, extensions, node_config }`: a vendor's disk image that stays as it is. Layers become
///   system extensions (sysext) beside it, and the vendor's first boot reads the node configuration. Its base
///   gives the parts [`Part::Disk`] and `Extensions`, and no [`Part::Root`].
/// - `Wim { base, edits }`: an image in Windows' format and the offline edits to it: files, registry keys,
///   packages.
///
/// Code that needs a tree destructures with `let Assembly::Tree { … } = …`: a second variant then makes the
/// compiler list every place that has to decide.
#[derive(Debug, Clone, Copy)]
pub enum Assembly<'a> {
    /// A root file system, merged from layers.
    Tree {
        /// The merged tree, complete.
        tree: &'a Tree,
        /// Its layers, the base first.
        layers: &'a [PackedLayer],
    },
}

impl<'a> Image<'a> {
    /// The merged root file system.
    pub fn tree(&self) -> &'a Tree {
        let Assembly::Tree { tree, .. } = self.assembly;
        tree
    }

    /// The layers, the base first.
    pub fn layers(&self) -> &'a [PackedLayer] {
        let Assembly::Tree { layers, .. } = self.assembly;
        layers
    }

    /// The layers that lie on the base: those of the definition, and the final layer.
    pub fn layers_above_base(&self) -> &'a [PackedLayer] {
        let Assembly::Tree { layers, .. } = self.assembly;
        layers.get(1..).unwrap_or_default()
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
    ];

    /// As messages name it.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Layers => "layers",
            Self::Root => "root file system",
            Self::Kernel => "kernel",
            Self::Initrd => "initrd",
            Self::CommandLine => "kernel command line",
            Self::Esp => "EFI system partition",
            Self::Disk => "disk",
            Self::Extensions => "system extensions",
        }
    }
}
