//! What a machine boots from the network.

use std::path::PathBuf;

use crate::tree::{Body, Tree};

/// A kernel and an initrd that carries the root.
#[derive(Debug)]
pub struct NetworkSet {
    /// The kernel.
    pub kernel: Body,
    /// The initrd; finished archives can be appended to it.
    pub initrd: PathBuf,
    /// The content of the archive to append: files and folders.
    pub appended: Tree,
    /// Arguments of the kernel besides those of the definition.
    pub arguments: &'static [&'static str],
}
