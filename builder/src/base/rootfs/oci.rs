//! An OCI image (<https://github.com/opencontainers/image-spec>): a layout in a folder or in a tar, or an
//! image in a registry. Its layers are applied to each other, so that one tree is left.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use oci_spec::image::{Descriptor, ImageIndex, ImageManifest};
use serde_json::Value;

use super::{Container, Source, first_bytes};
use crate::archive;
use crate::base::Blob;
use crate::container_image::ImageAddress;
use crate::definition::plan::Arch;
use crate::digest::{Digest, DigestWriter};
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::fetch::Fetcher;
use crate::tree::{Node, Tree};

/// The manifest of a layout folder. The lock pins its blobs beside it.
pub(super) const CONTAINER: Container =
    Container { name: "an OCI image (a layout in a folder or a tar)", is: is_manifest, read };

/// Names in a layout.
const LAYOUT: &str = "oci-layout";
const INDEX: &str = "index.json";

/// The largest index or manifest that is read, in bytes, as registries have it.
const LARGEST_DOCUMENT: u64 = 4 << 20;

/// The most layers: what Docker and overlayfs can mount.
const MOST_LAYERS: usize = 128;

/// Indexes in indexes.
const DEPTH: usize = 4;

/// What marks an entry of a layer that removes the entry of the rest of its name from lower layers, or all
/// entries of its folder (image-spec, layer.md, "Whiteouts").
const WHITEOUT: &str = ".wh.";
const OPAQUE: &str = ".wh..wh..opq";

fn is_manifest(head: &[u8]) -> bool {
    head.starts_with(b"{")
}

/// Whether the tree of a tar is a layout.
pub(super) fn is_layout(tree: &Tree) -> bool {
    tree.file(LAYOUT).is_some() && tree.file(INDEX).is_some()
}

/// What a lock pins of a layout folder: the manifest for `arch`, and the blobs that it names.
pub(super) fn pin(folder: &Path, arch: Arch, title: &str) -> Result<(Blob, Vec<Blob>)> {
    if !folder.join(LAYOUT).is_file() {
        return Err(failed(title, "it is a folder, but no OCI layout: it has no oci-layout")
            .help("name a file, or a folder that skopeo copy … oci:FOLDER has made"));
    }
    let index = first_bytes(&folder.join(INDEX), LARGEST_DOCUMENT)?;
    let read = |descriptor: &Blob| {
        let path = folder.join(blob_path(&descriptor.sha256));
        let bytes = first_bytes(&path, LARGEST_DOCUMENT)?;
        verified(bytes, descriptor, title)
    };
    let manifest = manifest(&index, arch, title, &read)?;
    let bytes = read(&manifest)?;
    pins(manifest, &bytes, title)
}

/// What a lock pins of an image in a registry.
pub(super) fn pin_remote(
    image: &ImageAddress,
    arch: Arch,
    title: &str,
    fetcher: &Fetcher<'_>,
) -> Result<(Blob, Vec<Blob>)> {
    let read = |blob: &Blob| {
        let document = fetcher.signed_document(&image.manifest_url(&blob.sha256), LARGEST_DOCUMENT)?;
        verified(document.bytes, blob, title)
    };
    let bytes = match image.digest {
        // The length is not known yet, and the digest decides.
        Some(sha256) => read(&Blob { sha256, size: 0 })?,
        None => fetcher.document(&image.url(), LARGEST_DOCUMENT)?.bytes,
    };
    let is_index =
        serde_json::from_slice::<Value>(&bytes).is_ok_and(|value| value.get("manifests").is_some());
    if !is_index {
        let manifest = Blob { sha256: Digest::of(&bytes), size: bytes.len() as u64 };
        return pins(manifest, &bytes, title);
    }
    let manifest = manifest(&bytes, arch, title, &read)?;
    let bytes = read(&manifest)?;
    pins(manifest, &bytes, title)
}

/// The manifest, whose bytes these are, and the blobs that it names.
fn pins(manifest: Blob, bytes: &[u8], title: &str) -> Result<(Blob, Vec<Blob>)> {
    let blobs = blobs(bytes).map_err(|why| failed(title, &why))?;
    Ok((manifest, blobs.into_iter().map(|(blob, _)| blob).collect()))
}

/// Where a layout has a blob.
pub(super) fn blob_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn read(source: &Source<'_>) -> Result<Tree> {
    let manifest = first_bytes(source.path, LARGEST_DOCUMENT)?;
    apply_all(&manifest, source, &|blob| source.store.verified(&blob.sha256))
}

/// The image in a layout whose files are the tree of a tar.
pub(super) fn read_layout(tree: &Tree, source: &Source<'_>) -> Result<Tree> {
    let title = source.title;
    let extract = |blob: &Blob| extract(tree, blob, source);
    let read = |blob: &Blob| verified(first_bytes(&extract(blob)?, LARGEST_DOCUMENT)?, blob, title);
    let index = tree.file(INDEX).filter(|body| body.len() <= LARGEST_DOCUMENT);
    let index = index.ok_or_else(|| failed(title, "its index.json is too large"))?;
    let index = index.read().at("reading", source.path)?;
    let manifest = read(&manifest(&index, source.arch, title, &read)?)?;
    apply_all(&manifest, source, &extract)
}

/// Copies a blob out of the tar, and compares it with its name.
fn extract(tree: &Tree, blob: &Blob, source: &Source<'_>) -> Result<PathBuf> {
    let path = source.spool.join(blob.sha256.hex());
    if path.exists() {
        return Ok(path);
    }
    let name = blob_path(&blob.sha256);
    let body = tree.file(&name).ok_or_else(|| failed(source.title, &format!("it lacks {name}")))?;
    let mut to = DigestWriter::new(File::create(&path).at("creating", &path)?);
    let mut from = body.open().at("reading", source.path)?;
    io::copy(&mut from, &mut to).at("writing", &path)?;
    to.flush().at("writing", &path)?;
    let (_, digest, size) = to.finish();
    if digest != blob.sha256 || size != blob.size {
        return Err(failed(source.title, &format!("{name} is not what its name says")));
    }
    Ok(path)
}

fn verified(bytes: Vec<u8>, blob: &Blob, title: &str) -> Result<Vec<u8>> {
    if Digest::of(&bytes) == blob.sha256 {
        return Ok(bytes);
    }
    Err(failed(title, &format!("{} is not what its name says", blob_path(&blob.sha256))))
}

/// The manifest for `arch` in an index, or in an index that it names.
fn manifest(index: &[u8], arch: Arch, title: &str, read: &dyn Fn(&Blob) -> Result<Vec<u8>>) -> Result<Blob> {
    let mut bytes = index.to_vec();
    for _ in 0..DEPTH {
        match choose(&bytes, arch).map_err(|why| failed(title, &why))? {
            Choice::Manifest(manifest) => return Ok(manifest),
            Choice::Index(index) => bytes = read(&index)?,
        }
    }
    Err(failed(title, "its indexes name each other"))
}

/// What an index leads to.
#[derive(Debug, PartialEq, Eq)]
pub enum Choice {
    /// The image's manifest.
    Manifest(Blob),
    /// Another index.
    Index(Blob),
}

/// The only image for `arch` that an index names.
///
/// # Errors
/// Why there is none, in words.
pub fn choose(index: &[u8], arch: Arch) -> Result<Choice, String> {
    let index = ImageIndex::from_reader(index).map_err(|error| format!("its index: {error}"))?;
    // What has no platform is for any; attestations have the platform "unknown".
    let fits = |descriptor: &&Descriptor| {
        let platform = descriptor.platform().as_ref();
        platform.is_none_or(|platform| platform.architecture().to_string() == arch.name())
    };
    let found: Vec<&Descriptor> = index.manifests().iter().filter(fits).collect();
    match found.as_slice() {
        [one] => {
            let media_type = one.media_type().to_string();
            let is_index = media_type.contains("index") || media_type.contains("manifest.list");
            let blob = blob(one)?;
            Ok(if is_index { Choice::Index(blob) } else { Choice::Manifest(blob) })
        }
        [] => Err(format!("it has no image for {}", arch.name())),
        several => Err(format!(
            "it has {} images for {}; copy one of them out: skopeo copy oci:FOLDER:TAG oci:ONE",
            several.len(),
            arch.name()
        )),
    }
}

/// How a layer is packed; the bytes tell it, so only whether it can be read is told here.
fn check_layer(media_type: &str) -> Result<(), String> {
    let known = ["tar", "tar+gzip", "tar+zstd", "tar.gzip", "tar.zstd"]
        .iter()
        .any(|end| media_type.ends_with(end));
    if known { Ok(()) } else { Err(format!("its layers of the type {media_type} are not known")) }
}

/// The blobs of a manifest: the configuration, then the layers, and whether each is a layer.
///
/// # Errors
/// What is wrong with the manifest, in words.
pub fn blobs(manifest: &[u8]) -> Result<Vec<(Blob, bool)>, String> {
    let manifest = ImageManifest::from_reader(manifest).map_err(|error| format!("its manifest: {error}"))?;
    if manifest.layers().len() > MOST_LAYERS {
        return Err(format!("it has more than {MOST_LAYERS} layers"));
    }
    let mut blobs = vec![(blob(manifest.config())?, false)];
    for layer in manifest.layers() {
        check_layer(layer.media_type().as_ref())?;
        blobs.push((blob(layer)?, true));
    }
    Ok(blobs)
}

fn blob(descriptor: &Descriptor) -> Result<Blob, String> {
    let digest = descriptor.digest().to_string();
    let sha256 = digest.strip_prefix("sha256:").and_then(|digits| digits.parse().ok());
    let sha256 = sha256.ok_or_else(|| format!("its digest {digest} is no SHA-256"))?;
    Ok(Blob { sha256, size: descriptor.size() })
}

/// One tree out of the layers of a manifest. `path` tells where a blob is.
fn apply_all(manifest: &[u8], source: &Source<'_>, path: &dyn Fn(&Blob) -> Result<PathBuf>) -> Result<Tree> {
    let title = source.title;
    let mut tree = Tree::default();
    let layers = blobs(manifest).map_err(|why| failed(title, &why))?;
    for (layer, _) in layers.iter().filter(|(_, is_layer)| *is_layer) {
        let tar = archive::plain(&path(layer)?, title, source.spool)?;
        apply(&mut tree, archive::root(&tar, title)?, title)?;
        let content: u64 = tree
            .entries
            .values()
            .map(|entry| match &entry.node {
                Node::File(body) => body.len(),
                _ => 0,
            })
            .sum();
        if content > archive::UNPACKED_BYTES || tree.entries.len() > archive::ENTRIES {
            return Err(failed(title, "its layers hold more than an image can have"));
        }
    }
    archive::check_root(&tree, title)?;
    tree.complete();
    Ok(tree)
}

/// Puts a layer over the tree of those below it.
fn apply(tree: &mut Tree, layer: Tree, title: &str) -> Result<()> {
    let (whiteouts, entries): (Vec<_>, Vec<_>) =
        layer.entries.into_iter().partition(|(path, _)| name(path).starts_with(WHITEOUT));
    for (path, _) in &whiteouts {
        let folder = path.strip_suffix(name(path)).unwrap_or_default();
        match name(path) {
            OPAQUE => tree.remove_below(folder.trim_end_matches('/')),
            hidden => tree.remove(&format!("{folder}{}", &hidden[WHITEOUT.len()..])),
        }
    }
    for (path, entry) in entries {
        for (slash, _) in path.match_indices('/') {
            let parent = &path[..slash];
            if tree.get(parent).is_some_and(|parent| parent.node != Node::Directory) {
                let why = format!("\"{}\" lies below \"{parent}\", which is no folder", path.escape_debug());
                return Err(failed(title, &why));
            }
        }
        let keeps = entry.node == Node::Directory
            && tree.get(&path).is_some_and(|below| below.node == Node::Directory);
        if !keeps && tree.get(&path).is_some() {
            tree.remove(&path);
        }
        tree.insert(path, entry);
    }
    Ok(())
}

fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn failed(title: &str, why: &str) -> Error {
    Error::new(ErrorKind::Archive, format!("{title}: the OCI image: {why}"))
}
