//! The read-only root file system: the tree as squashfs, from the store when nothing that decides its bytes
//! has changed.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::assembly::Image;
use crate::digest::{Digest, DigestWriter};
use crate::error::{IoContext, Result};
use crate::format::squashfs;
use crate::part::work::Work;
use crate::scratch::Scratch;
use crate::store::{Content, Key, Store};
use crate::tree::{Body, Entry, Node};

const KIND: &str = "root";
/// Raise it when the same tree and options come to give other bytes.
const FORMAT: u32 = 2;
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
    let inputs = Inputs { tree: tree_digest(image)?, options: squashfs::options(), epoch: image.epoch };
    let key = Key::new(KIND, FORMAT, &inputs, &[("mksquashfs", &version)])?;
    if let Some(kept) = work.store.find(&key, FILE)? {
        return Ok(Root { path: kept.path, new: None });
    }
    let _step = work.progress.step("compressing the root file system");
    let scratch = work.store.scratch()?;
    let path = scratch.path().join(FILE);
    squashfs::write(image.tree(), image.epoch, &path)?;
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

/// An entry of the tree, as the key sees it.
#[derive(Serialize)]
struct Described<'a> {
    path: &'a str,
    mode: u32,
    uid: u32,
    gid: u32,
    xattrs: &'a std::collections::BTreeMap<String, Vec<u8>>,
    node: DescribedNode<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum DescribedNode<'a> {
    Directory,
    Symlink(&'a str),
    File { length: u64, content: String },
}

/// The digest of everything in the tree, one line of JSON for each entry.
fn tree_digest(image: &Image<'_>) -> Result<Digest> {
    let mut sink = DigestWriter::new(std::io::sink());
    for (path, entry) in &image.tree().entries {
        let described = describe(image, path, entry)?;
        serde_json::to_writer(&mut sink, &described)
            .map_err(std::io::Error::from)
            .and_then(|()| std::io::Write::write_all(&mut sink, b"\n"))
            .at("hashing", path)?;
    }
    Ok(sink.finish().1)
}

fn describe<'a>(image: &Image<'_>, path: &'a str, entry: &'a Entry) -> Result<Described<'a>> {
    let node = match &entry.node {
        Node::Directory => DescribedNode::Directory,
        Node::Symlink(target) => DescribedNode::Symlink(target),
        Node::File(body) => DescribedNode::File { length: body.len(), content: content(image, path, body)? },
    };
    Ok(Described { path, mode: entry.mode, uid: entry.uid, gid: entry.gid, xattrs: &entry.xattrs, node })
}

/// Content in a layer's tar is named by the tar's digest and the place in it, and is not read again.
fn content(image: &Image<'_>, path: &str, body: &Body) -> Result<String> {
    if let Body::Slice { file, offset, .. } = body
        && let Some(layer) = image.layers().iter().find(|layer| *layer.tar == **file)
    {
        return Ok(format!("{} {offset}", layer.diff_id));
    }
    let mut sink = DigestWriter::new(std::io::sink());
    body.open().and_then(|mut from| std::io::copy(&mut from, &mut sink)).at("reading", path)?;
    Ok(sink.finish().1.to_string())
}
