//! The pins of a base, by kind of base.

use std::borrow::Cow;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::packages::{self, LockedPackage};
use super::{
    BaseRequest, Component, LockedRootfs, LockedVendor, LockedWindows, LockedWindowsRelease, installed,
};
use crate::definition::plan::BasePlan;
use crate::definition::snapshot::Snapshot;
use crate::digest::Digest;
use crate::tree::Tree;

/// A base, pinned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockedBase {
    /// Packages of an archive.
    Packages(packages::LockedPackages),
    /// A root file system that somebody else has made.
    Rootfs(LockedRootfs),
    /// A vendor's release.
    Vendor(LockedVendor),
    /// An image of Windows.
    Windows(LockedWindows),
    /// A release of Windows.
    WindowsRelease(LockedWindowsRelease),
}

/// The sections of a lock file that belong to the base.
#[derive(Debug)]
pub struct Sections {
    /// `[base]`
    pub base: BaseSection,
    /// `[[package]]`
    pub packages: Vec<LockedPackage>,
}

/// `[base]` of a lock. Its keys tell its kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum BaseSection {
    /// The request that packages were chosen for.
    Packages(packages::Selection),
    /// A root file system.
    Rootfs(LockedRootfs),
    /// A vendor's release.
    Vendor(LockedVendor),
    /// An image of Windows.
    Windows(LockedWindows),
    /// A release of Windows.
    WindowsRelease(LockedWindowsRelease),
}

impl<'de> Deserialize<'de> for BaseSection {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let table = toml::Table::deserialize(deserializer)?;
        let section = if table.contains_key("rootfs") {
            table.try_into().map(Self::Rootfs)
        } else if table.contains_key("windows") {
            table.try_into().map(Self::Windows)
        } else if table.contains_key("channel") {
            table.try_into().map(Self::Vendor)
        } else if table.contains_key("release") {
            table.try_into().map(Self::WindowsRelease)
        } else {
            table.try_into().map(Self::Packages)
        };
        section.map_err(|error| D::Error::custom(error.message()))
    }
}

/// A file that a base is made of.
#[derive(Debug, Clone)]
pub struct Pin<'a> {
    /// Its name in messages.
    pub name: Cow<'a, str>,
    /// Its version; the beginning of its digest if it has none.
    pub version: Cow<'a, str>,
    /// Its digest.
    pub sha256: &'a Digest,
}

impl LockedBase {
    /// Whether the pins were made for exactly this request.
    pub fn is_for(&self, request: &BaseRequest<'_>) -> bool {
        match (self, request.plan) {
            (Self::Packages(locked), BasePlan::Packages(plan)) => {
                packages::Selection::of(request, plan).is_met_by(&locked.selection)
            }
            (Self::Rootfs(locked), BasePlan::Rootfs(plan)) => locked.differences(plan).is_empty(),
            (Self::Vendor(locked), BasePlan::Vendor(plan)) => locked.differences(plan).is_empty(),
            (Self::Windows(locked), BasePlan::Windows(plan)) => locked.differences(plan).is_empty(),
            (Self::WindowsRelease(locked), BasePlan::WindowsRelease(plan)) => {
                locked.differences(plan).is_empty()
            }
            _ => false,
        }
    }

    /// Every difference between `request` and the pins, one line each.
    pub fn differences(&self, request: &BaseRequest<'_>) -> Vec<String> {
        match (self, request.plan) {
            (Self::Packages(locked), BasePlan::Packages(plan)) => {
                packages::Selection::of(request, plan).differences(&locked.selection)
            }
            (Self::Rootfs(locked), BasePlan::Rootfs(plan)) => locked.differences(plan),
            (Self::Vendor(locked), BasePlan::Vendor(plan)) => locked.differences(plan),
            (Self::Windows(locked), BasePlan::Windows(plan)) => locked.differences(plan),
            (Self::WindowsRelease(locked), BasePlan::WindowsRelease(plan)) => locked.differences(plan),
            _ => vec!["the lock is for another kind of base".to_owned()],
        }
    }

    /// The time at which the archive had all of it, if the lock says so.
    pub const fn snapshot(&self) -> Option<Snapshot> {
        match self {
            Self::Packages(locked) => locked.selection.snapshot,
            Self::Rootfs(_) | Self::Vendor(_) | Self::Windows(_) | Self::WindowsRelease(_) => None,
        }
    }

    /// Every file that is pinned.
    pub fn pins(&self) -> Box<dyn Iterator<Item = Pin<'_>> + '_> {
        match self {
            Self::Packages(locked) => Box::new(locked.packages.iter().map(|package| Pin {
                name: package.name.as_str().into(),
                version: package.version.as_str().into(),
                sha256: &package.sha256,
            })),
            Self::Rootfs(locked) => Box::new(locked.files().map(|(name, sha256)| Pin {
                name,
                version: format!("{:.19}", sha256.to_string()).into(),
                sha256,
            })),
            Self::Vendor(locked) => Box::new(locked.files.iter().map(|file| Pin {
                name: file.name.as_str().into(),
                version: locked.version.as_str().into(),
                sha256: &file.sha256,
            })),
            Self::Windows(locked) => Box::new(std::iter::once(Pin {
                name: locked.windows.as_str().into(),
                version: locked.version().into(),
                sha256: &locked.sha256,
            })),
            Self::WindowsRelease(_) => Box::new(std::iter::empty()),
        }
    }

    /// What is pinned, for summaries.
    pub fn summary(&self) -> String {
        match self {
            Self::Packages(locked) => format!("{} packages", locked.packages.len()),
            Self::Rootfs(locked) => format!("the root file system {}", locked.rootfs),
            Self::Vendor(locked) => format!("{} {}", locked.distribution, locked.version),
            Self::WindowsRelease(locked) => format!("Windows Server {}", locked.release),
            Self::Windows(locked) => format!("{} {}", locked.product, locked.version()),
        }
    }

    /// The file of a package that is not installed: layers take files out of it.
    pub fn extracted(&self, name: &str) -> Option<&Digest> {
        let mut packages = self.packages().iter();
        packages
            .find(|package| package.name == name && !package.install)
            .map(|package| &package.sha256)
    }

    /// Every component for the SBOM. `release` is the version of the operating system ("13"), `tree` the
    /// image.
    pub fn components(&self, release: &str, tree: &Tree) -> Vec<Component> {
        match self {
            Self::Packages(locked) => locked.components(release),
            Self::Rootfs(_) => installed::components(release, tree),
            Self::Vendor(locked) => locked.components(),
            Self::Windows(locked) => vec![locked.component()],
            Self::WindowsRelease(_) => Vec::new(),
        }
    }

    /// Packages of an archive; none for a base that has no such thing.
    pub fn packages(&self) -> &[LockedPackage] {
        match self {
            Self::Packages(locked) => &locked.packages,
            Self::Rootfs(_) | Self::Vendor(_) | Self::Windows(_) | Self::WindowsRelease(_) => &[],
        }
    }

    /// The root file system; nothing for another kind of base.
    pub const fn rootfs(&self) -> Option<&LockedRootfs> {
        match self {
            Self::Rootfs(locked) => Some(locked),
            Self::Packages(_) | Self::Vendor(_) | Self::Windows(_) | Self::WindowsRelease(_) => None,
        }
    }

    /// The vendor's release; nothing for another kind of base.
    pub const fn vendor(&self) -> Option<&LockedVendor> {
        match self {
            Self::Vendor(locked) => Some(locked),
            Self::Packages(_) | Self::Rootfs(_) | Self::Windows(_) | Self::WindowsRelease(_) => None,
        }
    }

    /// Whether it is for Windows.
    pub const fn is_windows(&self) -> bool {
        matches!(self, Self::Windows(_) | Self::WindowsRelease(_))
    }

    /// The image of Windows; nothing for another kind of base.
    pub const fn windows(&self) -> Option<&LockedWindows> {
        match self {
            Self::Windows(locked) => Some(locked),
            Self::Packages(_) | Self::Rootfs(_) | Self::Vendor(_) | Self::WindowsRelease(_) => None,
        }
    }
}

impl TryFrom<Sections> for LockedBase {
    type Error = &'static str;

    fn try_from(sections: Sections) -> Result<Self, &'static str> {
        let Sections { base, packages } = sections;
        match base {
            BaseSection::Packages(selection) => {
                Ok(Self::Packages(packages::LockedPackages { selection, packages }))
            }
            BaseSection::Rootfs(rootfs) if packages.is_empty() => Ok(Self::Rootfs(rootfs)),
            BaseSection::Vendor(vendor) if packages.is_empty() => Ok(Self::Vendor(vendor)),
            BaseSection::Windows(windows) if packages.is_empty() => Ok(Self::Windows(windows)),
            BaseSection::WindowsRelease(release) if packages.is_empty() => Ok(Self::WindowsRelease(release)),
            BaseSection::Rootfs(_)
            | BaseSection::Vendor(_)
            | BaseSection::Windows(_)
            | BaseSection::WindowsRelease(_) => Err("this base has no [[package]]"),
        }
    }
}

impl From<LockedBase> for Sections {
    fn from(locked: LockedBase) -> Self {
        match locked {
            LockedBase::Packages(packages::LockedPackages { selection, packages }) => {
                Self { base: BaseSection::Packages(selection), packages }
            }
            LockedBase::Rootfs(rootfs) => Self { base: BaseSection::Rootfs(rootfs), packages: Vec::new() },
            LockedBase::Vendor(vendor) => Self { base: BaseSection::Vendor(vendor), packages: Vec::new() },
            LockedBase::Windows(windows) => {
                Self { base: BaseSection::Windows(windows), packages: Vec::new() }
            }
            LockedBase::WindowsRelease(release) => {
                Self { base: BaseSection::WindowsRelease(release), packages: Vec::new() }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<LockedBase, String> {
        let base: BaseSection = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        LockedBase::try_from(Sections { base, packages: Vec::new() }).map_err(str::to_owned)
    }

    #[test]
    fn the_keys_of_the_section_tell_its_kind() {
        let digest = Digest::of(b"x");
        let rootfs = format!("rootfs = \"vendor.tar.xz\"\nsha256 = \"{digest}\"\n");
        let packages = "distribution = \"debian\"\nsuite = \"trixie\"\ninstall = []\nextract = []\n";
        assert!(matches!(read(packages), Ok(LockedBase::Packages(_))));
        let locked = read(&rootfs).unwrap();
        let written = toml::to_string(&Sections::from(locked.clone()).base).unwrap();
        assert_eq!(written, rootfs);
        assert_eq!(locked.pins().map(|pin| *pin.sha256).collect::<Vec<_>>(), [digest]);
        assert!(read(&(rootfs + "suite = \"trixie\"\n")).unwrap_err().contains("unknown field `suite`"));
    }
}
