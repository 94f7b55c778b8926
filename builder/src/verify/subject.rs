//! The files of an image to be checked, as the programs in it would see them.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use super::links::{self, BehindLinks};
use super::{Findings, Subject};
use crate::archive::pattern;
use crate::tree::merge::real_path;
use crate::tree::{Body, Entry, Node};

/// The largest file in which text is looked for, in bytes.
pub(super) const LARGEST_TEXT: u64 = 1 << 20;

impl Subject {
    /// The file at `path`, behind links too, and its content.
    pub(super) fn file(&self, path: &str) -> Option<(&Entry, &Body)> {
        let entry = self.tree.get(&real_path(&self.tree, path)?)?;
        match &entry.node {
            Node::File(body) => Some((entry, body)),
            _ => None,
        }
    }

    /// The text of a file, behind links too. One that is too large is a finding.
    pub(super) fn text(&self, path: &str) -> Option<String> {
        self.text_of_at_most(path, LARGEST_TEXT)
    }

    /// The same, with another limit.
    pub(super) fn text_of_at_most(&self, path: &str, most: u64) -> Option<String> {
        let (_, body) = self.file(path)?;
        if body.len() > most {
            let why = format!("it has {} bytes, and at most {most} are read", body.len());
            self.not_read(format!("/{path}"), why);
            return None;
        }
        match body.read() {
            Ok(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) => {
                self.not_read(format!("/{path}"), format!("it cannot be read: {error}"));
                None
            }
        }
    }

    /// What is below a folder. The folder, those above it and those below it may be links.
    pub(super) fn below<'a>(&'a self, folder: &str) -> impl Iterator<Item = (&'a str, &'a Entry)> + use<'a> {
        let prefix = format!("{folder}/");
        let behind = self.behind_links().entries.range(prefix.clone()..);
        let behind = behind.take_while(move |(path, _)| path.starts_with(&prefix));
        let own = self.tree.below(folder).map(|(path, entry)| (path.as_str(), entry));
        own.chain(behind.filter_map(|behind| self.behind(behind)))
    }

    /// What has a path that matches the pattern, behind links to folders too.
    pub(super) fn matching<'a>(&'a self, wanted: &'a str) -> impl Iterator<Item = (&'a str, &'a Entry)> {
        let own = pattern::entries(&self.tree, wanted).map(|(path, entry)| (path.as_str(), entry));
        let behind = pattern::select(&self.behind_links().entries, wanted);
        own.chain(behind.filter_map(|behind| self.behind(behind)))
    }

    /// Paths and texts of the files below a folder.
    pub(super) fn texts<'a>(&'a self, folder: &str) -> impl Iterator<Item = (&'a str, String)> + use<'a> {
        self.texts_of(folder, |_| true)
    }

    /// Those of the files that have a wanted path; no others are read.
    pub(super) fn texts_of<'a, Is: Fn(&str) -> bool>(
        &'a self,
        folder: &str,
        is_wanted: Is,
    ) -> impl Iterator<Item = (&'a str, String)> + use<'a, Is> {
        let below = self.below(folder).filter(move |(path, _)| is_wanted(path));
        below.filter_map(|(path, _)| Some((path, self.text(path)?)))
    }

    fn behind<'a>(&'a self, (path, real): (&'a String, &String)) -> Option<(&'a str, &'a Entry)> {
        Some((path.as_str(), self.tree.get(real)?))
    }

    fn behind_links(&self) -> &BehindLinks {
        self.behind_links.get_or_init(|| {
            let behind = links::follow(&self.tree);
            if let Some(link) = &behind.too_many {
                self.not_read(format!("/{link}"), "links lead to more files than are looked at".to_owned());
            }
            behind
        })
    }

    pub(super) fn not_read(&self, what: String, why: String) {
        self.unread.lock().unwrap_or_else(PoisonError::into_inner).insert(what, why);
    }

    /// What checks wanted to read and could not.
    pub(super) fn unread(&self) -> BTreeMap<String, String> {
        self.unread.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What no check could read. That nothing was found in it says nothing.
pub(super) fn unread(subject: &Subject, findings: &mut Findings<'_>) {
    for (what, why) in subject.unread() {
        findings.add(what, why);
    }
}
