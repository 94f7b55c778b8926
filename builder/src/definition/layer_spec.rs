//! The layer definition as it is written: `layers/NAME/layer.toml`. It has a closed set of steps and no
//! shell, so that locks, cache keys and the SBOM are complete.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::condition::When;
use super::plan::{Arch, SignatureKind};
use super::value::{ImagePath, Mode, Name, SchemaVersion};
use super::windows::WINDOWS;
use super::windows::spec::{FirewallSpec, RegistryValueSpec, WindowsDriverSpec, WindowsServiceSpec};
use crate::digest::Digest;

/// A Kiln layer definition.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LayerSpec {
    /// Version of this file's format: 1.
    pub schema: SchemaVersion,
    /// A description in one line.
    pub summary: String,
    /// Capabilities that other layers may require. The layer's own name always counts.
    #[serde(default)]
    pub provides: Vec<Name>,
    /// Capabilities that some layer of the image must provide.
    #[serde(default)]
    pub requires: Vec<Name>,
    /// Capabilities that no other layer of the image may provide.
    #[serde(default)]
    pub conflicts: Vec<Name>,
    /// Whether a system extension can carry it: false for a layer that is about the image's own operating
    /// system, and has no place on another one.
    #[serde(default)]
    pub extension: Option<bool>,
    /// Operating systems it works on; empty for any Linux. `["windows"]` for a layer for Windows.
    #[serde(default)]
    pub os: Vec<String>,
    /// Architectures it works on; empty for any.
    #[serde(default)]
    pub arch: Vec<Arch>,
    /// Distribution packages that must be installed in the base.
    #[serde(default)]
    pub packages: Vec<Name>,
    /// Packages of the image's `base.packages` that it takes the place of.
    #[serde(default)]
    pub replaces_packages: Vec<Name>,
    /// Files to fetch, and where to put them.
    #[serde(default)]
    pub artifact: Vec<ArtifactSpec>,
    /// Files with content from this definition or its folder.
    #[serde(default)]
    pub file: Vec<FileSpec>,
    /// Folders with a mode or owner of their own.
    #[serde(default)]
    pub directory: Vec<DirectorySpec>,
    /// Symbolic links.
    #[serde(default)]
    pub link: Vec<LinkSpec>,
    /// systemd units.
    #[serde(default, deserialize_with = "table")]
    pub units: UnitsSpec,
    /// Paths of lower layers that this one replaces.
    #[serde(default)]
    pub replaces: Vec<ImagePath>,
    /// Values of the registry. This and all below it are for layers with `os = ["windows"]`.
    #[serde(default)]
    pub registry: Vec<RegistryValueSpec>,
    /// Services of Windows.
    #[serde(default)]
    pub windows_service: Vec<WindowsServiceSpec>,
    /// Rules of Windows' firewall.
    #[serde(default)]
    pub firewall: Vec<FirewallSpec>,
    /// Variables of the machine's environment. Variables of the image are replaced in their values.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Folders that Windows looks for programs in, after its own: 'C:\k'.
    #[serde(default)]
    pub path: Vec<String>,
    /// Drivers that Windows must have when it starts.
    #[serde(default)]
    pub windows_driver: Vec<WindowsDriverSpec>,
    /// Optional features that Windows must have, by their names for DISM: "Containers". Nobody can add them
    /// to an image offline.
    #[serde(default)]
    pub windows_features: Vec<String>,
    /// Optional features that the layer has Windows enable at its first start. The base need not have them.
    #[serde(default)]
    pub enables_windows_features: Vec<String>,
}

impl LayerSpec {
    /// Whether it is for Windows; all others are for Linux.
    pub fn is_for_windows(&self) -> bool {
        self.os.iter().any(|os| os == WINDOWS)
    }
}

/// Reads a table alone. What is derived takes a list of the fields' values too, and then judges those.
fn table<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    struct Table<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Table<T> {
        type Value = T;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a table")
        }

        fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<T, A::Error> {
            T::deserialize(MapAccessDeserializer::new(fields))
        }
    }

    deserializer.deserialize_map(Table(PhantomData))
}

/// Something to fetch. Exactly one of `url`, `package`, `program`, and one of `path`, `archive`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ArtifactSpec {
    /// Name, unique in the layer.
    pub name: Name,
    /// Version, usually a variable: "${kubernetes}". Not for packages and programs, which know their own.
    pub version: Option<String>,
    /// Upstream address.
    pub url: Option<String>,
    /// Address of upstream's checksum file, in any dialect; "unpublished" if there is none, so that the lock
    /// pins what upstream serves when it is written.
    pub checksum: Option<String>,
    /// The digest, instead of a checksum.
    pub sha256: Option<Digest>,
    /// Who must have signed the checksum file, or the artifact if it has neither a checksum nor a digest.
    pub signature: Option<SignatureSpec>,
    /// A distribution package to take files from, without installing it.
    pub package: Option<Name>,
    /// A program of this Kiln release: "firstboot".
    pub program: Option<Name>,
    /// Where the one file goes.
    pub path: Option<ImagePath>,
    /// Permission bits of the one file; 0755 unless said.
    pub mode: Option<Mode>,
    /// Rules for an archive.
    pub archive: Option<ArchiveSpec>,
    /// SPDX licence expression.
    pub license: Option<String>,
    /// The Go module that it is built from, by which databases know its vulnerabilities. A release on GitHub
    /// needs none if its module has the name of its repository.
    #[serde(default)]
    pub module: Option<String>,
    /// Conditions.
    #[serde(default)]
    pub when: When,
}

/// A signature of upstream, checked when the lock is written.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SignatureSpec {
    /// "openpgp", "minisign" or "sigstore".
    pub kind: SignatureKind,
    /// Who may have made it: fingerprints of primary keys for OpenPGP, public keys for minisign, identities
    /// for sigstore. Variables are replaced.
    pub signers: Vec<String>,
    /// For sigstore: who has issued the token of that identity,
    /// "https://token.actions.githubusercontent.com".
    pub issuer: Option<String>,
    /// A file of the layer's folder: the OpenPGP keys; the trusted root of sigstore, if it is not the public
    /// one.
    pub keyring: Option<String>,
    /// Address of the signature, where the checksum file is not clear-signed: "${checksum}.asc".
    pub file: Option<String>,
}

/// Which entries to take out of an archive, and where to put them.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ArchiveSpec {
    /// Leading path components to drop.
    #[serde(default)]
    pub strip: usize,
    /// Patterns of entries to take, matched after `strip`; empty takes all. `*` stops at `/`, `**` does not.
    #[serde(default)]
    pub pick: Vec<String>,
    /// The folder to put it in; the root unless said.
    pub into: Option<ImagePath>,
    /// Permission bits for every file, instead of the archive's.
    pub mode: Option<Mode>,
}

/// A file. Exactly one of `content`, `source`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FileSpec {
    /// Where it goes.
    pub path: ImagePath,
    /// Its text.
    pub content: Option<String>,
    /// A file of the layer's folder.
    pub source: Option<String>,
    /// Whether `${variables}` in it are replaced.
    #[serde(default)]
    pub interpolate: bool,
    /// Permission bits; 0644 unless said.
    pub mode: Option<Mode>,
    /// Owner; 0 unless said.
    #[serde(default)]
    pub uid: u32,
    /// Group; 0 unless said.
    #[serde(default)]
    pub gid: u32,
    /// Conditions.
    #[serde(default)]
    pub when: When,
}

/// A folder.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DirectorySpec {
    /// Where it is.
    pub path: ImagePath,
    /// Permission bits; 0755 unless said.
    pub mode: Option<Mode>,
    /// Owner; 0 unless said.
    #[serde(default)]
    pub uid: u32,
    /// Group; 0 unless said.
    #[serde(default)]
    pub gid: u32,
    /// Conditions.
    #[serde(default)]
    pub when: When,
}

/// A symbolic link.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LinkSpec {
    /// Where it is.
    pub path: ImagePath,
    /// The target, as written.
    pub target: String,
    /// Conditions.
    #[serde(default)]
    pub when: When,
}

/// systemd units.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct UnitsSpec {
    /// Units to enable, as `systemctl enable` would.
    #[serde(default)]
    pub enable: Vec<String>,
    /// Units to mask.
    #[serde(default)]
    pub mask: Vec<String>,
}
