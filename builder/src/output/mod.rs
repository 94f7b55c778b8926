//! 7. Files that a user boots or uploads. One file per output; add it to [`ALL`] and it exists.

pub mod oci;

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use crate::definition::plan::ImagePlan;
use crate::digest::Digest;
use crate::error::Result;
use crate::layer::PackedLayer;
use crate::progress::Progress;
use crate::store::Store;
use crate::tree::Tree;

/// A kind of output.
pub trait Output: Sync {
    /// The word in the definition ("raw").
    fn name(&self) -> &'static str;

    /// One line for `kiln schema` and the documentation.
    fn summary(&self) -> &'static str;

    /// Writes the files into the empty folder `folder`, which becomes visible to the user only when every output is complete.
    /// Returns the names written, relative to `folder`; a name that ends in `/` is a folder (an OCI layout).
    fn write(&self, image: &Image<'_>, folder: &Path) -> Result<Vec<String>>;
}

/// All outputs, in the order of the documentation.
pub const ALL: &[&dyn Output] = &[&oci::OciLayout];

/// An assembled image, ready to be written in any form. Parts that several outputs share are made once, on first use.
pub struct Image<'a> {
    /// What was asked for.
    pub plan: &'a ImagePlan,
    /// The merged tree, complete.
    pub tree: &'a Tree,
    /// Its layers, the base first.
    pub layers: &'a [PackedLayer],
    /// Hash of all layers and of the plan: the seed of every identifier on the disk.
    pub identity: Digest,
    /// The time everything carries, seconds since 1970.
    pub epoch: u64,
    /// The content store, for parts worth keeping between builds.
    pub store: &'a Store,
    /// A private folder for intermediate files, on the output's file system.
    pub scratch: &'a Path,
    /// Where progress is shown.
    pub progress: &'a Progress,
    /// Shared parts.
    pub parts: Parts,
}

/// Parts that several outputs share.
#[derive(Debug, Default)]
pub struct Parts {
    /// The compressed read-only root file system.
    pub root: OnceCell<PathBuf>,
    /// The initrd, without a root inside.
    pub initrd: OnceCell<PathBuf>,
    /// The raw disk image.
    pub disk: OnceCell<PathBuf>,
}
