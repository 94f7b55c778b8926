//! The read-only root file system: the tree as squashfs, from the store when nothing that decides its bytes
//! has changed.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::assembly::Image;
use crate::digest::Digest;
use crate::error::{IoContext, Result};
use crate::format::squashfs::{self, Compressor};
use crate::part::tree_digest::tree_digest;
use crate::part::work::Work;
use crate::scratch::Scratch;
use crate::store::{Content, Key, Store};

const KIND: &str = "root";
/// Raise it when the same tree and options come to give other bytes.
const FORMAT: u32 = 3;
const FILE: &str = "root.squashfs";

/// The compressed root of an image.
#[derive(Debug)]
pub struct Root {
    pub path: PathBuf,
    /// Its key, and its folder until [`Root::keep`] puts it into the store; none if it was in the store
    /// before.
    new: Option<(Key, Scratch)>,
}

#[derive(Serialize)]
struct Inputs<'a> {
    tree: Digest,
    options: Vec<&'a str>,
    epoch: u64,
}

/// The root file system of `image`.
///
/// # Errors
/// When squashfs-tools is missing or older than 4.5, fails, or loses an entry.
pub fn make(image: &Image<'_>, work: &Work<'_>) -> Result<Root> {
    let version = squashfs::version()?;
    work.record_tool("mksquashfs", &version);
    let tree = tree_digest(image.tree(), image.layers())?;
    let inputs = Inputs { tree, options: squashfs::options(Compressor::Zstd), epoch: image.epoch };
    let key = Key::new(KIND, FORMAT, &inputs, &[("mksquashfs", &version)])?;
    if let Some(kept) = work.store.find(&key, FILE)? {
        return Ok(Root { path: kept.path, new: None });
    }
    let _step = work.progress.step("compressing the root file system");
    let scratch = work.store.scratch()?;
    let path = scratch.path().join(FILE);
    squashfs::write(image.tree(), image.epoch, Compressor::Zstd, &path)?;
    Ok(Root { path, new: Some((key, scratch)) })
}

impl Root {
    /// Keeps a root that this build has made for later ones.
    pub(super) fn keep(&self, store: &Store) -> Result<()> {
        let Some((key, _)) = &self.new else { return Ok(()) };
        let link = |name: &Path| {
            fs::hard_link(&self.path, name)
                .or_else(|_| fs::copy(&self.path, name).map(drop))
                .at("keeping", name)?;
            Content::of_file(name)
        };
        store.built(key, FILE, link).map(drop)
    }
}
