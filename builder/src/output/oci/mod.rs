//! An OCI image layout (image-spec v1.1, `image-layout.md`): one gzip blob for each layer, the base first.
//!
//! ```text
//! NAME.oci/oci-layout  NAME.oci/index.json  NAME.oci/blobs/sha256/<64 hex>: layers, configuration, manifest
//! ```
//!
//! gzip and not Zstandard, because skopeo and umoci of current distributions do not read the latter.

use std::collections::HashMap;
use std::fmt::Display;
use std::fs;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use oci_spec::image as oci;
use serde::Serialize;

use super::{Image, Output, Written};
use crate::definition::plan;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::layer::compress::{CompressedLayer, Compression, compress};

const SECONDS_PER_DAY: u64 = 86_400;

/// The output `oci`.
#[derive(Debug, Clone, Copy)]
pub struct OciLayout;

impl Output for OciLayout {
    fn name(&self) -> &'static str {
        "oci"
    }

    fn summary(&self) -> &'static str {
        "OCI image layout with one blob for each layer, for skopeo, umoci and registries"
    }

    fn write(&self, image: &Image<'_>, folder: &Path) -> Result<Vec<Written>> {
        let name = format!("{}-oci", image.plan.name);
        let mut layout = Layout { root: folder.join(&name), files: Vec::new() };
        fs::create_dir_all(layout.blobs()).at("creating", layout.blobs())?;
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
        let mut layers = Vec::new();
        for layer in image.layers {
            let _step = image.progress.step(&format!("compressing layer {}", layer.name));
            let compressed = compress(image.store, layer, Compression::GZIP, threads)?;
            layout.copy(&compressed)?;
            let title = HashMap::from([(oci::ANNOTATION_TITLE.to_owned(), layer.name.clone())]);
            layers.push(annotated(
                descriptor(oci::MediaType::ImageLayerGzip, compressed.size, &compressed.digest)?,
                title,
            ));
        }
        let config = layout.json(oci::MediaType::ImageConfig, &configuration(image)?)?;
        let manifest = layout.json(oci::MediaType::ImageManifest, &manifest(image, config, layers)?)?;
        layout.file("index.json", &json(&index(image, manifest)?)?)?;
        layout.file(
            "oci-layout",
            &json(&built(oci::OciLayoutBuilder::default().image_layout_version("1.0.0").build())?)?,
        )?;
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
    /// What is in it, relative to it.
    files: Vec<Written>,
}

impl Layout {
    fn blobs(&self) -> PathBuf {
        self.root.join("blobs/sha256")
    }

    /// Copies a blob whose digest was computed while it was compressed.
    fn copy(&mut self, layer: &CompressedLayer) -> Result<()> {
        let path = self.blobs().join(layer.digest.hex());
        let copied = fs::copy(&layer.path, &path).at("writing", &path)?;
        if copied != layer.size {
            let message = format!(
                "the cached {} is damaged: {copied} bytes instead of {}",
                layer.path.display(),
                layer.size
            );
            return Err(Error::new(ErrorKind::Io, message).help("remove its folder and build again"));
        }
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
        self.write(Written { file: name.to_owned(), digest: Some(Digest::of(bytes)) }, bytes)
    }

    fn write(&mut self, written: Written, bytes: &[u8]) -> Result<()> {
        let path = self.root.join(&written.file);
        fs::write(&path, bytes).at("writing", &path)?;
        self.files.push(written);
        Ok(())
    }
}

fn blob(digest: &Digest) -> Written {
    Written { file: format!("blobs/sha256/{}", digest.hex()), digest: Some(*digest) }
}

fn configuration(image: &Image<'_>) -> Result<oci::ImageConfiguration> {
    let created = rfc3339(image.epoch);
    let architecture = match image.plan.arch {
        plan::Arch::Amd64 => oci::Arch::Amd64,
        plan::Arch::Arm64 => oci::Arch::ARM64,
    };
    let diff_ids: Vec<String> = image.layers.iter().map(|layer| layer.diff_id.to_string()).collect();
    let history = image
        .layers
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
        (oci::ANNOTATION_CREATED.to_owned(), rfc3339(image.epoch)),
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

/// The bytes of a document. The types keep annotations in hash maps, whose order changes from run to run: sorted by way of a value.
fn json(document: &impl Serialize) -> Result<Vec<u8>> {
    let mut value = built(serde_json::to_value(document))?;
    value.sort_all_objects();
    built(serde_json::to_vec(&value))
}

fn built<T, E: Display>(result: Result<T, E>) -> Result<T> {
    result.map_err(|error| Error::new(ErrorKind::Internal, format!("writing the OCI layout: {error}")))
}

/// Seconds since 1970 as RFC 3339 in UTC. Days to date after Howard Hinnant, "chrono-compatible low-level date algorithms".
fn rfc3339(epoch: u64) -> String {
    let (days, seconds) = (epoch / SECONDS_PER_DAY, epoch % SECONDS_PER_DAY);
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

#[cfg(test)]
mod tests;
