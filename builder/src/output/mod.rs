//! 7. Files that a user boots or uploads. One file per output; add it to [`ALL`] and it exists.

mod once;
pub mod oci;
pub mod pxe;
mod qcow2;
mod raw;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::definition::plan::ImagePlan;
use crate::definition::source::suggestion;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::image::disk::{self, Disk};
use crate::image::{initrd, squashfs};
use crate::layer::PackedLayer;
use crate::progress::Progress;
use crate::store::Store;
use crate::tree::{Body, Node, Tree};

pub use once::Once;

/// A kind of output.
pub trait Output: Sync {
    /// The word in the definition ("raw").
    fn name(&self) -> &'static str;

    /// One line for `kiln schema` and the documentation.
    fn summary(&self) -> &'static str;

    /// Writes the files into the empty folder `folder`, which becomes visible to the user only when every output is complete.
    /// Other outputs are written at the same time, into names of their own.
    fn write(&self, image: &Image<'_>, folder: &Path) -> Result<Vec<Written>>;
}

/// A file that an output has written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Its path below the output folder.
    pub file: String,
    /// Its digest, where that was computed when its bytes were made.
    pub digest: Option<Digest>,
}

impl From<String> for Written {
    fn from(file: String) -> Self {
        Self { file, digest: None }
    }
}

/// All outputs, in the order of the documentation.
pub const ALL: &[&dyn Output] = &[&raw::Raw, &qcow2::Qcow2, &oci::OciLayout, &pxe::Pxe];

/// The output with this name.
///
/// # Errors
/// When there is none; names the nearest and all of them.
pub fn find(name: &str) -> Result<&'static dyn Output> {
    if let Some(output) = ALL.iter().find(|output| output.name() == name) {
        return Ok(*output);
    }
    let names: Vec<_> = ALL.iter().map(|output| output.name()).collect();
    Err(Error::new(ErrorKind::Definition, format!("unknown output \"{name}\""))
        .help(suggestion(name, names.iter().copied())))
}

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
    pub root: Once<squashfs::Root>,
    /// The initrd, without a root inside.
    pub initrd: Once<PathBuf>,
    /// The raw disk image.
    pub disk: Once<Disk>,
    /// Programs of the host whose versions decide bytes of this image: name and version, for the manifest.
    pub tools: Mutex<BTreeMap<&'static str, String>>,
}

/// The kernel of an image.
#[derive(Debug, Clone, Copy)]
pub struct Kernel<'a> {
    /// Its release ("6.12.48+deb13-cloud-amd64").
    pub version: &'a str,
    /// The bootable file.
    pub body: &'a Body,
}

impl<'a> Image<'a> {
    /// The compressed root file system.
    pub fn root(&self) -> Result<&Path> {
        self.parts.root.get_or_make(|| squashfs::build(self)).map(|root| root.path.as_path())
    }

    /// The initrd, without a root inside.
    pub fn initrd(&self) -> Result<&Path> {
        self.parts.initrd.get_or_make(|| initrd::build(self)).map(PathBuf::as_path)
    }

    /// The raw disk image. Nobody may change the file: outputs link it.
    pub fn disk(&self) -> Result<&Disk> {
        self.parts.disk.get_or_make(|| disk::build(self))
    }

    /// The kernel in `boot/`.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub fn kernel(&self) -> Result<Kernel<'a>> {
        let tree: &'a Tree = self.tree;
        let mut found = tree.below("boot").filter_map(|(path, entry)| match &entry.node {
            Node::File(body) => Some(Kernel { version: path.strip_prefix("boot/vmlinuz-")?, body }),
            _ => None,
        });
        let error = |message: String| Error::new(ErrorKind::Definition, message);
        match (found.next(), found.next()) {
            (Some(kernel), None) => Ok(kernel),
            (None, _) => Err(error("the image has no kernel: no boot/vmlinuz-* in it".to_owned())
                .help("add a kernel to base.packages, for example linux-image-cloud-amd64")),
            (Some(one), Some(other)) => Err(error(format!(
                "the image has more than one kernel: {} and {}",
                one.version, other.version
            ))
            .help("keep one kernel package in base.packages")),
        }
    }

    /// The programs that [`Image::record_tool`] was told of.
    pub fn tools(&self) -> BTreeMap<&'static str, String> {
        self.parts.tools.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes that bytes of this image come from `version` of the program `name`.
    pub fn record_tool(&self, name: &'static str, version: &str) {
        self.parts
            .tools
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name, version.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_output_gets_its_nearest_name() {
        assert_eq!(find("raw").unwrap().name(), "raw");
        let error = find("qcow").err().unwrap();
        assert_eq!(error.hint(), Some("did you mean \"qcow2\"?"));
    }
}
