//! Packs a layer's tree into the store.

use std::fs::File;
use std::path::Path;

use super::PackedLayer;
use super::tee::digest_while_writing;
use super::write::write_tar;
use crate::error::{IoContext, Result};
use crate::store::{Content, Key, Store};
use crate::tree::Tree;

const TAR: &str = "layer.tar";

/// The layer `name` as a tar in the store. It is written from `tree` if the store has nothing for `key`, the
/// hash of everything that determines the tree and the epoch.
///
/// # Errors
/// Those of [`Store::built`].
pub fn pack(store: &Store, name: &str, key: Key, tree: &Tree, epoch: u64) -> Result<PackedLayer> {
    pack_with(store, name, key, epoch, || Ok(tree.clone()))
}

/// Like [`pack`], but makes the tree only if the layer is not in the store.
///
/// # Errors
/// Those of [`Store::built`] and of `tree`.
pub fn pack_with(
    store: &Store,
    name: &str,
    key: Key,
    epoch: u64,
    tree: impl FnOnce() -> Result<Tree>,
) -> Result<PackedLayer> {
    let built = store.built(&key, TAR, |path| {
        write_layer(&tree()?, epoch, path).map_err(|error| error.context(format!("packing layer {name}")))
    })?;
    Ok(PackedLayer {
        name: name.to_owned(),
        key: *key.digest(),
        tar: built.path,
        diff_id: built.content.sha256,
        size: built.content.size,
        cached: built.cached,
    })
}

fn write_layer(tree: &Tree, epoch: u64, path: &Path) -> Result<Content> {
    let file = File::create(path).at("creating", path)?;
    let (_, sha256, size) = digest_while_writing(file, |tee| write_tar(tree, epoch, tee))?;
    Ok(Content { sha256, size })
}
