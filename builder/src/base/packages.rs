//! The pins of a base that consists of packages of an archive.

use serde::{Deserialize, Serialize};

use super::{BaseRequest, Component};
use crate::definition::plan::PackagesPlan;
use crate::definition::snapshot::Snapshot;
use crate::digest::Digest;
use crate::purl::encode;

/// The only package of an image that no archive has: Kiln makes it.
pub(crate) const OWN_PACKAGE: &str = "kiln-initrd";

/// Packages, pinned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedPackages {
    /// The request that the packages were chosen for.
    pub selection: Selection,
    /// The closure, by name.
    pub packages: Vec<LockedPackage>,
}

/// The request that packages were chosen for; the closure follows from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selection {
    /// Operating system.
    pub distribution: String,
    /// Release.
    pub suite: String,
    /// The snapshot that they were chosen from; else the time of the newest package list that they were
    /// chosen from. Old locks lack it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<Snapshot>,
    /// Components of the archive; none are those that the base chooses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<String>,
    /// Packages that were asked for.
    pub install: Vec<String>,
    /// Packages of which only files are taken.
    pub extract: Vec<String>,
}

/// A package, pinned. It has no address: any mirror of the archive serves it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedPackage {
    /// Binary package name.
    pub name: String,
    /// Version, with epoch and revision.
    pub version: String,
    /// `amd64`, `arm64` or `all`.
    pub architecture: String,
    /// Source package name, for the SBOM and vulnerability scanners.
    pub source: String,
    /// Version of the source package, where it is another one. Old locks lack it.
    #[serde(default, rename = "source-version", skip_serializing_if = "Option::is_none")]
    pub source_version: Option<String>,
    /// Which archive of the distribution.
    pub archive: String,
    /// Path below the archive's root ("pool/main/b/bash/bash_5.2-2_amd64.deb").
    pub path: String,
    /// Length in bytes.
    pub size: u64,
    /// Its digest.
    pub sha256: Digest,
    /// A time at which the archive had it, if that is not the one of the whole base.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<Snapshot>,
    /// Whether it is installed in the base; otherwise only files are taken out of it.
    pub install: bool,
}

impl LockedPackage {
    /// Name and version of the source package that advisories name. A package of signed programs is built
    /// from one that holds their signatures alone; it has the version of the programs.
    pub fn advised_source(&self) -> (String, String) {
        match self.source.split_once("-signed") {
            Some((source, _)) => (source.to_owned(), self.version.clone()),
            None => {
                let version = self.source_version.as_ref().unwrap_or(&self.version);
                (self.source.clone(), version.clone())
            }
        }
    }
}

impl Selection {
    /// The selection of a request.
    pub fn of(request: &BaseRequest<'_>, plan: &PackagesPlan) -> Self {
        Self {
            distribution: plan.distribution.clone(),
            suite: plan.suite.clone(),
            snapshot: request.snapshot,
            components: plan.components.clone(),
            install: plan.packages.clone(),
            extract: request.extract.clone(),
        }
    }

    /// Whether packages that were chosen for `locked` are those of this selection. Without a snapshot of its
    /// own it takes those of any.
    pub fn is_met_by(&self, locked: &Self) -> bool {
        let wanted = Self { snapshot: self.snapshot.or(locked.snapshot), ..self.clone() };
        wanted == *locked
    }

    /// Every difference between this selection and `locked`, one line each.
    pub fn differences(&self, locked: &Self) -> Vec<String> {
        if self.suite != locked.suite || self.distribution != locked.distribution {
            return vec![format!(
                "the definition wants {}, the lock has packages of {}",
                self.suite, locked.suite
            )];
        }
        let mut differences = Vec::new();
        if let Some(snapshot) = self.snapshot.filter(|_| self.snapshot != locked.snapshot) {
            let has = locked.snapshot.map_or_else(|| "none".to_owned(), |snapshot| snapshot.to_string());
            differences.push(format!("the definition wants the snapshot {snapshot}, the lock names {has}"));
        }
        if self.components != locked.components {
            let named = |components: &[String]| match components {
                [] => "the base's own components".to_owned(),
                named => format!("the components {}", named.join(", ")),
            };
            differences.push(format!(
                "the definition wants {}, the lock has {}",
                named(&self.components),
                named(&locked.components)
            ));
        }
        let lists = [(&self.install, &locked.install), (&self.extract, &locked.extract)];
        for (wanted, locked) in lists {
            let new = wanted.iter().filter(|name| !locked.contains(name));
            differences.extend(new.map(|name| format!("the package {name} is not in the lock")));
            let old = locked.iter().filter(|name| !wanted.contains(name));
            differences
                .extend(old.map(|name| format!("the package {name} is in the lock and no longer wanted")));
        }
        differences
    }
}

impl LockedPackages {
    /// Makes of `packages`, chosen anew at `time`, those of a lock that goes on from this one: what did not
    /// move keeps its pin, and what did says when the archive had it.
    pub fn merge_into(&self, packages: &mut [LockedPackage], time: Option<Snapshot>) {
        for package in packages {
            let same = |pin: &&LockedPackage| {
                (&pin.name, &pin.version, &pin.sha256, pin.install)
                    == (&package.name, &package.version, &package.sha256, package.install)
            };
            match self.packages.iter().find(same) {
                Some(pin) => *package = pin.clone(),
                None => package.snapshot = time.filter(|_| time != self.selection.snapshot),
            }
        }
    }

    /// Every package as a component of the SBOM.
    pub fn components(&self, release: &str) -> Vec<Component> {
        let component = |package: &LockedPackage| Component {
            name: package.name.clone(),
            version: package.version.clone(),
            purl: purl(&self.selection.distribution, &package.into(), release),
            sha256: Some(package.sha256),
            properties: vec![
                ("kiln:package", if package.install { "installed" } else { "files" }.to_owned()),
                ("kiln:source", package.source.clone()),
            ],
        };
        self.packages.iter().map(component).collect()
    }
}

/// What the package URL of a Debian package says.
pub(super) struct Named<'a> {
    pub(super) name: &'a str,
    pub(super) version: &'a str,
    pub(super) architecture: &'a str,
    pub(super) source: &'a str,
}

impl<'a> From<&'a LockedPackage> for Named<'a> {
    fn from(package: &'a LockedPackage) -> Self {
        let LockedPackage { name, version, architecture, source, .. } = package;
        Self { name, version, architecture, source }
    }
}

/// The package URL. `release` is the distribution's version ("13"), or its code name; `upstream` names the
/// source package when it has another name, because advisories do.
pub(super) fn purl(distribution: &str, package: &Named<'_>, release: &str) -> String {
    let Named { name, version, architecture, source } = package;
    let upstream = if source == name { String::new() } else { format!("&upstream={}", encode(source)) };
    format!(
        "pkg:deb/{distribution}/{}@{}?arch={architecture}&distro={distribution}-{}{upstream}",
        encode(name),
        encode(version),
        encode(release)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, version: &str, source: &str) -> LockedPackage {
        LockedPackage {
            name: name.to_owned(),
            version: version.to_owned(),
            architecture: "amd64".to_owned(),
            source: source.to_owned(),
            source_version: None,
            snapshot: None,
            archive: "debian".to_owned(),
            path: String::new(),
            size: 0,
            sha256: Digest::of(b""),
            install: true,
        }
    }

    #[test]
    fn advisories_name_source_packages() {
        let dmsetup = LockedPackage {
            source_version: Some("2.03.31-2".to_owned()),
            ..package("dmsetup", "2:1.02.205-2", "lvm2")
        };
        for (package, expected) in [
            (dmsetup, ("lvm2", "2.03.31-2")),
            (package("linux-image-amd64", "6.12.57-1", "linux-signed-amd64"), ("linux", "6.12.57-1")),
            (package("bash", "5.2", "bash"), ("bash", "5.2")),
        ] {
            let (source, version) = package.advised_source();
            assert_eq!((source.as_str(), version.as_str()), expected);
        }
    }

    #[test]
    fn debian_versions_are_encoded() {
        let purl = |package: &LockedPackage| purl("debian", &package.into(), "13");
        assert_eq!(
            purl(&package("libc6", "1:2.41-12+deb13u1~x", "glibc")),
            "pkg:deb/debian/libc6@1:2.41-12%2Bdeb13u1~x?arch=amd64&distro=debian-13&upstream=glibc"
        );
        assert!(!purl(&package("bash", "5.2", "bash")).contains("upstream"));
    }
}
