//! An OCI image layout (image-spec v1.1, `image-layout.md`): one gzip blob for each layer, the base first.
//!
//! ```text
//! NAME-oci/oci-layout  NAME-oci/index.json  NAME-oci/blobs/sha256/<64 hex>: layers, configuration, manifest
//! ```
//!
//! gzip by default: skopeo and umoci of current distributions do not read Zstandard.

pub(super) mod layout;

use std::collections::HashMap;
use std::path::Path;

use oci_spec::image as oci;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::assembly::{Image, Part};
use crate::definition::plan;
use crate::determinism::Calendar;
use crate::digest::Digest;
use crate::error::Result;
use crate::layer::PackedLayer;
use crate::layer::compress::{Compression, compress};
use crate::output::{Output, OutputFile, Writer};
use crate::part::Parts;
use crate::store::Store;
use crate::threads;
use layout::{Layout, annotated, built, descriptor, tagged};

pub(super) const OUTPUT: Output = Output::new::<Oci>(
    "oci",
    "OCI image layout with one blob for each layer, for skopeo, umoci and registries",
    &[Part::Layers],
);

/// `<name>-oci/`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Oci {
    /// How layers are compressed
    #[serde(default)]
    compression: Compression,
}

impl Writer for Oci {
    /// On one thread: the base has the other processors.
    fn prepare(&self, layer: &PackedLayer, store: &Store) -> Result<()> {
        compress(store, layer, self.compression, 1).map(drop)
    }

    fn write(&self, parts: &Parts<'_>, folder: &Path) -> Result<Vec<OutputFile>> {
        let image = &parts.image;
        let name = format!("{}-oci", image.plan.name);
        let mut layout = Layout::create(folder, &name)?;
        let mut layers = Vec::new();
        for layer in image.layers() {
            let _step = parts.work.progress.step(&format!("compressing layer {}", layer.name));
            let compressed = compress(parts.work.store, layer, self.compression, threads::count())?;
            layout.copy(&compressed)?;
            let title = HashMap::from([(oci::ANNOTATION_TITLE.to_owned(), layer.name.clone())]);
            let descriptor = descriptor(media_type(self.compression), compressed.size, &compressed.digest)?;
            layers.push(Layer {
                name: layer.name.clone(),
                diff_id: layer.diff_id,
                descriptor: annotated(descriptor, title),
            });
        }
        finish(image, layout, layers)
    }
}

/// Completes a layout whose only image has these layers.
pub(super) fn finish(image: &Image<'_>, mut layout: Layout, layers: Vec<Layer>) -> Result<Vec<OutputFile>> {
    let config = layout.json(oci::MediaType::ImageConfig, &configuration(image, &layers)?)?;
    let layers = layers.into_iter().map(|layer| layer.descriptor).collect();
    let manifest = layout.json(oci::MediaType::ImageManifest, &manifest(image, config, layers)?)?;
    layout.finish(vec![tagged(manifest, image.plan.name.clone())])
}

/// A layer of an image.
pub(super) struct Layer {
    pub name: String,
    /// The digest of its tar.
    pub diff_id: Digest,
    /// The blob.
    pub descriptor: oci::Descriptor,
}

pub(super) const fn architecture(arch: plan::Arch) -> oci::Arch {
    match arch {
        plan::Arch::Amd64 => oci::Arch::Amd64,
        plan::Arch::Arm64 => oci::Arch::ARM64,
    }
}

pub(super) const fn media_type(compression: Compression) -> oci::MediaType {
    match compression {
        Compression::Gzip => oci::MediaType::ImageLayerGzip,
        Compression::Zstd => oci::MediaType::ImageLayerZstd,
    }
}

fn configuration(image: &Image<'_>, layers: &[Layer]) -> Result<oci::ImageConfiguration> {
    let created = Calendar::at(image.epoch).to_string();
    let diff_ids: Vec<String> = layers.iter().map(|layer| layer.diff_id.to_string()).collect();
    let history = layers
        .iter()
        .map(|layer| {
            built(
                oci::HistoryBuilder::default()
                    .created(&created)
                    .created_by(format!("kiln layer {}", layer.name))
                    .build(),
            )
        })
        .collect::<Result<Vec<_>>>()?;
    let root = built(oci::RootFsBuilder::default().typ("layers").diff_ids(diff_ids).build())?;
    built(
        oci::ImageConfigurationBuilder::default()
            .created(created)
            .architecture(architecture(image.plan.arch))
            .os(oci::Os::Linux)
            .config(oci::Config::default())
            .rootfs(root)
            .history(history)
            .build(),
    )
}

fn manifest(
    image: &Image<'_>,
    config: oci::Descriptor,
    layers: Vec<oci::Descriptor>,
) -> Result<oci::ImageManifest> {
    let mut annotations = HashMap::from([
        (oci::ANNOTATION_CREATED.to_owned(), Calendar::at(image.epoch).to_string()),
        (oci::ANNOTATION_TITLE.to_owned(), image.plan.name.clone()),
    ]);
    if let Some(version) = image.plan.variables.get("kubernetes") {
        annotations.insert(oci::ANNOTATION_VERSION.to_owned(), version.clone());
    }
    built(
        oci::ImageManifestBuilder::default()
            .schema_version(oci::SCHEMA_VERSION)
            .media_type(oci::MediaType::ImageManifest)
            .config(config)
            .layers(layers)
            .annotations(annotations)
            .build(),
    )
}

#[cfg(test)]
mod tests;
