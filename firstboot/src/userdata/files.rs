//! Extra files: the files in user data besides the node config.

use std::collections::HashMap;
use std::fmt;

use super::bounds::{Bytes, append, wrong};
use crate::document::Document;
use crate::document::LIMIT;
use crate::error::Result;
use crate::paths;

/// The user and group of a file: names, or numbers in digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// A name, or a number in digits.
    pub user: String,
    /// A name, or a number in digits.
    pub group: String,
}

impl Default for Owner {
    fn default() -> Self {
        Self { user: "root".to_owned(), group: "root".to_owned() }
    }
}

impl Owner {
    /// `user:group`, `user`, or nothing for root.
    pub fn parse(text: &str) -> Self {
        let (user, group) = text.split_once(':').unwrap_or((text, ""));
        let named =
            |name: &str| if name.trim().is_empty() { "root".to_owned() } else { name.trim().to_owned() };
        Self { user: named(user), group: named(group) }
    }
}

/// A file to be written before the join.
pub struct ExtraFile {
    /// Absolute, without `.` and `..`.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// The owner.
    pub owner: Owner,
    /// Whether the content is appended to an existing file.
    pub appends: bool,
    /// The content, which may be secret.
    pub content: Document,
}

/// The path and the owner are user data too, so they are not shown.
impl fmt::Debug for ExtraFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ExtraFile({:04o}, {:?})", self.mode, self.content)
    }
}

impl ExtraFile {
    /// Checks the fields of a file.
    pub fn new(path: &str, mode: u32, owner: Owner, appends: bool, content: Document) -> Result<Self> {
        let is_name = |name: &str| !matches!(name, "" | "." | "..") && !name.contains(char::is_control);
        let below_drive = paths::below_system_drive(path);
        let path = below_drive.as_deref().unwrap_or(path);
        let names = path
            .strip_prefix('/')
            .map(|rest| rest.split('/').filter(|name| !name.is_empty()).collect::<Vec<_>>());
        let is_plain = |names: &Vec<&str>| {
            !names.is_empty() && !path.ends_with('/') && names.iter().all(|name| is_name(name))
        };
        let names = names.filter(is_plain).filter(|_| path.len() < 4096).ok_or_else(|| {
            let help = match paths::has_drive(path) {
                true => "a path on a drive is for nodes with Windows, on the drive of their system",
                false => {
                    "it begins with /, names a file, and has neither . nor .. nor control characters in it"
                }
            };
            wrong("the path is not that of a file").help(help)
        })?;
        Ok(Self { path: format!("/{}", names.join("/")), mode, owner, appends, content })
    }
}

/// The number as a mode, if it is valid.
pub(super) fn mode_of(number: u64) -> Option<u32> {
    u32::try_from(number).ok().filter(|mode| *mode <= 0o7777)
}

/// The content, if it is not too long.
pub(super) fn content(bytes: Bytes) -> Result<Document> {
    Document::new(bytes).ok_or_else(|| wrong(format!("a file is longer than {LIMIT} bytes")))
}

/// Files by their paths, in the order in which they are written. A later file replaces an earlier one, or is
/// appended to it.
#[derive(Default)]
pub struct Files {
    files: Vec<Option<ExtraFile>>,
    positions: HashMap<String, usize>,
}

impl Files {
    /// The file with this path.
    pub fn get(&self, path: &str) -> Option<&ExtraFile> {
        self.files.get(*self.positions.get(path)?)?.as_ref()
    }

    /// Takes the file with this path.
    pub fn take(&mut self, path: &str) -> Option<ExtraFile> {
        self.files.get_mut(self.positions.remove(path)?)?.take()
    }

    /// Adds a file.
    pub fn put(&mut self, mut file: ExtraFile) -> Result<()> {
        let before = self.take(&file.path);
        if let Some(before) = before.filter(|_| file.appends) {
            let mut both = before.content.into_bytes();
            append(&mut both, file.content.bytes());
            file = ExtraFile { appends: before.appends, content: content(both)?, ..file };
        }
        self.positions.insert(file.path.clone(), self.files.len());
        self.files.push(Some(file));
        Ok(())
    }

    /// The files in order.
    pub fn iter(&self) -> impl Iterator<Item = &ExtraFile> {
        self.files.iter().flatten()
    }

    /// The files in order.
    pub fn into_vec(self) -> Vec<ExtraFile> {
        self.files.into_iter().flatten().collect()
    }
}

/// Keeps one file for each path.
pub(super) fn settle(files: Vec<ExtraFile>) -> Result<Files> {
    let mut settled = Files::default();
    files.into_iter().try_for_each(|file| settled.put(file))?;
    Ok(settled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str, appends: bool) -> Result<ExtraFile> {
        ExtraFile::new(path, 0o640, Owner::default(), appends, content(Bytes::new(text.as_bytes().to_vec()))?)
    }

    #[test]
    fn paths_are_those_of_files() {
        for (path, expected) in [
            ("/a", Some("/a")),
            ("//a//b", Some("/a/b")),
            ("/a/..b", Some("/a/..b")),
            ("/a é", Some("/a é")),
            ("/", None),
            ("", None),
            ("a", None),
            ("/a/", None),
            ("/a/../b", None),
            ("/./a", None),
            ("/a\nb", None),
            (&"/a".repeat(2048), None),
        ] {
            assert_eq!(file(path, "", false).ok().map(|file| file.path).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn later_files_replace_or_append() {
        let files = [
            ("/a", "1", false),
            ("/b", "2", true),
            ("/a", "3", true),
            ("/c", "4", false),
            ("/c", "5", false),
            ("/b", "6", true),
        ];
        let settled =
            settle(files.iter().map(|(path, text, appends)| file(path, text, *appends).unwrap()).collect())
                .unwrap()
                .into_vec();
        let shown: Vec<_> = settled
            .iter()
            .map(|file| (file.path.as_str(), file.content.bytes(), file.appends))
            .collect();
        assert_eq!(shown, [("/a", &b"13"[..], false), ("/c", b"5", false), ("/b", b"26", true)]);
        assert_eq!(format!("{:?}", settled[0]), "ExtraFile(0640, Document(2 bytes))");
    }

    #[test]
    fn owners_are_root_unless_they_are_named() {
        for (text, user, group) in [
            ("", "root", "root"),
            ("a", "a", "root"),
            ("a:b", "a", "b"),
            (":b", "root", "b"),
            ("10 : 20", "10", "20"),
        ] {
            assert_eq!(Owner::parse(text), Owner { user: user.to_owned(), group: group.to_owned() });
        }
    }
}
