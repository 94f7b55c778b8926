//! Merges layers into one tree. Two layers that write the same path are an error unless the upper one
//! replaces it explicitly.

use std::collections::{BTreeMap, BTreeSet};

use super::near::suggest;
use super::{Entry, Node, Tree, TreePath};
use crate::error::{Error, ErrorKind, Result};

/// The most links followed for one path, as in Linux.
const HOPS: usize = 40;

/// A layer to merge.
#[derive(Debug, Clone, Copy)]
pub struct Layer<'a> {
    /// The name, for error messages.
    pub name: &'a str,
    /// The layer's entries; parent folders may be missing.
    pub tree: &'a Tree,
    /// Paths of lower layers that this layer replaces.
    pub replaces: &'a [String],
}

/// Several layers as one tree.
#[derive(Debug, Clone, Default)]
pub struct Merged {
    /// The tree with all parent folders.
    pub tree: Tree,
    /// For each path, the number of its layer; the lowest layer is 0. A folder belongs to the lowest layer
    /// that needs it.
    pub owner: BTreeMap<TreePath, usize>,
}

/// Merges `layers`, lowest first.
///
/// # Errors
/// [`ErrorKind::Definition`] if layers contradict each other, or a layer writes below a link or a file, or
/// replaces a path that does not exist.
pub fn merge(layers: &[Layer<'_>]) -> Result<Merged> {
    let mut merge = Merge::default();
    for (index, layer) in layers.iter().enumerate() {
        merge.add(layers, index, layer)?;
    }
    Ok(merge.merged)
}

#[derive(Default)]
struct Merge {
    merged: Merged,
    /// Folders that no layer declares. They exist only because of their contents, and a declaration overrides
    /// them.
    implied: BTreeSet<TreePath>,
}

impl Merge {
    fn add(&mut self, layers: &[Layer<'_>], index: usize, layer: &Layer<'_>) -> Result<()> {
        let mut replaced = BTreeSet::new();
        for (path, entry) in &layer.tree.entries {
            self.check_parents(layers, layer, path)?;
            self.imply_parents(path, index);
            if self.place(layers, index, layer, path, entry)? {
                replaced.insert(path.as_str());
            }
        }
        match layer.replaces.iter().find(|path| !replaced.contains(path.as_str())) {
            None => Ok(()),
            Some(idle) => Err(self.replaces_nothing(layer, idle)),
        }
    }

    /// Puts `entry` at `path`. Returns whether it replaced an entry of a lower layer.
    fn place(
        &mut self,
        layers: &[Layer<'_>],
        index: usize,
        layer: &Layer<'_>,
        path: &str,
        entry: &Entry,
    ) -> Result<bool> {
        let folder = entry.node == Node::Directory;
        let Some(old) = self.merged.tree.get(path) else {
            self.set(path, entry, index);
            return Ok(false);
        };
        if folder && self.implied.remove(path) {
            self.merged.tree.insert(path, entry.clone());
            return Ok(false);
        }
        let may_replace = layer.replaces.iter().any(|replaced| replaced == path);
        if folder && old == entry && !may_replace {
            return Ok(false);
        }
        if !may_replace {
            return Err(self.conflict(layers, layer, path, entry));
        }
        if folder && old.node == Node::Directory {
            self.merged.tree.insert(path, entry.clone());
        } else {
            self.remove(path);
            self.set(path, entry, index);
        }
        Ok(true)
    }

    fn set(&mut self, path: &str, entry: &Entry, index: usize) {
        self.merged.tree.insert(path, entry.clone());
        self.merged.owner.insert(path.to_owned(), index);
    }

    fn remove(&mut self, path: &str) {
        let below: Vec<TreePath> = self.merged.tree.below(path).map(|(below, _)| below.clone()).collect();
        for path in below.iter().map(String::as_str).chain([path]) {
            self.merged.tree.entries.remove(path);
            self.merged.owner.remove(path);
            self.implied.remove(path);
        }
    }

    fn imply_parents(&mut self, path: &str, index: usize) {
        for (slash, _) in path.match_indices('/') {
            let parent = &path[..slash];
            if self.merged.tree.get(parent).is_none() {
                self.set(parent, &Entry::directory(0o755), index);
                self.implied.insert(parent.to_owned());
            }
        }
    }

    fn check_parents(&self, layers: &[Layer<'_>], layer: &Layer<'_>, path: &str) -> Result<()> {
        for (slash, _) in path.match_indices('/') {
            let parent = &path[..slash];
            let Some(entry) = self.merged.tree.get(parent) else { return Ok(()) };
            if entry.node == Node::Directory {
                continue;
            }
            let kind = if matches!(entry.node, Node::File(_)) { "file" } else { "link" };
            let error = Error::new(
                ErrorKind::Definition,
                format!(
                    "layer {} writes {path}, but {parent} is a {kind} of layer {}",
                    layer.name,
                    self.owner_name(layers, parent)
                ),
            );
            return Err(error.help(match real_path(&self.merged.tree, path) {
                Some(real) if real != path => format!("write {real} instead"),
                _ => "choose another path".to_owned(),
            }));
        }
        Ok(())
    }

    fn conflict(&self, layers: &[Layer<'_>], layer: &Layer<'_>, path: &str, entry: &Entry) -> Error {
        let lower = self.owner_name(layers, path);
        let how = match self.merged.tree.get(path) {
            Some(old) if old.node == Node::Directory && entry.node == Node::Directory => {
                format!(" as folders that differ ({} and {})", describe(old), describe(entry))
            }
            _ => String::new(),
        };
        Error::new(ErrorKind::Definition, format!("layers {lower} and {} both write {path}{how}", layer.name))
            .help(format!(
                "add \"{path}\" to replaces of layer {} when it shall win, or remove one of them",
                layer.name
            ))
    }

    fn replaces_nothing(&self, layer: &Layer<'_>, path: &str) -> Error {
        let reason = match (layer.tree.get(path).is_some(), self.merged.tree.get(path).is_some()) {
            (false, true) => "but does not write it",
            (true, _) => "but no lower layer writes it",
            (false, false) => "but no layer writes it",
        };
        let names = self.merged.tree.entries.keys().map(String::as_str);
        let near = if layer.tree.get(path).is_some() {
            None
        } else {
            Some(suggest(path, names, "remove it from replaces"))
        };
        Error::new(ErrorKind::Definition, format!("layer {} replaces {path}, {reason}", layer.name))
            .help(near.unwrap_or_else(|| "remove it from replaces".to_owned()))
    }

    fn owner_name<'a>(&self, layers: &[Layer<'a>], path: &str) -> &'a str {
        self.merged
            .owner
            .get(path)
            .and_then(|index| layers.get(*index))
            .map_or("?", |layer| layer.name)
    }
}

fn describe(entry: &Entry) -> String {
    let attributes = if entry.xattrs.is_empty() { "" } else { ", extended attributes" };
    format!("mode {:04o}, owner {}:{}{attributes}", entry.mode, entry.uid, entry.gid)
}

/// Resolves all links in `path` inside `tree`, with the tree's root as `/`. `None` if the links form a loop.
/// A path that does not exist is resolved as far as it exists.
pub fn real_path(tree: &Tree, path: &str) -> Option<TreePath> {
    let mut todo: Vec<String> = Vec::new();
    let push = |todo: &mut Vec<String>, text: &str| {
        todo.extend(text.split('/').rev().filter(|part| !part.is_empty() && *part != ".").map(str::to_owned))
    };
    push(&mut todo, path);
    let mut place: Vec<String> = Vec::new();
    let mut hops = 0;
    while let Some(component) = todo.pop() {
        if component == ".." {
            place.pop();
            continue;
        }
        place.push(component);
        let Some(Entry { node: Node::Symlink(target), .. }) = tree.get(&place.join("/")) else { continue };
        hops += 1;
        if hops > HOPS {
            return None;
        }
        place.pop();
        if target.starts_with('/') {
            place.clear();
        }
        push(&mut todo, target);
    }
    Some(place.join("/"))
}

#[cfg(test)]
#[path = "merge_tests.rs"]
mod tests;
