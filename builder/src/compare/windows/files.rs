//! Files of two images of Windows. Names that differ in case alone are one.

use std::collections::{BTreeMap, BTreeSet};

use super::super::files::changed;
use super::super::folders::{self, FolderSize};
use super::super::{Aspect, FileChange};
use crate::definition::windows::names::{DRIVE, folded};
use crate::format::wim_list::{Entry, Kind, Names, is_stream};
use crate::lock::diff::What;

/// Files by the form in which their paths are compared; what is below a folder follows it at once.
type ByPath<'a> = BTreeMap<String, &'a Entry>;

/// Attributes that are compared; how a volume stores a file is its own matter.
const ATTRIBUTES: [(u32, &str); 4] =
    [(1, "read-only"), (2, "hidden"), (4, "of the system"), (0x4000, "encrypted")];

fn by_path(files: &[Entry]) -> ByPath<'_> {
    let mut by_path = ByPath::new();
    for file in files {
        let key = folded(&file.path).replace('\\', "\u{1}");
        // A volume may have two names that are one to Windows: both are told.
        let key = if by_path.contains_key(&key) { format!("{key}\u{2}{}", file.path) } else { key };
        by_path.insert(key, file);
    }
    by_path
}

/// Everything in which the files differ, in the order of paths.
pub(super) fn changes(old: &[Entry], new: &[Entry]) -> Vec<FileChange> {
    let (old, new) = (by_path(old), by_path(new));
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let change = |key: &String| {
        let (from, to) = (old.get(key).copied(), new.get(key).copied());
        let aspects = aspects(from, to);
        let what = What::of_presence(from.is_some(), to.is_some());
        let path = format!("{DRIVE}{}", to.or(from)?.path);
        (!aspects.is_empty()).then_some(FileChange { what, path, aspects })
    };
    keys.into_iter().filter_map(change).collect()
}

fn aspects(from: Option<&Entry>, to: Option<&Entry>) -> Vec<Aspect> {
    let (mut old, mut new) = (properties(from), properties(to));
    if let (Some(from), Some(to)) = (from, to) {
        if from.path != to.path {
            old.insert("name", from.path.clone());
            new.insert("name", to.path.clone());
        }
        if let Some((from, to)) = from.rights.zip(to.rights) {
            old.insert("rights", format!("{:.19}", from.to_string()));
            new.insert("rights", format!("{:.19}", to.to_string()));
        }
    }
    changed(&old, &new)
}

fn properties(entry: Option<&Entry>) -> BTreeMap<&'static str, String> {
    let Some(entry) = entry else { return BTreeMap::new() };
    let (kind, has_content) = match entry.kind {
        Kind::Folder => ("folder", false),
        Kind::File => ("file", true),
        Kind::Link => ("link", true),
    };
    let mut properties = BTreeMap::from([("kind", kind.to_owned())]);
    if has_content {
        properties.insert("size", entry.size.to_string());
        let content = entry.sha1.as_ref().map_or_else(|| "empty".to_owned(), |sha1| format!("sha1:{sha1}"));
        properties.insert("content", content);
    }
    let attributes = ATTRIBUTES.iter().filter(|(bit, _)| entry.attributes & bit != 0);
    let attributes: Vec<&str> = attributes.map(|(_, name)| *name).collect();
    // The root of a volume is hidden, and that of a WIM is not.
    if !attributes.is_empty() && !entry.path.is_empty() {
        properties.insert("attributes", attributes.join(", "));
    }
    if entry.tag != 0 {
        properties.insert("reparse tag", format!("{:#x}", entry.tag));
    }
    properties
}

/// Folders whose size is another one.
pub(super) fn folders(old: &[Entry], new: &[Entry]) -> Vec<FolderSize> {
    /// A file with several names counts once, as on the disk.
    fn sizes(files: &[Entry]) -> impl Iterator<Item = (String, u64)> {
        let mut names = Names::default();
        let is_first = move |file: &&Entry| names.is_first(&file.path, file.link_group);
        files.iter().filter(is_first).map(|file| (file.path.replace('\\', "/"), file.size))
    }
    let mut folders = folders::changed(sizes(old), sizes(new), folded);
    for one in &mut folders {
        one.folder = format!("{DRIVE}{}", one.folder.trim_start_matches('/').replace('/', "\\"));
    }
    folders
}

/// Why rights of files are not compared, if those of some are not known.
pub(super) fn without_rights(old: &[Entry], new: &[Entry], titles: [&str; 2]) -> Option<String> {
    let count =
        |files: &[Entry]| files.iter().filter(|file| file.rights.is_none() && !is_stream(&file.path)).count();
    let missing: Vec<String> = [(count(old), titles[0]), (count(new), titles[1])]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, title)| format!("{title} does not tell those of {count}"))
        .collect();
    (!missing.is_empty()).then(|| missing.join("; "))
}
