//! Container images that the runtime imports before the network is up: one OCI layout of all of them, so that
//! what they share is there once. An image stays what it was at its origin, to its digest.
//!
//! | file | for |
//! |---|---|
//! | `oci-layout`, `index.json`, `blobs/sha256/` | programs that read a layout (image-spec, "Image Layout") |
//! | `manifest.json` | those that read what `docker save` writes |
//! | `images` | those that copy one image at a time: a line for each, the manifest's digest and the name |

use std::io::{self, Read};
use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::archive;
use crate::container_image::ImageAddress;
use crate::definition::plan::{Arch, ArchiveRules, PreloadPlan};
use crate::digest::{Digest, DigestWriter};
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::image_source::{
    self, Blob, INDEX, LARGEST_DOCUMENT, LAYOUT, blob_path, check_architecture, failed, is_layout,
};
use crate::lock::preload::{LockedImage, pin_of};
use crate::store::Store;
use crate::tree::{Body, Entry, Tree, merge::real_path};

/// Where the layout lies; `preload-images.service` of the runtime's layer imports it.
pub const FOLDER: &str = "usr/lib/kiln/preload";

/// The type of a manifest that names none itself, and of those made here.
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The type of one that Docker's registry made first.
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// Adds `images` for `arch` to `top`, in their order. Compressed archives are unpacked to `spool`.
///
/// # Errors
/// [`ErrorKind::Archive`] if one is broken, hostile or another image; [`ErrorKind::Verification`] and
/// [`ErrorKind::Io`].
pub fn preload(
    top: &mut Tree,
    (images, arch): (&[PreloadPlan], Arch),
    pins: &[LockedImage],
    store: &Store,
    spool: &Path,
) -> Result<()> {
    if images.is_empty() {
        return Ok(());
    }
    let (mut manifests, mut saved, mut lines) = (Vec::new(), Vec::new(), String::new());
    let mut add = |path: &str, body: Body| {
        top.insert(format!("{FOLDER}/{path}"), Entry::file(body, 0o644));
    };
    for image in images {
        let source = Source { image, arch, store, spool };
        let Image { manifest, media_type, config, layers, blobs } = match image.pinned() {
            Some(sha256) => source.in_archive(&sha256)?,
            None => source.pinned(pin_of(image, pins))?,
        };
        let (name, digest) = (&image.reference, Digest::of(&manifest));
        manifests.push(json!({
            "mediaType": media_type, "digest": digest, "size": manifest.len(),
            "annotations": { "io.containerd.image.name": name, "org.opencontainers.image.ref.name": name },
        }));
        let layers: Vec<String> = layers.iter().map(blob_path).collect();
        saved.push(json!({ "Config": blob_path(&config), "RepoTags": [name], "Layers": layers }));
        lines.push_str(&format!("{} {name}\n", digest.hex()));
        add(&blob_path(&digest), Body::inline(manifest));
        blobs.into_iter().for_each(|(digest, body)| add(&blob_path(&digest), body));
    }
    let text = |value: Value| Body::inline(value.to_string().into_bytes());
    let index = "application/vnd.oci.image.index.v1+json";
    add(INDEX, text(json!({ "schemaVersion": 2, "mediaType": index, "manifests": manifests })));
    add(LAYOUT, text(json!({ "imageLayoutVersion": "1.0.0" })));
    add("manifest.json", text(Value::Array(saved)));
    add("images", Body::inline(lines.into_bytes()));
    Ok(())
}

/// An image with its files.
struct Image {
    manifest: Vec<u8>,
    media_type: String,
    config: Digest,
    layers: Vec<Digest>,
    /// Configuration and layers.
    blobs: Vec<(Digest, Body)>,
}

/// Where an image is read from.
struct Source<'a> {
    image: &'a PreloadPlan,
    arch: Arch,
    store: &'a Store,
    spool: &'a Path,
}

impl Source<'_> {
    fn failed(&self, why: &str) -> Error {
        failed(&self.image.from.written, why)
    }

    /// The image as the lock pins it.
    fn pinned(&self, pin: Option<&LockedImage>) -> Result<Image> {
        let missing = || format!("the lock has no container image {}", self.image.reference);
        let pin = pin.ok_or_else(|| Error::new(ErrorKind::Internal, missing()))?;
        if pin.blobs.is_empty() {
            return self.in_archive(&pin.sha256);
        }
        let body = |digest: &Digest| {
            let path = self.store.verified(digest)?;
            Body::whole(&path).at("reading", &path)
        };
        self.with_manifest(self.document(&body(&pin.sha256)?)?, &|blob| body(&blob.sha256))
    }

    /// The bytes of a document.
    fn document(&self, body: &Body) -> Result<Vec<u8>> {
        if body.len() > LARGEST_DOCUMENT {
            return Err(self.failed("one of its documents is too large"));
        }
        body.read().at("reading", Path::new(&self.image.from.written))
    }

    /// The image of this manifest; `body` gives its files.
    fn with_manifest(&self, manifest: Vec<u8>, body: &dyn Fn(&Blob) -> Result<Body>) -> Result<Image> {
        let files = image_source::blobs(&manifest).map_err(|why| self.failed(&why))?;
        let blobs = files
            .iter()
            .map(|(blob, _)| Ok((blob.sha256, body(blob)?)))
            .collect::<Result<Vec<(Digest, Body)>>>()?;
        let (config, first) = blobs.first().ok_or_else(|| self.failed("it has no configuration"))?;
        check_architecture(&self.document(first)?, self.arch, &self.image.from.written)?;
        let value: Value = serde_json::from_slice(&manifest).unwrap_or_default();
        let media_type = value.get("mediaType").and_then(Value::as_str).unwrap_or(MANIFEST).to_owned();
        if ![MANIFEST, DOCKER_MANIFEST].contains(&media_type.as_str()) {
            return Err(self.failed(&format!("a manifest of the type {media_type} is not known")));
        }
        let layers = blobs[1..].iter().map(|(digest, _)| *digest).collect();
        Ok(Image { media_type, config: *config, layers, manifest, blobs })
    }

    /// The image in the archive with this digest.
    fn in_archive(&self, sha256: &Digest) -> Result<Image> {
        let everything = ArchiveRules { strip: 0, pick: Vec::new(), into: String::new(), mode: None };
        let title = &self.image.from.written;
        let tree = archive::extract(&self.store.verified(sha256)?, &everything, title, self.spool)?;
        if is_layout(&tree) { self.in_layout(&tree) } else { self.saved(&tree) }
    }

    /// The image in a layout whose files are the tree of an archive.
    fn in_layout(&self, tree: &Tree) -> Result<Image> {
        let title = &self.image.from.written;
        let body = |blob: &Blob| {
            let path = blob_path(&blob.sha256);
            let body = self.file(tree, &path)?;
            let found = self.digest(&body)?;
            if found == blob.sha256 {
                Ok(body)
            } else {
                Err(self.failed(&format!("{path} is not what its name says")))
            }
        };
        let read = |blob: &Blob| self.document(&body(blob)?);
        let index = self.document(&self.file(tree, INDEX)?)?;
        let index = image_source::named(&index, &self.image.reference).map_err(|why| self.other(&why))?;
        let manifest = image_source::manifest(&index, self.arch, title, &read)?;
        self.with_manifest(read(&manifest)?, &body)
    }

    /// The image in what `docker save` writes (<https://github.com/moby/docker-image-spec>). It has no
    /// manifest of its own.
    fn saved(&self, tree: &Tree) -> Result<Image> {
        let saved = self.file(tree, "manifest.json").map_err(|_| {
            self.failed("it is neither a layout nor what docker save writes").help(
                "save the image by its name: docker save NAME, or skopeo copy … docker-archive:FILE:NAME",
            )
        })?;
        let saved: Vec<Saved> = serde_json::from_slice(&self.document(&saved)?)
            .map_err(|error| self.failed(&format!("its manifest.json: {error}")))?;
        let saved = self.choose(&saved)?;
        let blob = |path: &str, media_type: Option<&str>| {
            let body = self.file(tree, path)?;
            let digest = self.digest(&body)?;
            let media_type = media_type.map_or_else(|| layer_type(&body), Ok);
            let media_type = media_type.at("reading", Path::new(path))?;
            let descriptor = json!({ "mediaType": media_type, "digest": digest, "size": body.len() });
            Ok::<_, Error>((descriptor, (digest, body)))
        };
        let (config, file) = blob(&saved.config, Some("application/vnd.oci.image.config.v1+json"))?;
        let (mut files, mut layers) = (vec![file], Vec::new());
        for path in &saved.layers {
            let (layer, file) = blob(path, None)?;
            layers.push(layer);
            files.push(file);
        }
        let manifest =
            json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers });
        self.with_manifest(manifest.to_string().into_bytes(), &|blob| {
            let file = files.iter().find(|(digest, _)| *digest == blob.sha256);
            file.map(|(_, body)| body.clone()).ok_or_else(|| self.failed("it lacks a file"))
        })
    }

    /// The image of the wanted name, or the only one if it has none.
    fn choose<'s>(&self, saved: &'s [Saved]) -> Result<&'s Saved> {
        let is_it = |tag: &String| ImageAddress::whole(tag).as_ref() == Some(&self.image.reference);
        if let Some(found) = saved.iter().find(|image| image.tags.iter().flatten().any(is_it)) {
            return Ok(found);
        }
        let tags: Vec<&str> =
            saved.iter().flat_map(|image| image.tags.iter().flatten()).map(String::as_str).collect();
        match saved {
            [one] if tags.is_empty() => Ok(one),
            _ if tags.is_empty() => Err(self.other(&format!("it has {} images without names", saved.len()))),
            _ => Err(self.other(&format!("it has no {}, but {}", self.image.reference, tags.join(", ")))),
        }
    }

    fn other(&self, why: &str) -> Error {
        self.failed(why)
            .help("write the name that the archive has, or save the image under this one")
    }

    /// A file of an archive, through links.
    fn file(&self, tree: &Tree, path: &str) -> Result<Body> {
        let body = real_path(tree, path).and_then(|path| tree.file(&path).cloned());
        body.ok_or_else(|| self.failed(&format!("it lacks {path}")))
    }

    fn digest(&self, body: &Body) -> Result<Digest> {
        let mut hash = DigestWriter::new(io::sink());
        let copied = body.open().and_then(|mut from| io::copy(&mut from, &mut hash));
        copied.at("reading", Path::new(&self.image.from.written))?;
        Ok(hash.finish().1)
    }
}

/// An image in `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(rename = "RepoTags", default)]
    tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Vec<String>,
}

/// The type of a layer by its first bytes.
fn layer_type(layer: &Body) -> io::Result<&'static str> {
    let mut head = Vec::new();
    layer.open()?.take(4).read_to_end(&mut head)?;
    Ok(match head.as_slice() {
        [0x1f, 0x8b, ..] => "application/vnd.oci.image.layer.v1.tar+gzip",
        [0x28, 0xb5, 0x2f, 0xfd] => "application/vnd.oci.image.layer.v1.tar+zstd",
        _ => "application/vnd.oci.image.layer.v1.tar",
    })
}

#[cfg(test)]
#[path = "preload_tests.rs"]
mod tests;
