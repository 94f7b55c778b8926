//! A picture of where the bytes of an image are: a strip of its layers, and a treemap of its folders.
//!
//! The same image gives the same picture.

mod squarify;
mod svg;

use std::collections::BTreeMap;

use crate::definition::windows::names::folded;
use crate::tree::{Node, Tree};

pub use svg::{html, svg};

/// What is drawn.
#[derive(Debug)]
pub struct SizeMap {
    /// The image's name.
    pub title: String,
    /// Names and sizes of its layers, the base first; none if nothing tells them.
    pub layers: Vec<(String, u64)>,
    /// The root folder; `None` if no file of the image could be read.
    pub root: Option<Folder>,
}

/// A folder or a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Folder {
    /// Bytes of all files below it.
    pub size: u64,
    /// How many files those are.
    pub files: u64,
    /// What it holds, by name; nothing if it is a file.
    pub children: BTreeMap<String, Folder>,
}

impl Folder {
    /// The files of a tree.
    pub fn of(tree: &Tree) -> Self {
        let mut root = Self::default();
        for (path, entry) in &tree.entries {
            if let Node::File(body) = &entry.node {
                root.add(path, body.len());
            }
        }
        root
    }

    /// The files with these paths, `\` between their parts, and sizes. Folders whose names differ in case
    /// alone are one.
    pub fn of_windows(files: &[(String, u64)]) -> Self {
        let mut root = Self::default();
        let mut spelled: BTreeMap<String, &str> = BTreeMap::new();
        for (path, size) in files {
            let (folder, name) = path.rsplit_once('\\').unwrap_or(("", path));
            let folder = *spelled.entry(folded(folder)).or_insert(folder);
            root.add(format!("{folder}\\{name}").trim_start_matches('\\').replace('\\', "/").as_str(), *size);
        }
        root
    }

    fn add(&mut self, path: &str, size: u64) {
        let mut folder = self;
        folder.size += size;
        folder.files += 1;
        for name in path.split('/') {
            folder = folder.children.entry(name.to_owned()).or_default();
            folder.size += size;
            folder.files += 1;
        }
    }
}

#[cfg(test)]
mod tests;
