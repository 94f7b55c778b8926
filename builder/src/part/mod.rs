//! 6. Parts of an image: made once, on first use, and shared by the outputs that need them.
//!
//! ```text
//! root ─► (verity) ─► command line ─► (unified kernel image) ─► esp, BIOS loader ─► disk
//! kernel, initrd ─────────────────────┴─────────────────────────┘
//! extensions ─► additions to a vendor's release ─► disk
//! image of Windows ─► with layers ─► disk
//! kernel, initrd, root (or a vendor's, and additions) ─► set for the network
//! disk ─► compressed, block map
//! ```
//!
//! Parts in brackets do not exist yet. [`Parts`] is the only code that knows this order: each file of this
//! folder makes one part of an [`Image`] and of the finished parts that it takes as arguments, and so knows
//! no other part. Parts that are worth keeping between builds (root, initrd) have a [`crate::store::Key`] and
//! are in the store. The others are slices of the tree, short texts, or are written straight into their place
//! on the disk.

pub(crate) mod bios;
pub(crate) mod command_line;
pub(crate) mod compressed;
pub(crate) mod compression;
pub(crate) mod disk;
pub(crate) mod esp;
pub mod extensions;
pub(crate) mod firmware;
pub(crate) mod initrd;
pub(crate) mod kernel;
pub mod layout;
pub(crate) mod network;
pub(crate) mod modules;
pub(crate) mod once;
pub(crate) mod root;
mod tree_digest;
mod vendor;
pub mod windows;
pub mod work;

use std::path::{Path, PathBuf};

use crate::assembly::{Image, VendorRelease};
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::format::bmap;
use crate::format::resized::Resized;
use crate::layer::compress::Compression;
use crate::part::compressed::CompressedDisk;
use crate::part::disk::Disk;
use crate::part::esp::Esp;
use crate::part::kernel::Kernel;
use crate::part::network::NetworkSet;
use crate::part::once::Once;
use crate::part::root::Root;
use crate::part::windows::WindowsImage;
use crate::part::work::Work;
use crate::tree::{Body, Entry, Tree};

/// The parts of one image.
#[derive(Debug)]
pub struct Parts<'a> {
    /// The image.
    pub image: Image<'a>,
    /// Where they are made.
    pub work: Work<'a>,
    root: Once<Root>,
    initrd: Once<PathBuf>,
    command_line: Once<String>,
    esp: Once<Esp>,
    disk: Once<Disk>,
    gzip_disk: Once<CompressedDisk>,
    zstd_disk: Once<CompressedDisk>,
    block_map: Once<String>,
    additions: Once<Tree>,
    network_initrd: Once<PathBuf>,
    windows: Once<WindowsImage>,
}

impl<'a> Parts<'a> {
    /// Makes nothing yet.
    pub fn new(image: Image<'a>, work: Work<'a>) -> Self {
        Self {
            image,
            work,
            root: Once::default(),
            initrd: Once::default(),
            command_line: Once::default(),
            esp: Once::default(),
            disk: Once::default(),
            gzip_disk: Once::default(),
            zstd_disk: Once::default(),
            block_map: Once::default(),
            additions: Once::default(),
            network_initrd: Once::default(),
            windows: Once::default(),
        }
    }

    /// Uses an initrd that was made elsewhere.
    #[must_use]
    pub fn with_initrd(self, path: PathBuf) -> Self {
        let _ = self.initrd.set(path);
        self
    }

    /// The compressed root file system.
    pub fn root(&self) -> Result<&Path> {
        self.root
            .get_or_make(|| root::make(&self.image, &self.work))
            .map(|root| root.path.as_path())
    }

    /// The kernel.
    pub fn kernel(&self) -> Result<Kernel<'a>> {
        kernel::find(self.image.tree(), self.image.packages)
    }

    /// The initrd, without a root inside.
    pub fn initrd(&self) -> Result<&Path> {
        self.initrd.get_or_make(|| initrd::make(&self.image, &self.work)).map(PathBuf::as_path)
    }

    /// The kernel's command line when it boots from the disk.
    pub fn command_line(&self) -> Result<&str> {
        self.command_line.get_or_make(|| Ok(command_line::make(&self.image))).map(String::as_str)
    }

    /// The EFI system partition.
    pub fn esp(&self) -> Result<&Esp> {
        self.esp
            .get_or_make(|| esp::make(&self.image, self.kernel()?, self.initrd()?, self.command_line()?))
    }

    /// The ESP of a medium that the machine does not need any more once it runs from memory, and the boot
    /// loader for a BIOS, if the image has one. `more` follows the definition's kernel arguments.
    pub fn live(&self, more: &[String]) -> Result<(Esp, Option<bios::Loader>)> {
        let arguments = [&self.image.plan.kernel_arguments, more].concat().join(" ");
        let (tree, kernel) = (self.image.tree(), self.kernel()?);
        let esp = esp::make(&self.image, kernel, self.network_initrd()?, &arguments)?;
        let loader = bios::is_in(tree).then(|| bios::make(tree, kernel, &arguments)).transpose()?;
        Ok((esp, loader))
    }

    /// The boot loader for a BIOS, if the image has one and is to have it on its disk.
    fn bios_loader(&self) -> Result<Option<bios::Loader>> {
        if self.image.plan.disk.bios == 0 || !bios::is_in(self.image.tree()) {
            return Ok(None);
        }
        bios::make(self.image.tree(), self.kernel()?, self.command_line()?).map(Some)
    }

    /// The disk. Its file must not be changed: outputs link it.
    pub fn disk(&self) -> Result<&Disk> {
        self.disk.get_or_make(|| {
            if let Some(release) = self.image.vendor() {
                let path = vendor::disk::make(&self.image, &self.work, release, self.additions(release)?)?;
                return Ok(Disk { path, layout: None });
            }
            if let Some(release) = self.image.windows() {
                return windows::make_disk(&self.image, &self.work, release, self.windows()?);
            }
            layout::check_sizes(layout::DISK, &self.image.plan.disk)?;
            let (esp, loader) = (self.esp()?, self.bios_loader()?);
            disk::make(&self.image, &self.work, layout::DISK, self.root()?, esp, loader.as_ref())
        })
    }

    /// The disk, compressed.
    pub fn compressed_disk(&self, compression: Compression) -> Result<&CompressedDisk> {
        let disk = match compression {
            Compression::Gzip => &self.gzip_disk,
            Compression::Zstd => &self.zstd_disk,
        };
        disk.get_or_make(|| compressed::make(self.disk()?, compression, &self.work))
    }

    /// The disk's block map.
    pub fn block_map(&self) -> Result<&str> {
        let make = || {
            let path = &self.disk()?.path;
            let _step = self.work.progress.step("making the block map");
            bmap::make(&Resized::whole(path, 1)?).at("reading", path)
        };
        self.block_map.get_or_make(make).map(String::as_str)
    }

    /// An image of Windows with the layers in it. Its file must not be changed: outputs link it.
    pub fn windows(&self) -> Result<&WindowsImage> {
        self.windows.get_or_make(|| {
            let missing = || Error::new(ErrorKind::Internal, "the base is no image of Windows");
            windows::make(&self.image, &self.work, self.image.windows().ok_or_else(missing)?)
        })
    }

    /// What is added to a vendor's root.
    fn additions(&self, release: &VendorRelease) -> Result<&Tree> {
        self.additions.get_or_make(|| {
            let extensions = extensions::make(&self.image, &self.work, &extensions::Options::default())?;
            vendor::additions(&self.image, release, &extensions)
        })
    }

    /// What boots from the network.
    pub fn network(&self) -> Result<NetworkSet> {
        let whole = |path: &Path| Body::whole(path).at("reading", path);
        if let Some(release) = self.image.vendor() {
            let missing = || Error::new(ErrorKind::Internal, "the lock has no files for the network");
            let (kernel, initrd) = release.network.as_ref().ok_or_else(missing)?;
            return Ok(NetworkSet {
                kernel: whole(kernel)?,
                initrd: initrd.clone(),
                appended: vendor::network::archive(release, self.additions(release)?)?,
                arguments: release.places.arguments,
            });
        }
        let mut appended = Tree::default();
        let root = Entry::file(whole(self.root()?)?, 0o444);
        appended.insert(contract::INITRD_ROOT_IMAGE.trim_start_matches('/'), root);
        Ok(NetworkSet {
            kernel: self.kernel()?.body.clone(),
            initrd: self.initrd()?.to_owned(),
            appended,
            arguments: &[],
        })
    }

    /// The initrd of [`Parts::network`] with everything appended.
    pub fn network_initrd(&self) -> Result<&Path> {
        let make = || {
            let path = self.work.scratch.join("network-initrd");
            network::write_initrd(&self.network()?, self.image.epoch, &path).map(|()| path)
        };
        self.network_initrd.get_or_make(make).map(PathBuf::as_path)
    }

    /// The disk, if an output has needed it.
    pub fn finished_disk(&self) -> Option<&Disk> {
        self.disk.get()
    }

    /// Keeps new parts in the store for later builds. Flushes, so it runs while outputs are still being
    /// written.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Io`].
    pub fn keep(&self) -> Result<()> {
        self.root.get().map_or(Ok(()), |root| root.keep(self.work.store))
    }
}
