//! A root file system that somebody else has made: it becomes an ordinary immutable image.
//!
//! ```text
//! lock:     location ─► digest (pinned, or out of a list that may have to be signed)
//! assemble: blob ─► container (one file for each kind) ─► tree ─► vendor_state ─► checks ─► layer
//! ```
//!
//! Another kind of container is another file here and a row in [`CONTAINERS`].

mod checks;
mod disk;
mod kernel;
mod oci;
mod squashfs;
mod tarball;
mod vendor_state;

use std::path::{Path, PathBuf};

use serde::Serialize;

pub use disk::check_qcow2_header;

use super::{
    Base, BaseRequest, Content, Context, Job, LockedBase, LockedRootfs, Mirrored, given_file, image_tree,
    installed,
};
use crate::archive;
use crate::assembly::Part;
use crate::definition::plan::{Arch, BasePlan, Checksum, RootfsPlan};
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::fetch::Request;
use crate::image_source::{self, Blob, Pins, first_bytes};
use crate::layer;
use crate::store::{Key, Store};
use crate::tree::Tree;

/// The name of this base in the registry.
pub const NAME: &str = "rootfs";

/// Raise it when the same file comes to give another tree.
const FORMAT: u32 = 1;

/// How many bytes of a file tell what it is.
const HEAD: u64 = 4096;

/// A kind of file that can hold a root file system.
struct Container {
    /// As messages name it.
    name: &'static str,
    /// Whether a file that begins with these bytes is one.
    is: fn(&[u8]) -> bool,
    read: fn(&Source<'_>) -> Result<Tree>,
}

/// All kinds, in the order in which they are tried.
const CONTAINERS: &[Container] = &[oci::CONTAINER, squashfs::CONTAINER, tarball::CONTAINER, disk::CONTAINER];

/// A file to read a root file system from.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// The file.
    pub path: &'a Path,
    /// As messages name it.
    pub title: &'a str,
    /// For which architecture.
    pub arch: Arch,
    /// A folder for intermediate files, which must outlive the tree.
    pub spool: &'a Path,
    /// Where other files of the lock are.
    pub store: &'a Store,
}

/// A root file system that somebody else has made.
#[derive(Debug)]
pub struct Rootfs;

/// Everything that decides the bytes of the layer.
#[derive(Serialize)]
struct Inputs<'a> {
    files: Vec<&'a Digest>,
    arch: Arch,
    epoch: u64,
}

impl Base for Rootfs {
    fn name(&self) -> &'static str {
        NAME
    }

    fn is_distribution(&self) -> bool {
        false
    }

    fn gives(&self) -> &'static [Part] {
        Part::OF_A_TREE
    }

    fn lock(&self, request: &BaseRequest<'_>, context: &Context<'_>) -> Result<LockedBase> {
        let plan = rootfs_of(request.plan)?;
        if let Some(pins) = Pins::of(&plan.rootfs, None, request.arch, context.fetcher)? {
            return layers(plan, pins).map(LockedBase::Rootfs);
        }
        let rootfs = plan.rootfs.written.clone();
        let file = given_file::File {
            location: &plan.rootfs,
            checksum: plan.checksum.as_ref(),
            signature: plan.signature.as_ref(),
        };
        let (sha256, size) = file.pin(context)?;
        let keyring = plan.signature.as_ref().map(|signature| signature.keyring.written.clone());
        Ok(LockedBase::Rootfs(LockedRootfs { rootfs, size, sha256, keyring, blobs: Vec::new() }))
    }

    fn requests(&self, plan: &BasePlan, locked: &LockedBase, _: &Context<'_>) -> Result<Vec<Request>> {
        let (plan, locked) = (rootfs_of(plan)?, locked_of(locked)?);
        given_file::check_length(&plan.rootfs, locked.size)?;
        Ok(files(plan, locked))
    }

    fn mirrored(&self, plan: &BasePlan, _: Arch, locked: &LockedBase) -> Result<Mirrored> {
        let files = files(rootfs_of(plan)?, locked_of(locked)?);
        Mirrored::at_addresses(
            files.iter().flat_map(|file| file.urls.iter().map(|url| (url.clone(), &file.digest))),
        )
    }

    fn assemble(&self, locked: &LockedBase, job: &Job<'_>) -> Result<Content> {
        job.layers.begin();
        let (plan, locked) = (rootfs_of(job.plan)?, locked_of(locked)?);
        let files = locked.files().map(|(_, digest)| digest).collect();
        let key = Key::new("rootfs", FORMAT, &Inputs { files, arch: job.arch, epoch: job.epoch }, &[])?;
        layer::pack::pack_with(job.store, NAME, key, job.epoch, || {
            let _step = job.progress.step(&format!("reading {}", locked.rootfs));
            let source = Source {
                path: &job.store.verified(&locked.sha256)?,
                title: &locked.rootfs,
                arch: job.arch,
                spool: job.scratch,
                store: job.store,
            };
            let tree = image_tree::finish(kernel::in_boot(vendor_state::without(read(&source)?)));
            checks::check(&tree, job.arch, &locked.rootfs)?;
            let missing = installed::missing(&tree, &plan.needs);
            if !missing.is_empty() {
                job.progress.note(&format!(
                    "warning: {} lacks packages that layers ask for: {}",
                    locked.rootfs,
                    missing.join(", ")
                ));
            }
            Ok(tree)
        })
        .map(Content::Layer)
    }
}

/// Every file of it.
fn files(plan: &RootfsPlan, locked: &LockedRootfs) -> Vec<Request> {
    image_source::requests(&plan.rootfs, &locked.rootfs, (locked.sha256, locked.size), &locked.blobs)
}

fn rootfs_of(plan: &BasePlan) -> Result<&RootfsPlan> {
    match plan {
        BasePlan::Rootfs(plan) => Ok(plan),
        BasePlan::Packages(_) | BasePlan::Vendor(_) | BasePlan::Windows(_) | BasePlan::WindowsRelease(_) => {
            Err(Error::new(ErrorKind::Internal, "this base is no root file system"))
        }
    }
}

fn locked_of(locked: &LockedBase) -> Result<&LockedRootfs> {
    let wrong = || Error::new(ErrorKind::Internal, "the lock has no root file system");
    locked.rootfs().ok_or_else(wrong)
}

/// An image that consists of layers, with its pins.
fn layers(plan: &RootfsPlan, pins: Pins) -> Result<LockedRootfs> {
    let rootfs = plan.rootfs.written.clone();
    let Pins { manifest: Blob { sha256, size }, blobs } = pins;
    match &plan.checksum {
        None => {}
        Some(Checksum::Pinned(wanted)) => image_source::check_manifest(&sha256, wanted, &rootfs)?,
        Some(Checksum::File(_)) => {
            let message = format!("{rootfs} consists of layers, of which no list of digests says anything");
            return Err(Error::new(ErrorKind::Definition, message)
                .help("write sha256 = the digest of the image's manifest"));
        }
    }
    Ok(LockedRootfs { rootfs, size: Some(size), sha256, keyring: None, blobs })
}

/// The root file system in a file, as it is. The tree refers to the file, and to others in its folder for
/// intermediate files.
///
/// # Errors
/// [`ErrorKind::Archive`] if it is broken or hostile, or no such file; [`ErrorKind::Tool`] and
/// [`ErrorKind::Io`].
pub fn read(source: &Source<'_>) -> Result<Tree> {
    let path = &archive::plain(source.path, source.title, source.spool)?;
    let head = first_bytes(path, HEAD)?;
    let container = CONTAINERS.iter().find(|container| (container.is)(&head));
    let container = container.ok_or_else(|| unknown(source.title, &head))?;
    (container.read)(&Source { path, ..*source })
}

/// An installed system.
#[derive(Debug)]
pub struct Installed {
    /// The root file system, with its `/var` and `/boot` where they are on other partitions.
    pub tree: Tree,
    /// The disk, if it is one with partitions.
    pub disk: Option<InstalledDisk>,
}

/// A disk with an installed system.
#[derive(Debug)]
pub struct InstalledDisk {
    /// The file with its bytes.
    pub path: PathBuf,
    /// Where the partitions begin that firmware may start: the EFI system partition, and others with FAT.
    pub boot: Vec<u64>,
}

/// An installed system.
///
/// # Errors
/// Those of [`read`].
pub fn read_installed(source: &Source<'_>) -> Result<Installed> {
    let path = &archive::plain(source.path, source.title, source.spool)?;
    let head = first_bytes(path, HEAD)?;
    if (disk::CONTAINER.is)(&head) {
        return disk::read_installed(&Source { path, ..*source });
    }
    read(source).map(|tree| Installed { tree, disk: None })
}

fn unknown(title: &str, head: &[u8]) -> Error {
    let looks = match head {
        [] => "it is empty",
        [b'P', b'K', ..] => "it is a zip file",
        [b'<', ..] => "it looks like a web page",
        [b'K', b'D', b'M', b'V', ..] => "it is a VMDK disk; qemu-img convert -O qcow2 converts it",
        _ if head.starts_with(b"conectix") => {
            "it is a dynamic or differencing VHD, and only fixed ones are read; qemu-img convert -O qcow2 \
             converts a dynamic one"
        }
        _ if head.starts_with(b"vhdxfile") => "it is a VHDX disk; qemu-img convert -O qcow2 converts it",
        _ => "its first bytes are unknown",
    };
    let kinds: Vec<&str> = CONTAINERS.iter().map(|container| container.name).collect();
    Error::new(ErrorKind::Archive, format!("{title} holds no root file system: {looks}"))
        .help(format!("these are read: {}", kinds.join(", ")))
}

#[cfg(test)]
mod tests;
