//! A tar archive: of a root file system, of an OCI layout, or of one disk image.

use std::fs::File;
use std::io;

use super::{Container, Source, oci, read as read_inner};
use crate::archive;
use crate::error::{IoContext, Result};
use crate::image_source::is_layout;
use crate::tree::{Body, Node, Tree};

pub(super) const CONTAINER: Container =
    Container { name: "a tar archive (plain, bzip2, gzip, xz, zstd)", is: archive::is_tar, read };

fn read(source: &Source<'_>) -> Result<Tree> {
    let tree = archive::root(source.path, source.title)?;
    if is_layout(&tree) {
        return oci::read_layout(&tree, source);
    }
    let Some(disk) = only_disk(&tree) else { return Ok(tree) };
    let path = source.spool.join("disk-in-archive");
    let mut to = File::create(&path).at("creating", &path)?;
    io::copy(&mut disk.open().at("reading", source.path)?, &mut to).at("writing", &path)?;
    read_inner(&Source { path: &path, ..*source })
}

/// The disk in an archive of nothing else, as clouds want it: `disk.raw`.
fn only_disk(tree: &Tree) -> Option<&Body> {
    let mut entries = tree.entries.iter();
    let (Some((path, entry)), None) = (entries.next(), entries.next()) else { return None };
    match &entry.node {
        Node::File(body) if path.ends_with(".raw") || path.ends_with(".qcow2") => Some(body),
        _ => None,
    }
}
