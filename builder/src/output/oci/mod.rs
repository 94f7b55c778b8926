//! An OCI image layout (image-spec v1.1, `image-layout.md`): one gzip blob for each layer, the base first.
//!
//! ```text
//! NAME-oci/oci-layout  NAME-oci/index.json  NAME-oci/blobs/sha256/<64 hex>: layers, configuration, manifest
//! ```
//!
//! gzip by default: skopeo and umoci of current distributions do not read Zstandard.

use std::collections::HashMap;
use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use oci_spec::image as oci;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::assembly::{Image, Part};
use crate::definition::plan;
use crate::determinism::Calendar;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::layer::compress::{CompressedLayer, Compression, compress};
use crate::output::{Output, OutputFile, Writer, threads};
use crate::part::Parts;

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
    fn write(&self, parts: &Parts<'_>, folder: &Path) -> Result<Vec<OutputFile>> {
        let image = &parts.image;
        let name = format!("{}-oci", image.plan.name);
        let mut layout = Layout { root: folder.join(&name), files: Vec::new() };
        fs::create_dir_all(layout.blobs()).at("creating", layout.blobs())?;
        let media_type = match self.compression {
            Compression::Gzip => oci::MediaType::ImageLayerGzip,
            Compression::Zstd => oci::MediaType::ImageLayerZstd,
        };
        let mut layers = Vec::new();
        for layer in image.layers() {
            let _step = parts.work.progress.step(&format!("compressing layer {}", layer.name));
            let compressed = compress(parts.work.store, layer, self.compression, threads())?;
            layout.copy(&compressed)?;
            let title = HashMap::from([(oci::ANNOTATION_TITLE.to_owned(), layer.name.clone())]);
            let descriptor = descriptor(media_type.clone(), compressed.size, &compressed.digest)?;
            layers.push(annotated(descriptor, title));
        }
        let config = layout.json(oci::MediaType::ImageConfig, &configuration(image)?)?;
        let manifest = layout.json(oci::MediaType::ImageManifest, &manifest(image, config, layers)?)?;
        layout.file("index.json", &json(&index(image, manifest)?)?)?;
        let version = oci::OciLayoutBuilder::default().image_layout_version("1.0.0").build();
        layout.file("oci-layout", &json(&built(version)?)?)?;
        layout
            .files
            .iter_mut()
            .for_each(|written| written.file = format!("{name}/{}", written.file));
        Ok(layout.files)
    }
}

/// The folder that is written.
struct Layout {
    root: PathBuf,
    /// Its files, relative to it.
    files: Vec<OutputFile>,
}

impl Layout {
    fn blobs(&self) -> PathBuf {
        self.root.join("blobs/sha256")
    }

    /// Copies a blob whose digest was computed while it was compressed.
    fn copy(&mut self, layer: &CompressedLayer) -> Result<()> {
        let path = self.blobs().join(layer.digest.hex());
        fs::copy(&layer.path, &path).at("writing", &path)?;
        // Two layers with the same content are one blob.
        let written = blob(&layer.digest);
        if !self.files.contains(&written) {
            self.files.push(written);
        }
        Ok(())
    }

    /// Writes a JSON document as a blob.
    fn json(&mut self, media_type: oci::MediaType, document: &impl Serialize) -> Result<oci::Descriptor> {
        let bytes = json(document)?;
        let digest = Digest::of(&bytes);
        self.write(blob(&digest), &bytes)?;
        descriptor(media_type, bytes.len() as u64, &digest)
    }

    fn file(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        self.write(OutputFile { file: name.to_owned(), digest: Some(Digest::of(bytes)) }, bytes)
    }

    fn write(&mut self, written: OutputFile, bytes: &[u8]) -> Result<()> {
        let path = self.root.join(&written.file);
        fs::write(&path, bytes).at("writing", &path)?;
        self.files.push(written);
        Ok(())
    }
}

fn blob(digest: &Digest) -> OutputFile {
    OutputFile { file: format!("blobs/sha256/{}", digest.hex()), digest: Some(*digest) }
}

fn configuration(image: &Image<'_>) -> Result<oci::ImageConfiguration> {
    let created = Calendar::at(image.epoch).to_string();
    let architecture = match image.plan.arch {
        plan::Arch::Amd64 => oci::Arch::Amd64,
        plan::Arch::Arm64 => oci::Arch::ARM64,
    };
    let diff_ids: Vec<String> = image.layers().iter().map(|layer| layer.diff_id.to_string()).collect();
    let history = image
        .layers()
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
            .architecture(architecture)
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

/// The index, whose only entry is tagged with the image's name.
fn index(image: &Image<'_>, manifest: oci::Descriptor) -> Result<oci::ImageIndex> {
    let tag = HashMap::from([(oci::ANNOTATION_REF_NAME.to_owned(), image.plan.name.clone())]);
    built(
        oci::ImageIndexBuilder::default()
            .schema_version(oci::SCHEMA_VERSION)
            .media_type(oci::MediaType::ImageIndex)
            .manifests(vec![annotated(manifest, tag)])
            .build(),
    )
}

fn descriptor(media_type: oci::MediaType, size: u64, digest: &Digest) -> Result<oci::Descriptor> {
    let digest = built(oci::Sha256Digest::from_str(&digest.hex()))?;
    Ok(oci::Descriptor::new(media_type, size, digest))
}

fn annotated(mut descriptor: oci::Descriptor, annotations: HashMap<String, String>) -> oci::Descriptor {
    descriptor.set_annotations(Some(annotations));
    descriptor
}

/// The bytes of a document, with sorted keys: the types keep annotations in hash maps, whose order changes.
fn json(document: &impl Serialize) -> Result<Vec<u8>> {
    let mut value = built(serde_json::to_value(document))?;
    value.sort_all_objects();
    built(serde_json::to_vec(&value))
}

fn built<T, E: Display>(result: Result<T, E>) -> Result<T> {
    result.map_err(|error| Error::new(ErrorKind::Internal, format!("writing the OCI layout: {error}")))
}

#[cfg(test)]
mod tests;
