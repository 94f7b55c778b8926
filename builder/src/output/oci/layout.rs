//! The folder of an OCI image layout: blobs by their digests, and an index of what they are.

use std::collections::HashMap;
use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use oci_spec::image as oci;
use serde::Serialize;

use crate::digest::Digest;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::layer::compress::CompressedLayer;
use crate::output::OutputFile;

/// The folder that is written.
pub(in crate::output) struct Layout {
    root: PathBuf,
    /// Its name.
    name: String,
    /// Its files, relative to it.
    files: Vec<OutputFile>,
}

impl Layout {
    /// An empty layout.
    pub fn create(folder: &Path, name: &str) -> Result<Self> {
        let layout = Self { root: folder.join(name), name: name.to_owned(), files: Vec::new() };
        fs::create_dir_all(layout.blobs()).at("creating", layout.blobs())?;
        Ok(layout)
    }

    fn blobs(&self) -> PathBuf {
        self.root.join("blobs/sha256")
    }

    /// Copies a blob whose digest was computed while it was compressed.
    pub fn copy(&mut self, layer: &CompressedLayer) -> Result<()> {
        let path = self.blobs().join(layer.digest.hex());
        fs::copy(&layer.path, &path).at("writing", &path)?;
        self.note(blob(&layer.digest));
        Ok(())
    }

    /// A blob that `make` writes into the file that it is given; its digest and length.
    pub fn blob(
        &mut self,
        media_type: oci::MediaType,
        make: impl FnOnce(&Path) -> Result<(Digest, u64)>,
    ) -> Result<oci::Descriptor> {
        let unnamed = self.blobs().join("unnamed");
        let (digest, size) = make(&unnamed)?;
        let path = self.blobs().join(digest.hex());
        fs::rename(&unnamed, &path).at("renaming to", &path)?;
        self.note(blob(&digest));
        descriptor(media_type, size, &digest)
    }

    /// Writes a JSON document as a blob.
    pub fn json(&mut self, media_type: oci::MediaType, document: &impl Serialize) -> Result<oci::Descriptor> {
        let bytes = json(document)?;
        let digest = Digest::of(&bytes);
        self.write(blob(&digest), &bytes)?;
        descriptor(media_type, bytes.len() as u64, &digest)
    }

    /// Writes the index of these manifests; all files, below the folder of the layout.
    pub fn finish(mut self, manifests: Vec<oci::Descriptor>) -> Result<Vec<OutputFile>> {
        self.file("index.json", &json(&index(manifests)?)?)?;
        let version = oci::OciLayoutBuilder::default().image_layout_version("1.0.0").build();
        self.file("oci-layout", &json(&built(version)?)?)?;
        self.files
            .iter_mut()
            .for_each(|written| written.file = format!("{}/{}", self.name, written.file));
        Ok(self.files)
    }

    fn file(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        self.write(OutputFile { file: name.to_owned(), digest: Some(Digest::of(bytes)) }, bytes)
    }

    fn write(&mut self, written: OutputFile, bytes: &[u8]) -> Result<()> {
        let path = self.root.join(&written.file);
        fs::write(&path, bytes).at("writing", &path)?;
        self.note(written);
        Ok(())
    }

    /// Two blobs with the same content are one file.
    fn note(&mut self, written: OutputFile) {
        if !self.files.contains(&written) {
            self.files.push(written);
        }
    }
}

fn blob(digest: &Digest) -> OutputFile {
    OutputFile { file: format!("blobs/sha256/{}", digest.hex()), digest: Some(*digest) }
}

/// An index of these manifests.
pub(in crate::output) fn index(manifests: Vec<oci::Descriptor>) -> Result<oci::ImageIndex> {
    built(
        oci::ImageIndexBuilder::default()
            .schema_version(oci::SCHEMA_VERSION)
            .media_type(oci::MediaType::ImageIndex)
            .manifests(manifests)
            .build(),
    )
}

pub(in crate::output) fn descriptor(
    media_type: oci::MediaType,
    size: u64,
    digest: &Digest,
) -> Result<oci::Descriptor> {
    let digest = built(oci::Sha256Digest::from_str(&digest.hex()))?;
    Ok(oci::Descriptor::new(media_type, size, digest))
}

/// A manifest that has this tag in its layout.
pub(in crate::output) fn tagged(manifest: oci::Descriptor, tag: String) -> oci::Descriptor {
    annotated(manifest, HashMap::from([(oci::ANNOTATION_REF_NAME.to_owned(), tag)]))
}

pub(in crate::output) fn annotated(
    mut descriptor: oci::Descriptor,
    annotations: HashMap<String, String>,
) -> oci::Descriptor {
    descriptor.set_annotations(Some(annotations));
    descriptor
}

/// The bytes of a document, with sorted keys: the types keep annotations in hash maps, whose order changes.
fn json(document: &impl Serialize) -> Result<Vec<u8>> {
    let mut value = built(serde_json::to_value(document))?;
    value.sort_all_objects();
    built(serde_json::to_vec(&value))
}

pub(in crate::output) fn built<T, E: Display>(result: Result<T, E>) -> Result<T> {
    result.map_err(|error| Error::new(ErrorKind::Internal, format!("writing the OCI layout: {error}")))
}
