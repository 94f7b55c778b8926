//! The image definition as it is written: `images/NAME.toml`.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::plan::{Arch, BootManager};
use super::snapshot::Snapshot;
use super::value::{Name, SchemaVersion, Size};
use crate::digest::Digest;

/// A Kiln image definition. Every key but `schema` may also come from the file it extends, or from `--set
/// key=value`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ImageSpec {
    /// Version of this file's format: 1.
    pub schema: Option<SchemaVersion>,
    /// Another definition, relative to this one, for the values that this one lacks. Tables merge, lists
    /// replace.
    pub extends: Option<String>,
    /// Name of the image; output files start with it.
    pub name: Option<Name>,
    /// Architecture: amd64 or arm64.
    pub arch: Option<Arch>,
    /// Kubernetes version, without "v": "1.36.4"; "1.36" for its newest patch release, "latest" for the
    /// newest.
    pub kubernetes: Option<String>,
    /// Container runtime: "containerd", "crio" or "docker", or the name of another layer that provides
    /// "container-runtime".
    pub runtime: Option<Name>,
    /// The operating system below the layers.
    pub base: Option<BaseSpec>,
    /// Layers, lowest first: names of folders in `layers/`, or paths that begin with `./` or `/`;
    /// "${runtime}" is the layer of the container runtime.
    pub layers: Option<Vec<String>>,
    /// Versions by name; each becomes a variable: `${containerd}`. Those of parts that are left out are
    /// chosen to go with Kubernetes; so are "2.3" and "latest".
    #[serde(default)]
    pub versions: BTreeMap<String, String>,
    /// Arguments for the kernel command line.
    pub kernel_arguments: Option<Vec<String>>,
    /// Partition sizes.
    pub disk: Option<DiskSpec>,
    /// Artifacts, each "LAYER/ARTIFACT", that upstream need not have signed although their layer says who
    /// must: for a mirror of own builds, or until the layer knows a new signer.
    pub unsigned: Option<Vec<String>>,
    /// Container images that the runtime has before the network is up: their names, or tables. Variables are
    /// replaced.
    pub preload: Option<Vec<PreloadSpec>>,
    /// Mirrors and CAs of registries, by the host that references name: `[registries."docker.io"]`.
    #[serde(default)]
    pub registries: BTreeMap<String, RegistrySpec>,
    /// What the machines of this image trust: platforms and locations, for facts, node config and secrets.
    pub metadata: Option<MetadataSpec>,
    /// The files to write.
    pub outputs: Option<Vec<String>>,
    /// Options of an output: `[output.qcow2] compression = "zstd"`.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, BTreeMap<String, serde_json::Value>>")]
    pub output: BTreeMap<String, toml::Table>,
    /// What `kiln test` runs on a machine that has booted this image, and what must come of it. It changes
    /// nothing in the image.
    pub test: Option<Vec<TestSpec>>,
}

/// A command on a booted machine, and what must come of it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TestSpec {
    /// What is true when it passes, in a few words.
    pub name: String,
    /// The command and its arguments; no shell reads them. Variables are replaced, here and in `expect`.
    pub run: Vec<String>,
    /// A text that the command must say, on standard output or standard error.
    pub expect: Option<String>,
    /// The command's exit code.
    #[serde(default)]
    pub exit: u8,
    /// For how many seconds it is tried again when something else comes of it: for what is still starting.
    #[serde(default)]
    pub within: u32,
    /// How many seconds it may run.
    #[serde(default = "test_timeout")]
    pub timeout: u32,
}

const fn test_timeout() -> u32 {
    60
}

/// The operating system below the layers.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct BaseSpec {
    /// Which operating system. Either this and the four keys below it, or `rootfs`.
    pub distribution: Option<String>,
    /// Its release, by its code name.
    pub suite: Option<Name>,
    /// Take its packages as they were at this time, from the distribution's snapshot service: a moment in
    /// UTC, "20261101T000000Z".
    pub snapshot: Option<Snapshot>,
    /// Components of its archive to take packages from, instead of the base's own choice: "main",
    /// "non-free-firmware".
    pub components: Option<Vec<Name>>,
    /// Packages to install besides the essential ones; the kernel is one of them. Variables are replaced. One
    /// that exists for some architectures only is written as "amd64-microcode [amd64]".
    pub packages: Option<Vec<String>>,
    /// A root file system that somebody else has made, instead of a distribution: a tar archive, a squashfs,
    /// an OCI layout, or a disk image (raw or qcow2). An address, or a path relative to the definition; or an
    /// image in a registry, docker://HOST/NAME:TAG. Variables are replaced, here and in the addresses below.
    pub rootfs: Option<String>,
    /// An image of Windows that you have, instead of a distribution: a WIM, or a disk (raw, qcow2, VHD, VHDX)
    /// that was generalized. An address, or a path relative to the definition.
    pub windows: Option<String>,
    /// Of `windows`: which image of the WIM, by its edition ("ServerStandardCore"), its name or its number. A
    /// WIM with one image needs none.
    pub edition: Option<String>,
    /// Of `windows`: the build that it must be, "20348" for Windows Server 2022.
    pub build: Option<u32>,
    /// Of `windows`: the oldest patch level (UBR, the number behind the build) that is taken.
    pub minimum_revision: Option<u32>,
    /// SHA-256 of `rootfs`, of the manifest for an OCI image; or of `windows`. Without it and `checksum`, a
    /// local file is taken as it is when the lock is written.
    pub sha256: Option<Digest>,
    /// Address or path of a list of digests that has `rootfs` or `windows`, in any dialect.
    pub checksum: Option<String>,
    /// Address or path of the OpenPGP signature of that list; without one, the list is clear-signed.
    pub signature: Option<String>,
    /// The keys that may have signed, a local file. Required for a signature to be checked.
    pub keyring: Option<String>,
    /// Of a distribution whose disk stays as its vendor made it: the channel of its releases.
    pub channel: Option<String>,
    /// The release of that channel; without one, the newest when the lock is written.
    pub version: Option<String>,
    /// A release of Windows Server: "2022". With `windows` its build, and an oldest patch level; alone it is
    /// for layers without an image.
    pub release: Option<String>,
}

impl BaseSpec {
    /// The keys of a distribution that consists of packages, and whether they are there.
    pub fn keys_of_packages(&self) -> [(&'static str, bool); 4] {
        [
            ("suite", self.suite.is_some()),
            ("components", self.components.is_some()),
            ("snapshot", self.snapshot.is_some()),
            ("packages", self.packages.is_some()),
        ]
    }

    /// The keys of a vendor's disk, and whether they are there.
    pub fn keys_of_vendor(&self) -> [(&'static str, bool); 2] {
        [("channel", self.channel.is_some()), ("version", self.version.is_some())]
    }

    /// The keys of an image of Windows, and whether they are there.
    pub fn keys_of_windows(&self) -> [(&'static str, bool); 3] {
        [
            ("edition", self.edition.is_some()),
            ("build", self.build.is_some()),
            ("minimum-revision", self.minimum_revision.is_some()),
        ]
    }

    /// The keys that go with a file that somebody else has made, and whether they are there.
    pub fn keys_of_file(&self) -> [(&'static str, bool); 4] {
        [
            ("sha256", self.sha256.is_some()),
            ("checksum", self.checksum.is_some()),
            ("signature", self.signature.is_some()),
            ("keyring", self.keyring.is_some()),
        ]
    }
}

/// Partition sizes, and the disk's sectors.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DiskSpec {
    /// Bytes in a sector of the machine's disk, 512 or 4096: an image for one does not boot from the other.
    #[schemars(extend("enum" = [512, 4096]))]
    pub sector_size: Option<u64>,
    /// The boot loader for machines with a BIOS (amd64); "0MiB" for disks that boot by UEFI alone.
    pub bios: Option<Size>,
    /// EFI system partition: boot loader, kernel, initrd.
    pub esp: Option<Size>,
    /// `/var` as built; it grows to the disk at first boot.
    pub var: Option<Size>,
    /// Room for the dm-verity hashes of the root; "0MiB" for none.
    pub verity: Option<Size>,
    /// The partition with Windows, where the base is one.
    pub windows: Option<Size>,
    /// By which of Microsoft's authorities the boot manager of Windows is signed.
    pub boot_manager: Option<BootManager>,
}

/// A container image that the runtime has before the kubelet starts.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(untagged)]
pub enum PreloadSpec {
    /// Its name in a registry: "registry.k8s.io/pause:3.10.2". With "@sha256:…" behind it, the lock takes
    /// nothing else. "kubernetes" stands for all that this Kubernetes needs in this image.
    Name(String),
    /// An image that may be elsewhere.
    Image(PreloadImage),
}

/// A container image, and where it is if not in the registry of its name.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PreloadImage {
    /// Its name: "registry.k8s.io/pause:3.10.2".
    pub reference: String,
    /// The address of an archive with it, from `docker save` or of an OCI layout.
    pub url: Option<String>,
    /// The same as a local file, or the folder of an OCI layout, relative to the definition.
    pub file: Option<String>,
    /// SHA-256 of the archive, or of the image's manifest in a folder. Without it a local file is taken as it
    /// is when the lock is written.
    pub sha256: Option<Digest>,
}

impl<'de> Deserialize<'de> for PreloadSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PreloadVisitor)
    }
}

/// Reads either form, so that an error is about the form that is there.
struct PreloadVisitor;

impl<'de> Visitor<'de> for PreloadVisitor {
    type Value = PreloadSpec;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(PreloadSpec::Name(name.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<Self::Value, A::Error> {
        PreloadImage::deserialize(MapAccessDeserializer::new(table)).map(PreloadSpec::Image)
    }
}

impl PreloadSpec {
    /// The texts in which variables are replaced.
    pub fn texts(&self) -> impl Iterator<Item = &String> {
        let (name, image) = match self {
            Self::Name(name) => (Some(name), None),
            Self::Image(image) => (None, Some(image)),
        };
        let image = image.into_iter();
        name.into_iter().chain(image.flat_map(|image| {
            std::iter::once(&image.reference).chain([&image.url, &image.file].into_iter().flatten())
        }))
    }
}

/// A registry from which the runtime takes container images.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RegistrySpec {
    /// Addresses of registries that are asked first, in this order: "https://mirror.example.com", or with the
    /// part of names that is theirs, "https://harbor.example.com/dockerhub".
    pub mirrors: Option<Vec<String>>,
    /// A file of CAs in PEM, relative to the definition, which vouch for the registry and its mirrors.
    pub ca: Option<String>,
}

/// What the machines of this image trust: platforms and locations, for facts, node
/// config and secrets. A key that is left out restricts nothing.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct MetadataSpec {
    /// The platform, without detection: "ec2"; "none" for no platform.
    pub platform: Option<String>,
    /// Platforms whose facts are used: "ec2".
    pub facts: Option<Vec<String>>,
    /// Platforms and locations whose node config is used: "ec2", "url", "file".
    pub config: Option<Vec<String>>,
    /// Platforms and locations whose tokens are used; "token-url" is the URL that a node config names for
    /// that.
    pub secrets: Option<Vec<String>>,
    /// Public keys of minisign: only user data that one of them signed is used.
    pub signed_by: Option<Vec<String>>,
    /// Whether a machine that has joined follows a node config from another source, or of another cluster; if
    /// left out, it does not.
    pub rejoin: Option<bool>,
    /// Whether pods are kept from metadata addresses; if left out, a node config may decide.
    pub guard: Option<bool>,
}
