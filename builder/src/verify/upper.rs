//! The upper sides of overlays: what a machine that has run changed in folders of its read-only root. Whoever
//! boots a copy of its disk finds the changed folder, so that is what is checked.

use std::collections::BTreeMap;

use super::{Findings, Subject};
use crate::tree::merge::real_path;
use crate::tree::overlay::{OPAQUE, REDIRECT, WHITEOUT};
use crate::tree::{Entry, Node, Tree};

/// Folders that are overlays on every machine, and their upper sides below `/var`.
const SIDES: [(&str, &str); 2] = [("etc", contract::ETC_UPPER), ("opt", "lib/kiln/opt/upper")];

/// The upper sides, and what they lie over. They may be behind links.
fn sides(tree: &Tree) -> impl Iterator<Item = (&'static str, String)> {
    SIDES.into_iter().filter_map(|(folder, upper)| {
        let upper = real_path(tree, &format!("var/{upper}"))?;
        tree.below(&upper).next().is_some().then_some((folder, upper))
    })
}

/// Lays all upper sides over their folders, as the kernel does.
pub(super) fn lay(tree: &mut Tree) {
    let sides: Vec<_> = sides(tree).collect();
    for (folder, upper) in sides {
        Overlay::new(tree, folder).lay(&upper);
    }
}

/// A fresh image has no upper side: its machines make it.
pub(super) fn changes(subject: &Subject, findings: &mut Findings<'_>) {
    for (folder, upper) in sides(&subject.tree) {
        let count = subject.tree.below(&upper).count();
        findings.at(&upper, format!("what another machine changed in /{folder} ({count} files and folders)"));
    }
}

struct Overlay<'a> {
    tree: &'a mut Tree,
    folder: &'static str,
    /// The folder as it was below the upper side.
    lower: Tree,
    /// Where folders that were renamed are below.
    renamed: BTreeMap<String, String>,
}

impl<'a> Overlay<'a> {
    fn new(tree: &'a mut Tree, folder: &'static str) -> Self {
        let below = tree.below(folder).map(|(path, entry)| (path.clone(), entry.clone()));
        let lower = Tree { entries: below.collect() };
        Self { tree, folder, lower, renamed: BTreeMap::new() }
    }

    fn lay(mut self, upper: &str) {
        let top = self.tree.get(upper).cloned();
        let changes: Vec<(String, Entry)> = self
            .tree
            .below(upper)
            .map(|(path, entry)| (format!("{}{}", self.folder, &path[upper.len()..]), entry.clone()))
            .collect();
        if let Some(top) = top {
            self.folder(self.folder.to_owned(), top);
        }
        for (path, entry) in changes {
            match entry.node {
                _ if has(&entry, WHITEOUT) => self.tree.remove(&path),
                Node::Directory => self.folder(path, entry),
                Node::File(_) | Node::Symlink(_) => {
                    self.tree.remove(&path);
                    self.tree.insert(path, entry);
                }
            }
        }
    }

    /// A folder of the upper side: it hides what is below, or adds to it, or to what had another name.
    fn folder(&mut self, path: String, entry: Entry) {
        let was_folder = self.tree.get(&path).is_some_and(|below| below.node == Node::Directory);
        let before = attribute(&entry, REDIRECT).map(|name| self.place_below(&path, &name));
        if !was_folder || before.is_some() || has(&entry, OPAQUE) {
            self.tree.remove(&path);
        }
        if let Some(before) = before {
            for (below, entry) in self.lower.below(&before) {
                self.tree.insert(format!("{path}{}", &below[before.len()..]), entry.clone());
            }
            self.renamed.insert(path.clone(), before);
        }
        self.tree.insert(path, entry);
    }

    /// Where the folder at `path` is below, whose attribute says `name`: from the top, or beside it.
    fn place_below(&self, path: &str, name: &str) -> String {
        if let Some(from_top) = name.strip_prefix('/') {
            return format!("{}/{from_top}", self.folder);
        }
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        format!("{}/{name}", self.renamed.get(parent).map_or(parent, String::as_str))
    }
}

fn has(entry: &Entry, name: &str) -> bool {
    attribute(entry, name).is_some()
}

/// An attribute of overlays: those that a user mounts have other names.
fn attribute(entry: &Entry, name: &str) -> Option<String> {
    let found = ["trusted", "user"].iter().find_map(|space| entry.xattrs.get(&format!("{space}.{name}")));
    found.map(|value| String::from_utf8_lossy(value).into_owned())
}
