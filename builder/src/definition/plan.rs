//! A resolved image definition: every value interpolated, every condition decided, every path checked. All
//! later stages read these types and never the TOML.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::snapshot::Snapshot;
use super::windows::WindowsPlan;
use crate::address;
use crate::container_image::ImageAddress;
use crate::digest::Digest;

/// Processor architectures, by the names that Go and most distributions use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Arch {
    /// x86-64
    Amd64,
    /// AArch64
    Arm64,
}

impl Arch {
    /// The architecture of the machine that Kiln runs on.
    pub const OF_THIS_MACHINE: Self = if cfg!(target_arch = "aarch64") { Self::Arm64 } else { Self::Amd64 };

    /// Its name in definitions, of Go, of container images and of packages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// The architecture of this name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Amd64, Self::Arm64].into_iter().find(|arch| arch.name() == name)
    }

    /// Linux's name of the first serial port: a 16550 or a PL011 (Server Base System Architecture, "UART").
    pub const fn serial_port(self) -> &'static str {
        match self {
            Self::Amd64 => "ttyS0",
            Self::Arm64 => "ttyAMA0",
        }
    }
}

/// An image, resolved.
#[derive(Debug, Clone, Serialize)]
pub struct ImagePlan {
    /// Name of the image; output files start with it.
    pub name: String,
    /// Architecture.
    pub arch: Arch,
    /// All variables with their final values: `arch`, `kubernetes`, `runtime`, `suite`, and those of
    /// `[versions]`.
    pub variables: BTreeMap<String, String>,
    /// The versions that the definition leaves open.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<Choice>,
    /// The operating system below the layers.
    pub base: BasePlan,
    /// The layers, lowest first.
    pub layers: Vec<LayerPlan>,
    /// Container images to have in the runtime's store before the network is up.
    pub preload: Vec<PreloadPlan>,
    /// Arguments for the kernel command line.
    pub kernel_arguments: Vec<String>,
    /// Partition sizes.
    pub disk: DiskPlan,
    /// The trust policy of its machines; without one they use everything that they recognise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<contract::trust_policy::TrustPolicyFile>,
    /// Names of the outputs, in the order of the definition.
    pub outputs: Vec<String>,
    /// Options of outputs, by name, where the definition sets any. Each output knows its own.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub output_options: BTreeMap<String, toml::Table>,
    /// What `kiln test` runs on a machine of the image. No byte of the image depends on it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tests: Vec<TestPlan>,
}

/// A command on a booted machine, and what must come of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestPlan {
    /// What is true when it passes.
    pub name: String,
    /// The command and its arguments.
    pub run: Vec<String>,
    /// A text that it must say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<String>,
    /// Its exit code.
    pub exit: u8,
    /// For how many seconds it is tried again.
    pub within: u32,
    /// How many seconds it may run.
    pub timeout: u32,
}

impl ImagePlan {
    /// What a lock keeps of versions: those that were left open, and the Kubernetes that they were chosen
    /// for.
    pub fn versions_to_keep(&self) -> BTreeMap<String, String> {
        let chosen = self.choices.iter().map(|choice| (choice.part.clone(), choice.version.clone()));
        let kubernetes = self.variables.get_key_value("kubernetes").filter(|_| !self.choices.is_empty());
        chosen.chain(kubernetes.map(|(name, value)| (name.clone(), value.clone()))).collect()
    }

    /// What the layers for Windows change, with the names of the layers.
    pub fn windows(&self) -> impl Iterator<Item = (&str, &WindowsPlan)> {
        let layers = self.layers.iter();
        layers.filter_map(|layer| layer.windows.as_ref().map(|windows| (layer.name.as_str(), windows)))
    }

    /// The features that Windows must have before its first start, each behind the layer that needs it.
    pub fn features_of_base(&self) -> impl Iterator<Item = (&str, &str)> {
        let is_enabled =
            |name: &str| self.enabled_features().any(|enabled| enabled.eq_ignore_ascii_case(name));
        self.windows()
            .flat_map(|(layer, windows)| windows.features.iter().map(move |name| (layer, name.as_str())))
            .filter(move |(_, name)| !is_enabled(name))
    }

    /// The features that Windows enables at its first start.
    pub fn enabled_features(&self) -> impl Iterator<Item = &str> {
        self.windows().flat_map(|(_, windows)| windows.enables.iter().map(String::as_str))
    }
}

/// A version that the compatibility table has chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Choice {
    /// The part, as `[versions]` names it, or `kubernetes`.
    pub part: String,
    /// Its version.
    pub version: String,
    /// Why this one.
    pub why: String,
    /// The row of the table that decided, if one did: "compatibility.toml:40".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub row: Option<String>,
    /// Where the reason can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

impl Choice {
    /// Without a source.
    pub(super) fn new(part: &str, version: &str, why: impl Into<String>, row: Option<String>) -> Self {
        Self { part: part.to_owned(), version: version.to_owned(), why: why.into(), row, source: None }
    }
}

/// The operating system below the layers.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum BasePlan {
    /// Packages of a distribution.
    Packages(PackagesPlan),
    /// A root file system that somebody else has made.
    Rootfs(RootfsPlan),
    /// A vendor's disk, which stays as it is.
    Vendor(VendorPlan),
    /// An image of Windows that the user has.
    Windows(WindowsBasePlan),
    /// A release of Windows that is elsewhere: its layers alone.
    WindowsRelease(WindowsReleasePlan),
}

/// A release of Windows Server, as the compatibility table knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct WindowsReleasePlan {
    /// Its name: "2022".
    pub release: String,
    /// The build number that all its patches share.
    pub build: u32,
    /// The number behind it, which patches raise, of the oldest one that layers work with.
    pub least_revision: u32,
    /// The releases whose containers it runs in isolation by processes.
    pub runs: Vec<String>,
}

/// Packages of a distribution.
#[derive(Debug, Clone, Serialize)]
pub struct PackagesPlan {
    /// Which operating system: the name of a base.
    pub distribution: String,
    /// Its release.
    pub suite: String,
    /// The time of its packages; without one they are the newest ones when the lock is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<Snapshot>,
    /// Components of its archive; without any, those that the base chooses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<String>,
    /// Packages to install, sorted: those of the definition (the kernel among them) and of its layers. The
    /// lock has their dependencies.
    pub packages: Vec<String>,
}

/// A vendor's disk, which stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VendorPlan {
    /// Which operating system: the name of a base.
    pub distribution: String,
    /// The channel of its releases.
    pub channel: String,
    /// The release; without one, the newest of the channel when the lock is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The forms of the release that the outputs are made of, in their order.
    pub forms: Vec<Form>,
}

/// A form in which a vendor publishes a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// A disk image.
    Disk,
    /// A kernel and an initrd that carries the root, to boot from the network.
    Network,
}

/// An image of Windows that the user has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct WindowsBasePlan {
    /// The file.
    pub windows: Location,
    /// Where its digest comes from; a local file without this is trusted when the lock is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checksum: Option<Checksum>,
    /// Who must have signed the checksum file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature: Option<SignaturePlan>,
    /// Which image of a WIM: an edition, a name or a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edition: Option<String>,
    /// The build that it must be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build: Option<u32>,
    /// The oldest patch level that is taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minimum_revision: Option<u32>,
}

/// A root file system that somebody else has made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct RootfsPlan {
    /// The file or folder that holds it.
    pub rootfs: Location,
    /// Where its digest comes from; a local file without this is trusted when the lock is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checksum: Option<Checksum>,
    /// Who must have signed the checksum file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature: Option<SignaturePlan>,
    /// Packages that layers need, sorted. They cannot be installed; a root without them is told.
    pub needs: Vec<String>,
}

/// An OpenPGP signature that a checksum file must have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SignaturePlan {
    /// The file with the signature; without one, the checksum file is clear-signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<Location>,
    /// The local file with the keys that count.
    pub keyring: Location,
}

/// A file or folder, at an address or beside the definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// As the definition says it: it is the same on every machine.
    pub written: String,
    /// The address: https, http or file; docker or oci for an image in a registry.
    pub address: String,
}

impl Location {
    /// Whether it is on this machine.
    pub fn is_local(&self) -> bool {
        self.address.starts_with("file:")
    }

    /// Its path, if it is on this machine.
    pub fn path(&self) -> Option<PathBuf> {
        address::to_path(&self.address)
    }

    /// Its name, if it is an image in a registry.
    pub fn image(&self) -> Option<ImageAddress> {
        ImageAddress::parse(&self.address)?.ok()
    }
}

impl Serialize for Location {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.written)
    }
}

impl BasePlan {
    /// The distribution, where the definition says which it is.
    pub fn distribution(&self) -> Option<&str> {
        match self {
            Self::Packages(plan) => Some(&plan.distribution),
            Self::Vendor(plan) => Some(&plan.distribution),
            Self::Rootfs(_) => None,
            Self::Windows(_) | Self::WindowsRelease(_) => Some(super::windows::WINDOWS),
        }
    }

    /// The snapshot of the archive that the definition asks for.
    pub const fn snapshot(&self) -> Option<Snapshot> {
        match self {
            Self::Packages(plan) => plan.snapshot,
            Self::Rootfs(_) | Self::Vendor(_) | Self::Windows(_) | Self::WindowsRelease(_) => None,
        }
    }
}

/// Partition sizes in bytes, whole MiB.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct DiskPlan {
    /// Bytes in a sector.
    pub sector_size: u64,
    /// The boot loader for a BIOS; 0 for none.
    pub bios: u64,
    /// EFI system partition.
    pub esp: u64,
    /// `/var` as built; it grows to the disk at first boot.
    pub var: u64,
    /// Room kept for a dm-verity hash partition of the root; 0 for none.
    pub verity: u64,
    /// The partition with Windows; 0 where the base is another.
    #[serde(skip_serializing_if = "is_zero")]
    pub windows: u64,
    /// Which of its boot managers it starts with.
    #[serde(skip_serializing_if = "is_default")]
    pub boot_manager: BootManager,
}

/// Which of the boot managers in an image of Windows is used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum BootManager {
    /// `Windows\Boot\EFI`: Microsoft Windows Production PCA 2011, which nearly all firmware trusts.
    #[default]
    #[serde(rename = "2011")]
    Pca2011,
    /// `Windows\Boot\EFI_EX`: Windows UEFI CA 2023, for firmware that no longer trusts the other.
    #[serde(rename = "2023")]
    Ca2023,
}

fn is_default(boot_manager: &BootManager) -> bool {
    *boot_manager == BootManager::default()
}

/// Serde calls it with a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(size: &u64) -> bool {
    *size == 0
}

/// A layer, resolved.
#[derive(Debug, Clone, Serialize)]
pub struct LayerPlan {
    /// Its name: the name of its folder.
    pub name: String,
    /// One line.
    pub summary: String,
    /// Files to fetch, and where to put them.
    pub artifacts: Vec<ArtifactPlan>,
    /// Files with content from the definition.
    pub files: Vec<FilePlan>,
    /// Folders with a mode or owner of their own.
    pub directories: Vec<DirectoryPlan>,
    /// Symbolic links: path and target.
    pub links: Vec<LinkPlan>,
    /// systemd units to enable, by name.
    pub enable: Vec<String>,
    /// systemd units to mask, by name.
    pub mask: Vec<String>,
    /// Paths of lower layers that this one replaces.
    pub replaces: Vec<String>,
    /// What it changes on Windows besides files; `None` for a layer for Linux.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub windows: Option<WindowsPlan>,
    /// Packages that it needs in the base, which has them all in [`BasePlan::packages`].
    #[serde(skip)]
    pub packages: Vec<String>,
    /// Whether a system extension can carry it. Decides no byte of the layer.
    #[serde(skip)]
    pub extension: bool,
}

impl LayerPlan {
    /// The paths of its files, and of artifacts that are one file.
    pub fn single_files(&self) -> impl Iterator<Item = &str> {
        let artifacts = self.artifacts.iter().filter_map(|artifact| match &artifact.place {
            Place::File { path, .. } => Some(path.as_str()),
            Place::Archive(_) => None,
        });
        self.files.iter().map(|file| file.path.as_str()).chain(artifacts)
    }
}

/// One thing to fetch for a layer.
#[derive(Debug, Clone, Serialize)]
pub struct ArtifactPlan {
    /// Name, unique in its layer.
    pub name: String,
    /// Version, for the lock and the SBOM.
    pub version: String,
    /// Where it comes from.
    pub origin: Origin,
    /// Where it goes.
    pub place: Place,
    /// SPDX licence expression, when declared.
    pub license: Option<String>,
    /// The Go module that it is built from, if the layer says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub module: Option<String>,
}

/// Where an artifact comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Fetched from `url`.
    Url {
        /// https, http or file address.
        url: String,
        /// Where its digest comes from. Upstream may publish none: then what it serves when the lock is
        /// written is trusted.
        checksum: Option<Checksum>,
        /// Who must have signed the checksum file, or the artifact itself if it has none.
        #[serde(skip_serializing_if = "Option::is_none")]
        signature: Option<UpstreamSignature>,
    },
    /// Files out of a package of the base's distribution that is not installed.
    Package {
        /// Package name.
        name: String,
    },
    /// A program of this very Kiln release, found beside the running one.
    Program {
        /// File name ("firstboot").
        name: String,
    },
}

/// How the expected digest of an artifact becomes known when the lock is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Checksum {
    /// Upstream publishes a checksum file at this address (any dialect).
    File(String),
    /// The definition pins it.
    Pinned(Digest),
}

/// A signature of upstream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UpstreamSignature {
    /// Its format.
    pub kind: SignatureKind,
    /// Those of whom one must have made it: fingerprints of primary keys, public keys, or identities.
    pub signers: Vec<String>,
    /// Who vouched for the identity of a signer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// OpenPGP keys, among them those of the signers; a trusted root of sigstore.
    #[serde(skip)]
    pub keyring: Option<Vec<u8>>,
    /// Its address; without one, the checksum file is clear-signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

/// Formats of signatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SignatureKind {
    /// RFC 9580, as GnuPG makes it.
    Openpgp,
    /// minisign's.
    Minisign,
    /// A bundle of sigstore.
    Sigstore,
}

/// Where the bytes of an artifact go. Paths as in [`crate::tree::TreePath`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// The artifact is one file.
    File {
        /// Path.
        path: String,
        /// Permission bits.
        mode: u32,
    },
    /// The artifact is an archive (tar, tar.gz, tar.xz, tar.zst, zip, or a .deb package).
    Archive(ArchiveRules),
}

/// Which entries are taken out of an archive. The owner is always root, whatever the archive says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ArchiveRules {
    /// Leading path components to drop.
    pub strip: usize,
    /// Shell-style patterns (`*`, `?`, `[…]`; `*` stops at `/`, `**` does not) on the path after stripping;
    /// empty takes all. A pattern that matches nothing is an error.
    pub pick: Vec<String>,
    /// Folder to put it in; empty for the root.
    pub into: String,
    /// Permission bits for all files instead of the archive's.
    pub mode: Option<u32>,
}

/// A file whose content is in the layer's definition or folder.
#[derive(Debug, Clone, Serialize)]
pub struct FilePlan {
    /// Path.
    pub path: String,
    /// Content, after interpolation.
    #[serde(serialize_with = "as_digest")]
    pub content: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// A folder.
#[derive(Debug, Clone, Serialize)]
pub struct DirectoryPlan {
    /// Path.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// A symbolic link.
#[derive(Debug, Clone, Serialize)]
pub struct LinkPlan {
    /// Path.
    pub path: String,
    /// Target, as written.
    pub target: String,
}

/// A container image to have in the runtime's store before the network is up.
#[derive(Debug, Clone, Serialize)]
pub struct PreloadPlan {
    /// Its whole name, by which the runtime knows it ("registry.k8s.io/pause:3.10.2").
    pub reference: String,
    /// Where it is: a registry, an archive, or the folder of an OCI layout.
    pub from: Location,
    /// Digest of the archive, or of the manifest in a folder; without one the lock decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
}

impl PreloadPlan {
    /// The digest of the archive, if the definition has it, so that the lock need not.
    pub fn pinned(&self) -> Option<Digest> {
        let is_archive = self.from.image().is_none() && !self.from.path().is_some_and(|path| path.is_dir());
        self.sha256.filter(|_| is_archive)
    }
}

fn as_digest<S: serde::Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    Digest::of(bytes).serialize(serializer)
}
