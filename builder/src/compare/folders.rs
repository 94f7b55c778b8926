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
    changed(files(old), files(new), str::to_owned)
}

fn files(tree: &Tree) -> impl Iterator<Item = (String, u64)> {
    tree.entries.iter().filter_map(|(path, entry)| match &entry.node {
        Node::File(body) => Some((path.clone(), body.len())),
        _ => None,
    })
}

/// The same of files by their paths, with `/` between the parts; `compared` gives the form in which names are
/// compared.
pub(super) fn changed(
    old: impl Iterator<Item = (String, u64)>,
    new: impl Iterator<Item = (String, u64)>,
    compared: fn(&str) -> String,
) -> Vec<FolderSize> {
    let mut folders = BTreeMap::new();
    for (path, size) in old {
        add(&path, compared, &mut folders, |folder| folder.from += size);
    }
    for (path, size) in new {
        add(&path, compared, &mut folders, |folder| folder.to += size);
    }
    let mut changed: Vec<FolderSize> =
        folders.into_values().filter(|folder| folder.from != folder.to).collect();
    changed.sort_by_key(|one| std::cmp::Reverse(one.difference()));
    changed
}

/// Adds a file to each folder that it is in; the root is the empty path.
fn add(
    path: &str,
    compared: fn(&str) -> String,
    folders: &mut BTreeMap<String, FolderSize>,
    to: impl Fn(&mut FolderSize),
) {
    let ends = path.match_indices('/').take(DEPTH).map(|(slash, _)| slash);
    for end in std::iter::once(0).chain(ends) {
        let folder = &path[..end];
        to(folders.entry(compared(folder)).or_insert_with(|| FolderSize {
            folder: format!("/{folder}"),
            from: 0,
            to: 0,
        }));
    }
}
