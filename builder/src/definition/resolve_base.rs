//! The base of a definition: a distribution with its packages, a root file system that others have made, or a
//! vendor's disk.

use std::collections::BTreeSet;
use std::path::Path;

use super::compatibility::{Table, WindowsRelease};
use super::compose::Composition;
use super::condition::ARCHES;
use super::image_spec::BaseSpec;
use super::interpolate::Variables;
use super::layer::Layer;
use super::plan::{
    BasePlan, Checksum, Form, LayerPlan, Location, Origin, PackagesPlan, RootfsPlan, SignaturePlan,
    VendorPlan, WindowsBasePlan, WindowsReleasePlan,
};
use super::registry::Registry;
use super::source::{Step, suggestion};
use super::value::Name;
use super::windows::WINDOWS;
use crate::address;
use crate::at;
use crate::container_image::ImageAddress;
use crate::error::{Error, Result};

const ADDRESS_OR_PATH: &str = "write an https:// address, or a path relative to the definition";

/// What a definition's `[base]` is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind<'a> {
    Packages {
        distribution: &'a str,
        suite: &'a str,
    },
    Rootfs {
        written: &'a str,
    },
    Vendor {
        distribution: &'a str,
        channel: &'a str,
    },
    /// Its release, if the compatibility table knows that.
    Windows {
        written: &'a str,
        release: Option<&'a WindowsRelease>,
    },
    WindowsRelease {
        release: &'a WindowsRelease,
    },
}

impl<'a> Kind<'a> {
    /// As messages name it.
    pub(super) const fn title(&self) -> &str {
        match self {
            Self::Packages { distribution, .. } | Self::Vendor { distribution, .. } => distribution,
            Self::Rootfs { .. } => "a given root file system",
            Self::Windows { .. } => "an image of Windows",
            Self::WindowsRelease { .. } => "Windows",
        }
    }

    /// Whether layers are for Windows.
    pub(super) const fn is_windows(&self) -> bool {
        matches!(self, Self::Windows { .. } | Self::WindowsRelease { .. })
    }

    /// The release of Windows, if it is known.
    pub(super) const fn release(&self) -> Option<&'a WindowsRelease> {
        match self {
            Self::Windows { release, .. } => *release,
            Self::WindowsRelease { release } => Some(release),
            _ => None,
        }
    }

    /// The base's name in the registry.
    pub(super) const fn base(&self) -> &str {
        match self {
            Self::Packages { distribution, .. } | Self::Vendor { distribution, .. } => distribution,
            Self::Rootfs { .. } => "rootfs",
            Self::Windows { .. } => WINDOWS,
            Self::WindowsRelease { .. } => "windows-release",
        }
    }
}

/// The package in an entry of `packages`; none if the entry is for other architectures: `NAME [ARCH …]`, as
/// build dependencies of packages have it (deb-src-control(5)).
///
/// # Errors
/// The message and the help.
fn of_arch(entry: &str, arch: &str) -> Result<Option<String>, (String, String)> {
    let Some((name, arches)) = entry.strip_suffix(']').and_then(|entry| entry.split_once(" [")) else {
        return Ok(Some(entry.to_owned()));
    };
    let mut arches = arches.split(' ');
    if let Some(wrong) = arches.clone().find(|arch| !ARCHES.contains(arch)) {
        return Err((format!("unknown architecture \"{wrong}\""), suggestion(wrong, ARCHES)));
    }
    Ok(arches.any(|one| one == arch).then(|| name.to_owned()))
}

/// Resolves `[base]`.
pub(super) struct BaseResolver<'a> {
    pub(super) composed: &'a Composition,
    pub(super) registry: &'a dyn Registry,
    pub(super) spec: &'a BaseSpec,
    pub(super) table: &'a Table,
}

impl<'a> BaseResolver<'a> {
    /// The kind of the base, decided by its keys.
    pub(super) fn kind(&self) -> Result<Kind<'a>> {
        let base = self.spec;
        let (key, kind) = match (&base.rootfs, &base.windows, &base.release) {
            (_, Some(written), _) => ("windows", Kind::Windows { written, release: self.release()? }),
            (Some(written), None, None) => ("rootfs", Kind::Rootfs { written }),
            (_, None, Some(name)) => {
                self.check_absent(base.keys_of_file(), "goes with base.rootfs or base.windows")?;
                self.check_absent(base.keys_of_windows(), "goes with base.windows")?;
                ("release", Kind::WindowsRelease { release: self.release_of(name)? })
            }
            (None, None, None) => {
                self.check_absent(base.keys_of_file(), "goes with base.rootfs or base.windows")?;
                self.check_absent(base.keys_of_windows(), "goes with base.windows")?;
                return self.distribution();
            }
        };
        let why = format!("does not go with base.{key}");
        let others = [
            ("distribution", base.distribution.is_some()),
            ("rootfs", base.rootfs.is_some() && key != "rootfs"),
        ];
        self.check_absent(others, &why)?;
        self.check_absent(base.keys_of_packages(), &why)?;
        self.check_absent(base.keys_of_vendor(), &why)?;
        if matches!(kind, Kind::Rootfs { .. }) {
            self.check_absent(base.keys_of_windows(), &why)?;
        }
        Ok(kind)
    }

    /// The release of an image of Windows: by its name, or its build.
    fn release(&self) -> Result<Option<&'a WindowsRelease>> {
        let (named, build) = (&self.spec.release, self.spec.build);
        let Some(name) = named else {
            return Ok(self.table.windows().iter().find(|known| Some(known.build) == build));
        };
        let release = self.release_of(name)?;
        if build.is_some_and(|build| build != release.build) {
            let message = format!("Windows Server {name} has the build {}", release.build);
            let error = self.error(&at!["base", "build"], &message);
            return Err(error.help("leave it out, or base.release"));
        }
        Ok(Some(release))
    }

    fn release_of(&self, name: &str) -> Result<&'a WindowsRelease> {
        let known = self.table.windows();
        known.iter().find(|known| known.release == name).ok_or_else(|| {
            let names: Vec<&str> = known.iter().map(|known| known.release.as_str()).collect();
            let message = format!("unknown release \"{name}\" of Windows Server");
            let help = match names.is_empty() {
                true => "no folder of layers with compatibility.toml was found: keep the definition in images/, beside \
                         layers/, or write base.build and base.minimum-revision instead"
                    .to_owned(),
                false => suggestion(name, names),
            };
            self.error(&at!["base", "release"], &message).help(help)
        })
    }

    fn check_absent<const N: usize>(&self, keys: [(&str, bool); N], why: &str) -> Result<()> {
        let Some((key, _)) = keys.into_iter().find(|(_, is_there)| *is_there) else { return Ok(()) };
        let error = self.error(&at!["base", key], &format!("base.{key} {why}"));
        Err(error.help(
            "a base is a distribution with its packages, a root file system, a vendor's release, or Windows: keep one",
        ))
    }

    fn error(&self, path: &[Step], message: &str) -> Error {
        self.composed.error(path, message)
    }

    fn required<T>(&self, value: &'a Option<T>, key: &str) -> Result<&'a T> {
        value.as_ref().ok_or_else(|| self.composed.missing(&at!["base"], key))
    }

    fn distribution(&self) -> Result<Kind<'a>> {
        let distribution = self.required(&self.spec.distribution, "distribution")?;
        let known = self.registry.distributions();
        if !known.contains(&distribution.as_str()) {
            let error =
                self.error(&at!["base", "distribution"], &format!("unknown value \"{distribution}\""));
            return Err(error.help(suggestion(distribution, known)));
        }
        let channels = self.registry.channels(distribution);
        if !channels.is_empty() {
            return self.vendor(distribution, channels);
        }
        let why = format!("does not go with {distribution}, which consists of packages");
        self.check_absent(self.spec.keys_of_vendor(), &why)?;
        let suite = &self.required(&self.spec.suite, "suite")?.0;
        Ok(Kind::Packages { distribution, suite })
    }

    fn vendor(&self, distribution: &'a str, channels: Vec<&'static str>) -> Result<Kind<'a>> {
        let why = format!("does not go with {distribution}, whose release stays as it is");
        self.check_absent(self.spec.keys_of_packages(), &why)?;
        let channel = self.required(&self.spec.channel, "channel")?;
        if !channels.contains(&channel.as_str()) {
            let error = self.error(&at!["base", "channel"], &format!("unknown value \"{channel}\""));
            return Err(error.help(suggestion(channel, channels)));
        }
        let is_version = |text: &str| text.split('.').all(|part| part.parse::<u32>().is_ok());
        if let Some(version) = self.spec.version.as_ref().filter(|version| !is_version(version)) {
            let error = self.error(&at!["base", "version"], &format!("\"{version}\" is not a version"));
            return Err(error.help("write numbers with dots between them, or leave it out for the newest"));
        }
        Ok(Kind::Vendor { distribution, channel })
    }

    /// The plan of a base of this kind, of the packages that the layers ask for, and for these outputs.
    pub(super) fn plan(
        &self,
        kind: Kind<'_>,
        layers: &[Layer],
        outputs: &[String],
        variables: &Variables,
    ) -> Result<BasePlan> {
        let components = self.spec.components.iter().flatten().map(|name| name.0.clone()).collect();
        let packages = self.packages(layers, self.spec.packages.as_deref().unwrap_or_default(), variables)?;
        match kind {
            Kind::Packages { distribution, suite } => Ok(BasePlan::Packages(PackagesPlan {
                distribution: distribution.to_owned(),
                suite: suite.to_owned(),
                snapshot: self.spec.snapshot,
                components,
                packages,
            })),
            Kind::Rootfs { written } => {
                let rootfs = self.rootfs(written, variables)?;
                let checksum = self.checksum("rootfs", &rootfs, variables)?;
                let signature = self.signature(variables)?;
                Ok(BasePlan::Rootfs(RootfsPlan { rootfs, checksum, signature, needs: packages }))
            }
            Kind::WindowsRelease { release } => Ok(BasePlan::WindowsRelease(WindowsReleasePlan {
                release: release.release.clone(),
                build: release.build,
                least_revision: release.least_revision,
                runs: release.runs.clone(),
            })),
            Kind::Windows { written, release } => {
                let windows = self.location("windows", written, variables)?;
                let checksum = self.checksum("windows", &windows, variables)?;
                let signature = self.signature(variables)?;
                Ok(BasePlan::Windows(WindowsBasePlan {
                    windows,
                    checksum,
                    signature,
                    edition: self.spec.edition.clone(),
                    build: self.spec.build.or(release.map(|release| release.build)),
                    minimum_revision: self
                        .spec
                        .minimum_revision
                        .or(release.map(|release| release.least_revision)),
                }))
            }
            // Layers name packages of a distribution that has such; the vendor's release has its own.
            Kind::Vendor { distribution, channel } => {
                let forms: BTreeSet<Form> =
                    outputs.iter().filter_map(|output| self.registry.form(output)).collect();
                Ok(BasePlan::Vendor(VendorPlan {
                    distribution: distribution.to_owned(),
                    channel: channel.to_owned(),
                    version: self.spec.version.clone(),
                    forms: forms.into_iter().collect(),
                }))
            }
        }
    }

    fn packages(&self, layers: &[Layer], base: &[String], variables: &Variables) -> Result<Vec<String>> {
        let mut packages = Vec::new();
        for (index, written) in base.iter().enumerate() {
            let path = at!["base", "packages", index];
            let entry = self.composed.expand(&path, written, variables)?;
            let name = of_arch(&entry, &variables["arch"])
                .map_err(|(why, help)| self.error(&path, &why).help(help))?;
            let Some(name) = name else { continue };
            let name = Name::try_from(name).map_err(|_| {
                self.error(&path, "this is not the name of a package")
                    .help("write a package's name, without a version: the lock pins that")
            })?;
            packages.push(name.0);
        }
        let replaced: Vec<&str> = layers
            .iter()
            .flat_map(|layer| layer.file.replaces_packages.iter().map(|name| name.0.as_str()))
            .collect();
        packages.retain(|name| !replaced.contains(&name.as_str()));
        packages
            .extend(layers.iter().flat_map(|layer| layer.file.packages.iter().map(|name| name.0.clone())));
        packages.sort();
        packages.dedup();
        Ok(packages)
    }

    /// An image in a registry, or a file as [`Self::location`] takes it.
    fn rootfs(&self, written: &str, variables: &Variables) -> Result<Location> {
        let path = at!["base", "rootfs"];
        let name = self.composed.expand(&path, written, variables)?;
        match ImageAddress::parse(&name) {
            None => self.file(&path, name),
            Some(Ok(_)) => Ok(Location { address: name.clone(), written: name }),
            Some(Err(why)) => {
                let shown = address::shown_alone(&name);
                Err(self
                    .error(&path, &format!("\"{shown}\" does not name an image in a registry: {why}"))
                    .help("write docker://HOST/NAME:TAG, without a login; of a registry that wants one copy the image first: skopeo copy docker://… oci:FOLDER; and name the folder"))
            }
        }
    }

    /// An address, or a path relative to the definition.
    fn location(&self, key: &str, written: &str, variables: &Variables) -> Result<Location> {
        let path = at!["base", key];
        self.file(&path, self.composed.expand(&path, written, variables)?)
    }

    fn file(&self, path: &[Step], written: String) -> Result<Location> {
        if written.contains("://") {
            self.composed.check_url(path, &written, ADDRESS_OR_PATH)?;
            return Ok(Location { address: written.clone(), written });
        }
        self.composed.local(&written).map_err(|local| self.absent(path, &local))
    }

    fn absent(&self, path: &[Step], local: &Path) -> Error {
        self.error(path, &format!("there is no file {}", local.display())).help(ADDRESS_OR_PATH)
    }

    /// Where the digest of `file` comes from, which is under `key`.
    fn checksum(&self, key: &str, file: &Location, variables: &Variables) -> Result<Option<Checksum>> {
        let base = self.spec;
        match (&base.checksum, base.sha256) {
            (Some(_), Some(_)) => Err(self
                .error(&at!["base", "sha256"], "a file has either a checksum or a sha256")
                .help("remove one of them")),
            (Some(written), None) => self
                .location("checksum", written, variables)
                .map(|file| Some(Checksum::File(file.address))),
            (None, Some(digest)) => Ok(Some(Checksum::Pinned(digest))),
            // A registry says by TLS what a name stands for, as a list of digests does.
            (None, None) if file.is_local() || file.image().is_some() => Ok(None),
            (None, None) => Err(self
                .error(&at!["base", key], "nothing says which bytes are the right ones")
                .help("add sha256 = \"…\", or checksum = \"ADDRESS\" of the vendor's list of digests")),
        }
    }

    fn signature(&self, variables: &Variables) -> Result<Option<SignaturePlan>> {
        let base = self.spec;
        let error =
            |key: &str, message: &str, help: &str| Err(self.error(&at!["base", key], message).help(help));
        let Some(keyring) = &base.keyring else {
            return match base.signature {
                None => Ok(None),
                Some(_) => error(
                    "signature",
                    "a signature needs keys",
                    "add keyring = \"FILE\" with the vendor's key",
                ),
            };
        };
        if base.checksum.is_none() {
            let help = "add checksum = \"ADDRESS\" of the list of digests that the vendor signs";
            return error("keyring", "there is no signed file: base.checksum is missing", help);
        }
        let keyring = self.location("keyring", keyring, variables)?;
        if !keyring.is_local() {
            let help = "fetch it once, compare its fingerprint, and keep it beside the definition";
            return error("keyring", "keys are not taken from an address", help);
        }
        let file = base
            .signature
            .as_ref()
            .map(|written| self.location("signature", written, variables))
            .transpose()?;
        Ok(Some(SignaturePlan { file, keyring }))
    }

    /// Layers that need a distribution's archive have none over what others have made.
    pub(super) fn check_layers_without_archive(&self, layers: &[LayerPlan]) -> Result<()> {
        for (index, layer) in layers.iter().enumerate() {
            let package = layer.artifacts.iter().find_map(|artifact| match &artifact.origin {
                Origin::Package { name } => Some(name),
                _ => None,
            });
            if let Some(package) = package {
                let message = format!(
                    "the layer \"{}\" takes files out of the package \"{package}\", and this base has no archive of packages",
                    layer.name
                );
                return Err(self
                    .error(&at!["layers", index], &message)
                    .help("leave the layer out, or write one that takes the files from an address"));
            }
        }
        Ok(())
    }
}
