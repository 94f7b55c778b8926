//! The base of a definition: a distribution with its packages, or a root file system that others have made.

use std::path::Path;

use super::compose::Composition;
use super::image_spec::BaseSpec;
use super::interpolate::{Variables, interpolate};
use super::plan::{BasePlan, Checksum, LayerPlan, Location, Origin, PackagesPlan, RootfsPlan, SignaturePlan};
use super::registry::Registry;
use super::resolve_layer::{Layer, check_url};
use super::source::{Step, source_of, suggestion};
use super::value::Name;
use crate::address;
use crate::at;
use crate::error::{Error, Result};

/// What a definition's `[base]` is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind<'a> {
    Packages { distribution: &'a str, suite: &'a str },
    Rootfs { written: &'a str },
}

impl Kind<'_> {
    /// As messages name it.
    pub(super) const fn title(&self) -> &str {
        match self {
            Self::Packages { distribution, .. } => distribution,
            Self::Rootfs { .. } => "a given root file system",
        }
    }

    /// The base's name in the registry.
    pub(super) const fn base(&self) -> &str {
        match self {
            Self::Packages { distribution, .. } => distribution,
            Self::Rootfs { .. } => "rootfs",
        }
    }
}

/// Resolves `[base]`.
pub(super) struct BaseResolver<'a> {
    pub(super) composed: &'a Composition,
    pub(super) registry: &'a dyn Registry,
    pub(super) spec: &'a BaseSpec,
}

impl<'a> BaseResolver<'a> {
    /// The kind of the base, decided by its keys.
    pub(super) fn kind(&self) -> Result<Kind<'a>> {
        let base = self.spec;
        let Some(written) = &base.rootfs else {
            self.check_absent(base.keys_of_rootfs(), "goes with base.rootfs")?;
            return self.distribution();
        };
        self.check_absent(base.keys_of_packages(), "does not go with base.rootfs")?;
        Ok(Kind::Rootfs { written })
    }

    fn check_absent<const N: usize>(&self, keys: [(&str, bool); N], why: &str) -> Result<()> {
        let Some((key, _)) = keys.into_iter().find(|(_, is_there)| *is_there) else { return Ok(()) };
        let error = self.error(&at!["base", key], &format!("base.{key} {why}"));
        Err(error.help("a base is a distribution with its packages, or a root file system: keep one of them"))
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
        let suite = &self.required(&self.spec.suite, "suite")?.0;
        Ok(Kind::Packages { distribution, suite })
    }

    /// The plan of a base of this kind, and of the packages that the layers ask for.
    pub(super) fn plan(&self, kind: Kind<'_>, layers: &[Layer], variables: &Variables) -> Result<BasePlan> {
        let packages = self.packages(layers, self.spec.packages.as_deref().unwrap_or_default(), variables)?;
        match kind {
            Kind::Packages { distribution, suite } => Ok(BasePlan::Packages(PackagesPlan {
                distribution: distribution.to_owned(),
                suite: suite.to_owned(),
                snapshot: self.spec.snapshot,
                packages,
            })),
            Kind::Rootfs { written } => {
                let rootfs = self.location("rootfs", written, variables)?;
                let checksum = self.checksum(&rootfs, variables)?;
                let signature = self.signature(variables)?;
                Ok(BasePlan::Rootfs(RootfsPlan { rootfs, checksum, signature, needs: packages }))
            }
        }
    }

    fn packages(&self, layers: &[Layer], base: &[String], variables: &Variables) -> Result<Vec<String>> {
        let mut packages = Vec::new();
        for (index, written) in base.iter().enumerate() {
            let path = at!["base", "packages", index];
            let name =
                interpolate(written, variables).map_err(|(why, help)| self.error(&path, &why).help(help))?;
            let name = Name::try_from(name).map_err(|_| {
                self.error(&path, "this is not the name of a package")
                    .help("write a package's name, without a version: the lock pins that")
            })?;
            packages.push(name.0);
        }
        packages
            .extend(layers.iter().flat_map(|layer| layer.file.packages.iter().map(|name| name.0.clone())));
        packages.sort();
        packages.dedup();
        Ok(packages)
    }

    /// An address, or a path relative to the definition.
    fn location(&self, key: &str, written: &str, variables: &Variables) -> Result<Location> {
        let path = at!["base", key];
        let written =
            interpolate(written, variables).map_err(|(why, help)| self.error(&path, &why).help(help))?;
        if written.contains("://") {
            if let Some(source) = source_of(&self.composed.sources, &path) {
                let help = "write an https:// address, or a path relative to the definition";
                check_url(source, &path, &written, help)?;
            }
            return Ok(Location { address: written.clone(), written });
        }
        let local = self.composed.folder.join(&written);
        let address = Some(&local).filter(|local| local.exists()).and_then(|local| address::of_path(local));
        match address {
            Some(address) => Ok(Location { written, address }),
            None => Err(self.absent(&path, &local)),
        }
    }

    fn absent(&self, path: &[Step], local: &Path) -> Error {
        self.error(path, &format!("there is no file {}", local.display()))
            .help("write an https:// address, or a path relative to the definition")
    }

    fn checksum(&self, rootfs: &Location, variables: &Variables) -> Result<Option<Checksum>> {
        let base = self.spec;
        match (&base.checksum, base.sha256) {
            (Some(_), Some(_)) => Err(self
                .error(&at!["base", "sha256"], "a root file system has either a checksum or a sha256")
                .help("remove one of them")),
            (Some(written), None) => self
                .location("checksum", written, variables)
                .map(|file| Some(Checksum::File(file.address))),
            (None, Some(digest)) => Ok(Some(Checksum::Pinned(digest))),
            (None, None) if rootfs.is_local() => Ok(None),
            (None, None) => Err(self
                .error(&at!["base", "rootfs"], "nothing says which bytes are the right ones")
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

    /// Layers that need a distribution's archive have none over a root file system.
    pub(super) fn check_layers_of_rootfs(&self, layers: &[LayerPlan]) -> Result<()> {
        for (index, layer) in layers.iter().enumerate() {
            let package = layer.artifacts.iter().find_map(|artifact| match &artifact.origin {
                Origin::Package { name } => Some(name),
                _ => None,
            });
            if let Some(package) = package {
                let message = format!(
                    "the layer \"{}\" takes files out of the package \"{package}\", and base.rootfs has no archive of packages",
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
