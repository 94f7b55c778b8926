//! The pins of a base, by kind of base.

use super::packages::{self, LockedPackage};
use super::{BaseRequest, Component};
use crate::definition::snapshot::Snapshot;
use crate::digest::Digest;

/// A base, pinned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockedBase {
    /// Packages of an archive.
    Packages(packages::LockedPackages),
}

/// The sections of a lock file that belong to the base.
#[derive(Debug)]
pub struct Sections {
    /// `[base]`
    pub base: BaseSection,
    /// `[[package]]`
    pub packages: Vec<LockedPackage>,
}

/// The request that the lock was made for. Today every base consists of packages. Another kind has other keys
/// here, and the name of the distribution decides which.
pub type BaseSection = packages::Selection;

/// A file that a base is made of.
#[derive(Debug, Clone, Copy)]
pub struct Pin<'a> {
    /// Its name in messages.
    pub name: &'a str,
    /// Its version.
    pub version: &'a str,
    /// Its digest.
    pub sha256: &'a Digest,
}

impl LockedBase {
    /// Whether the pins were made for exactly this request.
    pub fn is_for(&self, request: &BaseRequest<'_>) -> bool {
        let Self::Packages(locked) = self;
        packages::Selection::of(request).is_met_by(&locked.selection)
    }

    /// Every difference between `request` and the pins, one line each.
    pub fn differences(&self, request: &BaseRequest<'_>) -> Vec<String> {
        let Self::Packages(locked) = self;
        packages::Selection::of(request).differences(&locked.selection)
    }

    /// The time at which the archive had all of it, if the lock says so.
    pub fn snapshot(&self) -> Option<Snapshot> {
        let Self::Packages(locked) = self;
        locked.selection.snapshot
    }

    /// Every file that is pinned.
    pub fn pins(&self) -> impl Iterator<Item = Pin<'_>> {
        self.packages().iter().map(|package| Pin {
            name: &package.name,
            version: &package.version,
            sha256: &package.sha256,
        })
    }

    /// The file of a package that is not installed: layers take files out of it.
    pub fn extracted(&self, name: &str) -> Option<&Digest> {
        let mut packages = self.packages().iter();
        packages
            .find(|package| package.name == name && !package.install)
            .map(|package| &package.sha256)
    }

    /// Every component for the SBOM. `release` is the version of the operating system ("13").
    pub fn components(&self, release: &str) -> Vec<Component> {
        let Self::Packages(locked) = self;
        locked.components(release)
    }

    /// Packages of an archive; none for a base that has no such thing.
    pub fn packages(&self) -> &[LockedPackage] {
        let Self::Packages(locked) = self;
        &locked.packages
    }
}

impl From<Sections> for LockedBase {
    fn from(sections: Sections) -> Self {
        Self::Packages(packages::LockedPackages { selection: sections.base, packages: sections.packages })
    }
}

impl From<LockedBase> for Sections {
    fn from(locked: LockedBase) -> Self {
        let LockedBase::Packages(packages::LockedPackages { selection, packages }) = locked;
        Self { base: selection, packages }
    }
}
