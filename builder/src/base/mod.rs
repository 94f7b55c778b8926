//! 4. The operating system below the layers.
//!
//! A base pins its contents, names the files that a build needs, and makes the lowest content of an image.
//! [`ALL`] is the only list of bases, and this folder the only place that knows a distribution by name.
//!
//! | kind | pins in the lock | content |
//! |---|---|---|
//! | [`apt`] | packages of an archive, one [`apt::Distribution`] for each row | the lowest layer |
//! | [`rootfs`] | a file with a root file system that somebody else has made | the lowest layer |
//! | [`flatcar`] | the files of a vendor's release | those files, verified |
//! | [`windows`] | an image that the user has | that image, as a WIM |
//! | `windows_release` | the release | nothing: the layers are for a Windows that is elsewhere |
//!
//! Other kinds are a module here, a variant of [`LockedBase`] and, where they give something other than a
//! layer, a variant of [`Content`].

pub mod apt;
pub mod flatcar;
mod given_file;
mod given_root;
mod given_windows;
mod image_tree;
pub(crate) mod installed;
mod locked;
mod locked_release;
mod options;
pub mod packages;
pub mod rootfs;
mod stanza;
mod vendor;
pub mod versions;
pub mod windows;
mod windows_release;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::assembly::{Packages, Part, VendorRelease, WindowsRelease};
use crate::definition::plan::{Arch, BasePlan, ImagePlan, Origin};
use crate::definition::snapshot::Snapshot;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::fetch::{Fetcher, Request, path_in_mirror};
use crate::layer::PackedLayer;
use crate::progress::Progress;
use crate::store::Store;
use crate::threads::Starter;

pub use given_root::LockedRootfs;
pub use given_windows::LockedWindows;
pub use installed::InstalledPackage;
pub use locked::{BaseSection, LockedBase, Pin, Sections};
pub use locked_release::LockedWindowsRelease;
pub use options::{ALLOW_EXPIRED_FLAG, BaseOption, Options};
pub use packages::{LockedPackage, LockedPackages};
pub use vendor::{LockedVendor, VendorFile};

/// All bases.
pub const ALL: &[&dyn Base] = &[
    &apt::debian::DEBIAN,
    &apt::ubuntu::UBUNTU,
    &flatcar::FLATCAR,
    &rootfs::Rootfs,
    &windows::Windows,
    &windows_release::WindowsRelease,
];

/// An operating system that images can be built on.
pub trait Base: Debug + Sync {
    /// Its name: `base.distribution` in definitions, if it is one.
    fn name(&self) -> &'static str;

    /// Whether a definition names it as its distribution.
    fn is_distribution(&self) -> bool {
        true
    }

    /// The releases that Kiln is tried with, by their code names.
    fn suites(&self) -> &'static [&'static str] {
        &[]
    }

    /// The channels of a vendor's releases, if its disk stays as it is.
    fn channels(&self) -> &'static [&'static str] {
        &[]
    }

    /// The parts that can be made of an image on this base.
    fn gives(&self) -> &'static [Part];

    /// Packages that an image needs, for hints in errors.
    fn packages(&self) -> Packages {
        Packages::NONE
    }

    /// Options of the command line that only this base reads.
    fn options(&self) -> &'static [BaseOption] {
        &[]
    }

    /// Pins the contents of the base. Needs the network.
    ///
    /// # Errors
    /// [`ErrorKind::Definition`] when a requested package does not exist; [`ErrorKind::Fetch`] and
    /// [`ErrorKind::Tool`].
    fn lock(&self, request: &BaseRequest<'_>, context: &Context<'_>) -> Result<LockedBase>;

    /// The files that must be in the store before [`Base::assemble`].
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] when a file is missing from the store and no address of it is known.
    fn requests(&self, plan: &BasePlan, locked: &LockedBase, context: &Context<'_>) -> Result<Vec<Request>>;

    /// The same files in a folder that mirrors all that is upstream, but for those that are local.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] when no folder can have one of the addresses.
    fn mirrored(&self, plan: &BasePlan, arch: Arch, locked: &LockedBase) -> Result<Mirrored>;

    /// What databases of vulnerabilities know of the locked packages; `None` if the lock names none.
    fn advised(&self, _: &LockedBase) -> Option<Advised> {
        None
    }

    /// The names of all kernel modules, built-in ones too, where the files that tell are in the store.
    ///
    /// # Errors
    /// [`ErrorKind::Archive`] when such a file is broken.
    fn kernel_modules(&self, _: &LockedBase, _: &Store) -> Result<Option<BTreeSet<String>>> {
        Ok(None)
    }

    /// The firmware of the base; `None` if it has none, or none that can be told.
    fn firmware(&self, _: &LockedBase) -> Option<Firmware> {
        None
    }

    /// Makes the content, or takes it from the store. Needs no network.
    ///
    /// # Errors
    /// [`ErrorKind::Tool`] and [`ErrorKind::Io`].
    fn assemble(&self, locked: &LockedBase, job: &Job<'_>) -> Result<Content>;
}

/// The content that a base gives to an image.
#[derive(Debug)]
pub enum Content {
    /// The lowest layer of a tree.
    Layer(PackedLayer),
    /// A vendor's release, which stays as it is.
    Vendor(VendorRelease),
    /// An image of Windows, to which layers are added.
    Windows(WindowsRelease),
    /// Nothing: the layers are for a system that is elsewhere.
    Nothing,
}

/// The files of a base in a mirror of all that is upstream.
#[derive(Debug, Default)]
pub struct Mirrored {
    /// The path of each below the mirror's folder, and its digest.
    pub files: Vec<(PathBuf, Digest)>,
    /// The option of the command line that takes them from there, and the folder that it names, below the
    /// mirror's; none if `--mirror https://=FOLDER` does.
    pub option: Option<(&'static str, &'static str)>,
}

impl Mirrored {
    /// Files that a mirror of hosts has at these addresses.
    ///
    /// # Errors
    /// As [`path_in_mirror`].
    pub(super) fn at_addresses<'a>(
        addresses: impl IntoIterator<Item = (String, &'a Digest)>,
    ) -> Result<Self> {
        let mut mirrored = Self::default();
        for (address, digest) in addresses {
            mirrored.files.extend(path_in_mirror(&address)?.map(|path| (path, *digest)));
        }
        Ok(mirrored)
    }
}

/// Packages as databases of vulnerabilities know them.
#[derive(Debug)]
pub struct Advised {
    /// The ecosystem in the OSV schema, with the release.
    pub ecosystem: String,
    /// The packages.
    pub packages: Vec<AdvisedPackage>,
}

/// A package as databases of vulnerabilities know it.
#[derive(Debug)]
pub struct AdvisedPackage {
    /// Its own name.
    pub name: String,
    /// The source package that advisories name.
    pub source: String,
    /// The version of the source package.
    pub version: String,
}

/// Packages of firmware.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Firmware {
    /// How many.
    pub packages: usize,
    /// Their size in bytes, compressed as the root is.
    pub size: u64,
}

/// A component of a base, for the SBOM.
#[derive(Debug, Clone)]
pub struct Component {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its package URL.
    pub purl: String,
    /// Digest of the file that it came in, if it came alone.
    pub sha256: Option<Digest>,
    /// More about it: names of CycloneDX properties, and values.
    pub properties: Vec<(&'static str, String)>,
}

/// The requirements of an image on its base.
#[derive(Debug, Clone)]
pub struct BaseRequest<'a> {
    /// The base in the definition.
    pub plan: &'a BasePlan,
    /// For which architecture.
    pub arch: Arch,
    /// The time of its contents; without one, the newest.
    pub snapshot: Option<Snapshot>,
    /// Packages that layers take files out of, without installing them. Sorted.
    pub extract: Vec<String>,
    /// Packages that keep their versions; none if all may move.
    pub held: Option<Held<'a>>,
}

/// The packages of a lock that keep their versions.
#[derive(Debug, Clone, Copy)]
pub struct Held<'a> {
    /// The lock's base.
    pub locked: &'a LockedPackages,
    /// Names of packages, or of their sources, that may move.
    pub but: &'a BTreeSet<String>,
}

impl<'a> Held<'a> {
    /// Those that stay.
    pub fn packages(&self) -> Vec<&'a LockedPackage> {
        let stays = |package: &&LockedPackage| {
            ![&package.name, &package.source].into_iter().any(|name| self.but.contains(name))
        };
        self.locked.packages.iter().filter(stays).collect()
    }
}

impl<'a> BaseRequest<'a> {
    /// The request of `plan`.
    pub fn of(plan: &'a ImagePlan) -> Self {
        let artifacts = plan.layers.iter().flat_map(|layer| &layer.artifacts);
        let extract: BTreeSet<String> = artifacts
            .filter_map(|artifact| match &artifact.origin {
                Origin::Package { name } => Some(name.clone()),
                _ => None,
            })
            .collect();
        Self {
            plan: &plan.base,
            arch: plan.arch,
            snapshot: plan.base.snapshot(),
            extract: extract.into_iter().collect(),
            held: None,
        }
    }
}

/// The context of locking and fetching.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// Options of the command line.
    pub options: &'a Options,
    /// The store.
    pub store: &'a Store,
    /// The way to fetch.
    pub fetcher: &'a Fetcher<'a>,
    /// Where progress is shown.
    pub progress: &'a Progress,
}

/// The context of assembling.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    /// The base in the definition.
    pub plan: &'a BasePlan,
    /// For which architecture.
    pub arch: Arch,
    /// The time that every file carries, seconds since 1970.
    pub epoch: u64,
    /// Where the locked files are, and the result.
    pub store: &'a Store,
    /// A private folder for intermediate files.
    pub scratch: &'a Path,
    /// Where progress is shown.
    pub progress: &'a Progress,
    /// Lets the layers begin: as soon as the base no longer needs all processors. They begin at its end at
    /// the latest.
    pub layers: &'a Starter,
}

/// The base of this name.
pub fn find(name: &str) -> Option<&'static dyn Base> {
    ALL.iter().find(|base| base.name() == name).copied()
}

/// The base of a plan, whose name was checked when the definition was read.
///
/// # Errors
/// [`ErrorKind::Internal`].
pub fn of(plan: &BasePlan) -> Result<&'static dyn Base> {
    let name = match plan {
        BasePlan::Packages(plan) => plan.distribution.as_str(),
        BasePlan::Vendor(plan) => plan.distribution.as_str(),
        BasePlan::Rootfs(_) => rootfs::NAME,
        BasePlan::Windows(_) => windows::NAME,
        BasePlan::WindowsRelease(_) => windows_release::NAME,
    };
    find(name).ok_or_else(|| Error::new(ErrorKind::Internal, format!("there is no base {name}")))
}

#[cfg(test)]
mod tests;
