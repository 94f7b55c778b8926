//! An OCI image: a layout in a folder or in a tar, or an image in a registry. Its layers are applied to each
//! other, so that one tree is left.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use super::{Container, Source};
use crate::archive;
use crate::digest::DigestWriter;
use crate::error::{IoContext, Result};
use crate::image_source::{
    Blob, INDEX, LARGEST_DOCUMENT, blob_path, blobs, failed, first_bytes, manifest, verified,
};
use crate::tree::{Node, Tree};

/// The manifest of a layout folder. The lock pins its blobs beside it.
pub(super) const CONTAINER: Container =
    Container { name: "an OCI image (a layout in a folder or a tar)", is: is_manifest, read };

/// What marks an entry of a layer that removes the entry of the rest of its name from lower layers, or all
/// entries of its folder (image-spec, layer.md, "Whiteouts").
const WHITEOUT: &str = ".wh.";
const OPAQUE: &str = ".wh..wh..opq";

fn is_manifest(head: &[u8]) -> bool {
    head.starts_with(b"{")
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
