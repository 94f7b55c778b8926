//! Files that two trees do not have alike.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use serde::Serialize;

use crate::digest::{Digest, DigestReader};
use crate::error::{IoContext, Result};
use crate::lock::diff::What;
use crate::tree::{Body, Entry, Node, Tree};

/// A file, folder or link that is not the same in both images.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct FileChange {
    /// What happened.
    pub what: What,
    /// Where, from `/`.
    pub path: String,
    /// What is another: all of it, if the file came or went.
    pub aspects: Vec<Aspect>,
}

/// A property of a file.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Aspect {
    /// Which: `kind`, `content`, `size`, `mode`, `owner`, `link` or the name of an extended attribute.
    pub of: String,
    /// Its value before.
    pub from: Option<String>,
    /// Its value after.
    pub to: Option<String>,
}

/// Everything in which the trees differ, in the order of paths.
pub(super) fn changes(old: &Tree, new: &Tree) -> Result<Vec<FileChange>> {
    let mut changes = Vec::new();
    let mut before = old.entries.iter().peekable();
    let mut after = new.entries.iter().peekable();
    loop {
        let (path, from, to) = match (before.peek(), after.peek()) {
            (None, None) => return Ok(changes),
            (Some((path, from)), Some((other, to))) if path == other => (*path, Some(*from), Some(*to)),
            (Some((path, from)), Some((other, _))) if path < other => (*path, Some(*from), None),
            (Some((path, from)), None) => (*path, Some(*from), None),
            (_, Some((path, to))) => (*path, None, Some(*to)),
        };
        if from.is_some() {
            before.next();
        }
        if to.is_some() {
            after.next();
        }
        let aspects = aspects(path, from, to)?;
        if !aspects.is_empty() {
            let what = What::of_presence(from.is_some(), to.is_some());
            changes.push(FileChange { what, path: format!("/{path}"), aspects });
        }
    }
}

/// In what two entries differ.
fn aspects(path: &str, from: Option<&Entry>, to: Option<&Entry>) -> Result<Vec<Aspect>> {
    let (mut old, mut new) = (properties(from), properties(to));
    if let (Some(Node::File(from)), Some(Node::File(to))) = (from.map(|it| &it.node), to.map(|it| &it.node)) {
        let (from, to) = (digest(from, path)?, digest(to, path)?);
        old.insert("content".to_owned(), from);
        new.insert("content".to_owned(), to);
    }
    Ok(changed(&old, &new))
}

/// The properties that are not the same, in the order of their names.
pub(super) fn changed<N: Ord + AsRef<str>>(
    old: &BTreeMap<N, String>,
    new: &BTreeMap<N, String>,
) -> Vec<Aspect> {
    let names: BTreeSet<&N> = old.keys().chain(new.keys()).collect();
    let changed = names.into_iter().filter(|name| old.get(*name) != new.get(*name));
    let aspect = |name: &N| Aspect {
        of: name.as_ref().to_owned(),
        from: old.get(name).cloned(),
        to: new.get(name).cloned(),
    };
    changed.map(aspect).collect()
}

fn properties(entry: Option<&Entry>) -> BTreeMap<String, String> {
    let Some(entry) = entry else { return BTreeMap::new() };
    let mut properties = BTreeMap::from([
        ("mode".to_owned(), format!("{:04o}", entry.mode)),
        ("owner".to_owned(), format!("{}:{}", entry.uid, entry.gid)),
    ]);
    let kind = match &entry.node {
        Node::Directory => "folder",
        Node::File(body) => {
            properties.insert("size".to_owned(), body.len().to_string());
            "file"
        }
        Node::Symlink(target) => {
            properties.insert("link".to_owned(), target.clone());
            "link"
        }
    };
    properties.insert("kind".to_owned(), kind.to_owned());
    properties.extend(entry.xattrs.iter().map(|(name, value)| (name.clone(), hex::encode(value))));
    properties
}

fn digest(body: &Body, path: &str) -> Result<String> {
    let read = || -> io::Result<Digest> {
        let mut from = DigestReader::new(body.open()?);
        io::copy(&mut from, &mut io::sink())?;
        Ok(from.finish())
    };
    read().map(|digest| digest.to_string()).at("reading", path)
}
