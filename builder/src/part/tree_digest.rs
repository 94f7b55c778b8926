//! The digest of a tree, for the keys of what is made of it.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::digest::{Digest, DigestWriter};
use crate::error::{IoContext, Result};
use crate::layer::PackedLayer;
use crate::tree::{Body, Entry, Node, Tree};

/// An entry of the tree, as the key sees it.
#[derive(Serialize)]
struct Described<'a> {
    path: &'a str,
    mode: u32,
    uid: u32,
    gid: u32,
    xattrs: &'a BTreeMap<String, Vec<u8>>,
    node: DescribedNode<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum DescribedNode<'a> {
    Directory,
    Symlink(&'a str),
    File { length: u64, content: String },
}

/// The digest of everything in `tree`, one line of JSON for each entry. Most contents are in the tars of
/// `layers`.
///
/// # Errors
/// When a content cannot be read.
pub(super) fn tree_digest(tree: &Tree, layers: &[PackedLayer]) -> Result<Digest> {
    let mut sink = DigestWriter::new(std::io::sink());
    for (path, entry) in &tree.entries {
        let described = describe(layers, path, entry)?;
        serde_json::to_writer(&mut sink, &described)
            .map_err(std::io::Error::from)
            .and_then(|()| std::io::Write::write_all(&mut sink, b"\n"))
            .at("hashing", path)?;
    }
    Ok(sink.finish().1)
}

fn describe<'a>(layers: &[PackedLayer], path: &'a str, entry: &'a Entry) -> Result<Described<'a>> {
    let node = match &entry.node {
        Node::Directory => DescribedNode::Directory,
        Node::Symlink(target) => DescribedNode::Symlink(target),
        Node::File(body) => DescribedNode::File { length: body.len(), content: content(layers, path, body)? },
    };
    Ok(Described { path, mode: entry.mode, uid: entry.uid, gid: entry.gid, xattrs: &entry.xattrs, node })
}

/// Content in a layer's tar is named by the tar's digest and the place in it, and is not read again.
fn content(layers: &[PackedLayer], path: &str, body: &Body) -> Result<String> {
    if let Body::Slice { file, offset, .. } = body
        && let Some(layer) = layers.iter().find(|layer| *layer.tar == **file)
    {
        return Ok(format!("{} {offset}", layer.diff_id));
    }
    let mut sink = DigestWriter::new(std::io::sink());
    body.open().and_then(|mut from| std::io::copy(&mut from, &mut sink)).at("reading", path)?;
    Ok(sink.finish().1.to_string())
}
