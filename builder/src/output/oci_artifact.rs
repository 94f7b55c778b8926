//! The disk in a registry, as an artifact and not as a container image: for Metal3's Ironic (`oci://`),
//! Tinkerbell's oci2disk, and `oras pull`.
//!
//! | tag in the layout | what |
//! |---|---|
//! | `NAME` | an index of both; Ironic chooses by architecture and by the annotation `disktype` |
//! | `NAME.qcow2` | the manifest of the qcow2 |
//! | `NAME.raw.zst`, `NAME.raw.gz` | the manifest of the compressed raw disk |
//!
//! Each manifest has one layer with the name of its file (docs.openstack.org/ironic, "Use of an OCI Container
//! Registry"). The type of the layer is the one that `oras push` gives to files, and the only one that
//! oci2disk takes. The configuration is empty, so that tools for container images leave the layer as it is.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use oci_spec::image as oci;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::oci::architecture;
use super::oci::layout::{Layout, annotated, built, index, tagged};
use super::qcow2;
use crate::assembly::{Image, Part};
use crate::determinism::Calendar;
use crate::digest::Digest;
use crate::error::{IoContext, Result};
use crate::layer::compress::Compression;
use crate::output::{Output, OutputFile, Writer};
use crate::part::Parts;
use crate::part::compressed;

pub(super) const OUTPUT: Output = Output::new::<OciArtifact>(
    "oci-artifact",
    "OCI image layout of the disk as artifacts, qcow2 and compressed raw, for Metal3, Tinkerbell and oras",
    &[Part::Disk],
)
.with_large_sectors();

/// The type of the artifacts, for registries that list by it.
const ARTIFACT_TYPE: &str = "application/vnd.kiln.disk.v1";

/// `<name>-oci-artifact/`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(rename = "OciArtifact")]
struct OciArtifact {
    /// How the raw disk is compressed
    #[serde(default = "zstd")]
    compression: Compression,
}

const fn zstd() -> Compression {
    Compression::Zstd
}

impl Writer for OciArtifact {
    fn write(&self, parts: &Parts<'_>, folder: &Path) -> Result<Vec<OutputFile>> {
        let image = &parts.image;
        let name = &image.plan.name;
        let mut layout = Layout::create(folder, &format!("{name}-oci-artifact"))?;
        let config = layout.json(oci::MediaType::EmptyJSON, &json!({}))?;

        let file = format!("{name}.qcow2");
        let blob = layout.blob(oci::MediaType::ImageLayer, |path| {
            qcow2::make(parts, qcow2::Compression::None, path)?;
            Ok((Digest::of_file(path)?, fs::metadata(path).at("reading", path)?.len()))
        })?;
        let qcow2 = manifest(&mut layout, image, &config, blob, file)?;

        let file = format!("{name}.raw.{}", compressed::extension(self.compression));
        let disk = parts.compressed_disk(self.compression)?;
        let blob = layout
            .blob(oci::MediaType::ImageLayer, |path| disk.copy(path).map(|()| (disk.digest, disk.size)))?;
        let raw = manifest(&mut layout, image, &config, blob, file)?;

        let entries = [("qcow2", &qcow2), ("raw", &raw)]
            .map(|(kind, (_, manifest))| annotated(manifest.clone(), annotation("disktype", kind)));
        let all = layout.json(oci::MediaType::ImageIndex, &index(entries.into())?)?;
        let [(qcow2_tag, qcow2), (raw_tag, raw)] = [qcow2, raw];
        layout.finish(vec![tagged(all, name.clone()), tagged(qcow2, qcow2_tag), tagged(raw, raw_tag)])
    }
}

/// Writes the manifest of the file `file`, which is the blob `layer`. The tag is the file's name.
fn manifest(
    layout: &mut Layout,
    image: &Image<'_>,
    config: &oci::Descriptor,
    layer: oci::Descriptor,
    file: String,
) -> Result<(String, oci::Descriptor)> {
    let layer = annotated(layer, annotation(oci::ANNOTATION_TITLE, &file));
    let created = Calendar::at(image.epoch).to_string();
    let manifest = built(
        oci::ImageManifestBuilder::default()
            .schema_version(oci::SCHEMA_VERSION)
            .media_type(oci::MediaType::ImageManifest)
            .artifact_type(oci::MediaType::Other(ARTIFACT_TYPE.to_owned()))
            .config(config.clone())
            .layers(vec![layer])
            .annotations(annotation(oci::ANNOTATION_CREATED, &created))
            .build(),
    )?;
    let mut descriptor = layout.json(oci::MediaType::ImageManifest, &manifest)?;
    let platform = oci::PlatformBuilder::default()
        .architecture(architecture(image.plan.arch))
        .os(oci::Os::Linux)
        .build();
    descriptor.set_platform(Some(built(platform)?));
    Ok((file, descriptor))
}

fn annotation(key: &str, value: &str) -> HashMap<String, String> {
    HashMap::from([(key.to_owned(), value.to_owned())])
}
