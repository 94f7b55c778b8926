//! Links to folders. A program that reads `/etc/x` finds what is below the folder that `/etc/x` leads to, but
//! a tree has no such paths.

use std::collections::{BTreeMap, VecDeque};

use crate::tree::merge::real_path;
use crate::tree::{Entry, Node, Tree};

/// What is behind links to folders.
#[derive(Debug, Default)]
pub(super) struct BehindLinks {
    /// The real path of each path that leads over such a link.
    pub(super) entries: BTreeMap<String, String>,
    /// A link whose content was left out, because there would be too many paths.
    pub(super) too_many: Option<String>,
}

/// The most paths, and the most bytes of all. Real images have few.
const MOST: usize = 20_000;
const MOST_BYTES: usize = 8 << 20;
/// The most links to folders in a path.
const DEEPEST: usize = 8;

/// Folders of programs, which other programs and not settings are in.
const OF_PROGRAMS: &[&str] = &[
    "bin",
    "lib",
    "lib32",
    "lib64",
    "libx32",
    "sbin",
    "usr/bin",
    "usr/lib32",
    "usr/lib64",
    "usr/libx32",
    "usr/sbin",
];
/// Folders in which checks look at every depth.
const DEEP: &[&str] = &[
    "boot/",
    "etc/",
    "root/",
    "run/",
    "usr/lib/systemd/",
    "usr/local/lib/",
    "usr/local/share/",
    "usr/share/polkit-1/",
    "var/lib/kubelet/",
];
/// How many folders deep links lie elsewhere.
const FLAT: usize = 3;

/// Whether a check may look for something behind a link at this path.
fn is_followed(path: &str) -> bool {
    let is_deep = DEEP.iter().any(|folder| path.starts_with(folder));
    !OF_PROGRAMS.contains(&path) && (is_deep || path.split('/').count() <= FLAT)
}

/// Every path that leads over a link to a folder.
pub(super) fn follow(tree: &Tree) -> BehindLinks {
    let mut behind = BehindLinks::default();
    let mut bytes = 0;
    let mut links: VecDeque<(String, String, usize)> = tree
        .entries
        .iter()
        .filter(|(path, _)| is_followed(path))
        .filter_map(|(path, entry)| Some((path.clone(), folder_behind(tree, path, entry)?, 1)))
        .collect();
    while let Some((link, folder, depth)) = links.pop_front() {
        if folder.is_empty() {
            behind.too_many.get_or_insert(link);
            continue;
        }
        for (real, entry) in tree.below(&folder) {
            let path = format!("{link}{}", &real[folder.len()..]);
            bytes += path.len() + real.len();
            if behind.entries.len() == MOST || bytes > MOST_BYTES || depth > DEEPEST {
                behind.too_many.get_or_insert(link);
                break;
            }
            if is_followed(&path)
                && let Some(inner) = folder_behind(tree, real, entry)
            {
                links.push_back((path.clone(), inner, depth + 1));
            }
            behind.entries.insert(path, real.clone());
        }
    }
    behind
}

/// The folder that the link `entry` at `path` leads to, unless it leads back to one above itself. That of the
/// whole root has no name.
fn folder_behind(tree: &Tree, path: &str, entry: &Entry) -> Option<String> {
    if !matches!(entry.node, Node::Symlink(_)) {
        return None;
    }
    let real = real_path(tree, path)?;
    let is_folder = real.is_empty() || tree.get(&real).is_some_and(|found| found.node == Node::Directory);
    (is_folder && !path.starts_with(&format!("{real}/"))).then_some(real)
}
