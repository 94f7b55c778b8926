//! A tar archive.

use super::{Container, Source};
use crate::archive;
use crate::error::Result;
use crate::tree::Tree;

pub(super) const CONTAINER: Container =
    Container { name: "a tar archive (plain, gzip, xz, zstd)", is: archive::is_tar, read };

fn read(source: &Source<'_>) -> Result<Tree> {
    archive::root(source.path, source.title)
}
