//! Packs a layer's tree into the store.

use std::fs::{self, File};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::PackedLayer;
use super::tee::digest_while_writing;
use super::write::write_tar;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::store::{Key, Store};
use crate::tree::Tree;

const TAR: &str = "layer.tar";
const RECORD: &str = "layer.json";

/// `layer.json`: facts about `layer.tar` beside it.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    #[serde(rename = "diffID")]
    diff_id: Digest,
    size: u64,
}

/// The layer `name` as a tar in the store. It is written from `tree` if the store has nothing for `key`, the
/// hash of everything that determines the tree and the epoch.
///
/// # Errors
/// [`ErrorKind::Io`].
pub fn pack(store: &Store, name: &str, key: Key, tree: &Tree, epoch: u64) -> Result<PackedLayer> {
    pack_with(store, name, key, epoch, || Ok(tree.clone()))
}

/// Like [`pack`], but makes the tree only if the layer is not in the store.
///
/// # Errors
/// [`ErrorKind::Io`], and the errors of `tree`.
pub fn pack_with(
    store: &Store,
    name: &str,
    key: Key,
    epoch: u64,
    tree: impl FnOnce() -> Result<Tree>,
) -> Result<PackedLayer> {
    let built = store.built(&key, |folder| {
        let record = write_layer(&tree()?, epoch, &folder.join(TAR))
            .map_err(|error| error.context(format!("packing layer {name}")))?;
        let path = folder.join(RECORD);
        let json = serde_json::to_vec(&record)
            .map_err(|error| Error::new(ErrorKind::Internal, format!("writing {RECORD}: {error}")))?;
        fs::write(&path, json).at("writing", &path)
    })?;
    let tar = built.path.join(TAR);
    let record = read_record(&built.path, &tar)?;
    Ok(PackedLayer {
        name: name.to_owned(),
        key: *key.digest(),
        tar,
        diff_id: record.diff_id,
        size: record.size,
        cached: built.cached,
    })
}

fn write_layer(tree: &Tree, epoch: u64, path: &Path) -> Result<Record> {
    let file = File::create(path).at("creating", path)?;
    let (_, diff_id, size) = digest_while_writing(file, |tee| write_tar(tree, epoch, tee))?;
    Ok(Record { diff_id, size })
}

fn read_record(folder: &Path, tar: &Path) -> Result<Record> {
    let path = folder.join(RECORD);
    let damaged = |why: String| {
        Error::new(ErrorKind::Io, format!("the cached layer {} is damaged: {why}", folder.display()))
            .help("remove that folder and build again")
    };
    let record: Record = serde_json::from_slice(&fs::read(&path).at("reading", &path)?)
        .map_err(|error| damaged(error.to_string()))?;
    let length = tar.metadata().at("reading", tar)?.len();
    if length == record.size {
        Ok(record)
    } else {
        Err(damaged(format!("{TAR} has {length} bytes instead of {}", record.size)))
    }
}
