//! `manifest.json`: everything that decided the bytes of a build, and the bytes.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::base::{LockedPackage, LockedRootfs, LockedVendor, LockedWindows};
use crate::definition::plan::{Arch, BasePlan, TestPlan};
use crate::digest::Digest;
use crate::error::Result;
use crate::format::gpt::Layout;
use crate::layer::PackedLayer;
use crate::lock::LockedArtifact;
use crate::output::sums::Sum;
use crate::part::Parts;
use crate::provenance::Pins;

/// Version of the format.
const SCHEMA: u32 = 1;

/// The file. Sizes and offsets are bytes.
#[derive(Debug, Serialize)]
pub struct Manifest<'a> {
    /// Version of the format: 1.
    pub schema: u32,
    /// The version of Kiln.
    pub kiln: &'static str,
    pub name: &'a str,
    pub arch: Arch,
    /// Hash of all layers and of the plan.
    pub identity: Digest,
    /// The time everything in it carries, seconds since 1970.
    pub epoch: u64,
    /// The variables of the definition, versions among them.
    pub variables: &'a BTreeMap<String, String>,
    pub base: &'a BasePlan,
    /// The kernel, when there is one.
    pub kernel: Option<KernelFact<'a>>,
    /// The disk, when an output has one.
    pub disk: Option<&'a Layout>,
    /// Layers, the base first.
    pub layers: Vec<LayerFact<'a>>,
    pub artifacts: &'a [LockedArtifact],
    /// Packages of the distribution.
    pub packages: &'a [LockedPackage],
    /// The root file system below the layers, if it was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rootfs: Option<&'a LockedRootfs>,
    /// The vendor's release beside the layers, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vendor: Option<&'a LockedVendor>,
    /// The image of Windows below the layers, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub windows: Option<&'a LockedWindows>,
    /// Programs of the build host that wrote parts of the outputs: another version may write other bytes.
    pub tools: BTreeMap<&'static str, String>,
    pub outputs: &'a [Sum],
    /// What `kiln test` runs.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub tests: &'a [TestPlan],
}

/// The kernel of an image.
#[derive(Debug, Serialize)]
pub struct KernelFact<'a> {
    pub version: &'a str,
    pub arguments: &'a [String],
    /// The whole command line when it boots from the disk.
    pub command_line: &'a str,
}

/// A layer of an image.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LayerFact<'a> {
    pub name: &'a str,
    /// Hash of its inputs.
    pub key: Digest,
    /// SHA-256 of its uncompressed tar.
    #[serde(rename = "diffID")]
    pub diff_id: Digest,
    /// Length of that tar.
    pub size: u64,
}

impl<'a> Manifest<'a> {
    /// Describes an image whose outputs are all written.
    ///
    /// # Errors
    /// When a part that the manifest shows cannot be made.
    pub fn new(parts: &'a Parts<'_>, pins: Pins<'a>, outputs: &'a [Sum]) -> Result<Self> {
        let image = &parts.image;
        let kernel = match parts.kernel() {
            Ok(kernel) => Some(KernelFact {
                version: kernel.version,
                arguments: &image.plan.kernel_arguments,
                command_line: parts.command_line()?,
            }),
            Err(_) => None,
        };
        let layer = |PackedLayer { name, key, diff_id, size, .. }: &'a PackedLayer| LayerFact {
            name,
            key: *key,
            diff_id: *diff_id,
            size: *size,
        };
        Ok(Self {
            schema: SCHEMA,
            kiln: env!("CARGO_PKG_VERSION"),
            name: &image.plan.name,
            arch: image.plan.arch,
            identity: image.identity,
            epoch: image.epoch,
            variables: &image.plan.variables,
            base: &image.plan.base,
            kernel,
            disk: parts.finished_disk().and_then(|disk| disk.layout.as_ref()),
            layers: image.layers().iter().map(layer).collect(),
            artifacts: pins.artifacts,
            packages: pins.base.packages(),
            rootfs: pins.base.rootfs(),
            vendor: pins.base.vendor(),
            windows: pins.base.windows(),
            tools: parts.work.tools(),
            outputs,
            tests: &image.plan.tests,
        })
    }
}
