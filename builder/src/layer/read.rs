//! Reads tars written by Kiln or by a tool that it trusts. Keeps owners, modes with setuid, and extended
//! attributes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use crate::archive::members::{Kind, Member, Members};
use crate::archive::{hard_link, path, refuse};
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::layer::PackedLayer;
use crate::tree::{Body, Entry, Tree, TreePath};

/// The writer of a tar, which decides what it may contain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadPolicy {
    /// Written by [`super::pack`]: files, folders and links only.
    Layer,
    /// A whole operating system. Everything below `dev/` is left out, because the kernel's
    /// devtmpfs covers it. A device, pipe or socket anywhere else is an error.
    Base,
}

/// Reads a layer's tar back. Bodies are slices of `tar`, which must stay unchanged while the tree lives.
///
/// # Errors
/// [`crate::error::ErrorKind::Archive`] when it is damaged.
pub fn read_tree(tar: &Path) -> Result<Tree> {
    read_tar(tar, ReadPolicy::Layer)
}

/// The content of the layer `name`, one of these.
///
/// # Errors
/// [`ErrorKind::Internal`] if there is none; those of [`read_tree`].
pub fn tree_of(layers: &[PackedLayer], name: &str) -> Result<Tree> {
    let layer = layers.iter().find(|layer| layer.name == name);
    let missing = || Error::new(ErrorKind::Internal, format!("the layer {name} was not packed"));
    read_tree(&layer.ok_or_else(missing)?.tar)
}

/// Streams a tar into the new file `spool` and reads it from there; it must stay unchanged while the tree
/// lives.
///
/// # Errors
/// [`crate::error::ErrorKind::Archive`] if the stream is not a valid tar, or contains something that `policy`
/// does not allow.
pub fn tree_from_stream(mut from: impl Read, spool: &Path, policy: ReadPolicy) -> Result<Tree> {
    let mut file = File::create(spool).at("creating", spool)?;
    io::copy(&mut from, &mut file).at("writing", spool)?;
    drop(file);
    read_tar(spool, policy)
}

/// Reads any trusted tar in place, like [`read_tree`].
///
/// # Errors
/// [`crate::error::ErrorKind::Archive`] if it is not a valid tar, or contains something that `policy` does
/// not allow.
pub fn read_tar(tar: &Path, policy: ReadPolicy) -> Result<Tree> {
    let tar = std::path::absolute(tar).at("resolving", tar)?;
    let title = tar.display().to_string();
    let file: Arc<Path> = Arc::from(tar.as_path());
    let end = tar.metadata().at("reading", &tar)?.len();
    let mut members = Members::open(&tar, 0, end, &title)?;
    let mut entries: BTreeMap<TreePath, Entry> = BTreeMap::new();
    while let Some(member) = members.next()? {
        let fail = |reason: String| refuse(&title, &member.path, &reason);
        let path = path::clean(&member.path).map_err(fail)?;
        if path.is_empty() || (policy == ReadPolicy::Base && path.starts_with("dev/")) {
            continue;
        }
        let entry = entry(&member, &entries, &file).map_err(fail)?;
        if entries.insert(path, entry).is_some() {
            return Err(fail("it is in the tar twice".into()));
        }
    }
    Ok(Tree { entries })
}

fn entry(member: &Member, before: &BTreeMap<TreePath, Entry>, file: &Arc<Path>) -> Result<Entry, String> {
    let mut entry = match &member.kind {
        Kind::File => {
            let body = Body::Slice { file: Arc::clone(file), offset: member.offset, len: member.size };
            Entry::file(body, member.mode)
        }
        Kind::Directory => Entry::directory(member.mode),
        Kind::Symlink(target) => Entry::symlink(path::target(target)?),
        Kind::Hardlink(target) => return hard_link(target, before),
        Kind::Device => return Err("it is a device node".into()),
        Kind::Fifo => return Err("it is a named pipe".into()),
    };
    entry.uid = member.uid;
    entry.gid = member.gid;
    entry.xattrs = member.xattrs.iter().cloned().collect();
    Ok(entry)
}
