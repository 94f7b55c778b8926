//! The kernel: the only `boot/vmlinuz-*` of the tree.

use crate::assembly::Packages;
use crate::error::{Error, ErrorKind, Result};
use crate::tree::{Body, Node, Tree};

/// The kernel of an image.
#[derive(Debug, Clone, Copy)]
pub struct Kernel<'a> {
    /// Its release ("6.12.48-cloud-amd64").
    pub version: &'a str,
    pub body: &'a Body,
}

/// The kernel in `boot/`.
///
/// # Errors
/// When there is none, or more than one.
pub fn find(tree: &Tree, packages: Packages) -> Result<Kernel<'_>> {
    let mut found = tree.below("boot").filter_map(|(path, entry)| match &entry.node {
        Node::File(body) => Some(Kernel { version: path.strip_prefix("boot/vmlinuz-")?, body }),
        _ => None,
    });
    let error = |message: String| Error::new(ErrorKind::Definition, message);
    match (found.next(), found.next()) {
        (Some(kernel), None) => Ok(kernel),
        (None, _) => {
            Err(error("the image has no kernel: no boot/vmlinuz-* in it".to_owned())
                .help(packages.add_kernel()))
        }
        (Some(one), Some(other)) => {
            let message =
                format!("the image has more than one kernel: {} and {}", one.version, other.version);
            Err(error(message).help(packages.keep_one_kernel()))
        }
    }
}
