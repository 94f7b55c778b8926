//! Sizes by folder.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::tree::{Node, Tree};

/// How many folders deep sizes are told apart.
const DEPTH: usize = 3;

/// A folder that has another size than before, with everything below it.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct FolderSize {
    /// The folder, from `/`.
    pub folder: String,
    /// Bytes of its files before.
    pub from: u64,
    /// Bytes of its files after.
    pub to: u64,
}

impl FolderSize {
    /// How much it has grown or shrunk.
    pub fn difference(&self) -> u64 {
        self.from.abs_diff(self.to)
    }
}

/// Folders whose size is another one, the largest difference first.
pub(super) fn changes(old: &Tree, new: &Tree) -> Vec<FolderSize> {
    let mut folders: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for (folder, size) in sizes(old) {
        folders.entry(folder).or_default().0 = size;
    }
    for (folder, size) in sizes(new) {
        folders.entry(folder).or_default().1 = size;
    }
    let mut changed: Vec<FolderSize> = folders
        .into_iter()
        .filter(|(_, (from, to))| from != to)
        .map(|(folder, (from, to))| FolderSize { folder: format!("/{folder}"), from, to })
        .collect();
    changed.sort_by_key(|one| std::cmp::Reverse(one.difference()));
    changed
}

/// Bytes of the files below each folder; the root is the empty path.
fn sizes(tree: &Tree) -> BTreeMap<&str, u64> {
    let mut sizes: BTreeMap<&str, u64> = BTreeMap::new();
    for (path, entry) in &tree.entries {
        let Node::File(body) = &entry.node else { continue };
        *sizes.entry("").or_default() += body.len();
        for (slash, _) in path.match_indices('/').take(DEPTH) {
            *sizes.entry(&path[..slash]).or_default() += body.len();
        }
    }
    sizes
}
