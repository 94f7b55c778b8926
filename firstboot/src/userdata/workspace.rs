//! The files of user data as its commands see them: what they held at first, and what simple commands make of
//! them.

use std::collections::{HashMap, HashSet};

use zeroize::Zeroizing;

use super::bounds::{Budget, Bytes, append, wrong};
use super::files::{ExtraFile, Files, Owner, content};
use crate::document::Document;
use crate::error::{Failure, Result};
use crate::paths;

/// Programs whose names may be shown, because they often change files.
const NAMED: &[&str] = &[
    "awk", "cat", "cp", "curl", "dd", "echo", "ed", "envsubst", "ex", "install", "jq", "mv", "perl",
    "printf", "python", "python3", "rm", "ruby", "sed", "tee", "truncate", "wget", "yq",
];

/// Stands in a path for what is not known.
pub const ANYTHING: char = '\0';

/// Folders of every machine.
const FOLDERS: &[&str] =
    &["/", "/etc", "/home", "/mnt", "/opt", "/root", "/run", "/srv", "/tmp", "/usr", "/var"];

/// What the comparison of a path costs of the budget.
const COST: usize = 16;

/// What is known of a file.
enum Content {
    Known(Bytes),
    /// Why it is not known.
    Unknown(Failure),
}

/// The files.
pub struct Workspace<'a> {
    files: Files,
    changed: HashMap<String, Content>,
    /// Files of the user data that are not written to the machine.
    left_out: HashSet<String>,
    /// The folders that commands make; whether they are certainly there.
    folders: HashMap<String, bool>,
    /// The paths by their last part.
    names: HashMap<String, Vec<String>>,
    budget: &'a Budget,
}

impl<'a> Workspace<'a> {
    /// No files.
    pub fn new(budget: &'a Budget) -> Self {
        Self {
            files: Files::default(),
            changed: HashMap::new(),
            left_out: HashSet::new(),
            folders: HashMap::new(),
            names: HashMap::new(),
            budget,
        }
    }

    /// The files of the user data are written, over what commands before them have made.
    pub fn add(&mut self, files: Files) -> Result<()> {
        for mut file in files.into_vec() {
            if !self.has(&file.path) {
                self.index(file.path.clone());
            }
            match self.changed.remove(&file.path) {
                Some(Content::Known(mut before)) if file.appends => {
                    append(&mut before, file.content.bytes());
                    file.content = content(before)?;
                }
                Some(unknown) if file.appends => _ = self.changed.insert(file.path.clone(), unknown),
                _ => {}
            }
            self.files.put(file)?;
        }
        Ok(())
    }

    fn index(&mut self, path: String) {
        let name = path.rsplit('/').next().unwrap_or_default().to_owned();
        self.names.entry(name).or_default().push(path);
    }

    fn change(&mut self, path: &str, content: Content) {
        if !self.has(path) {
            self.index(path.to_owned());
        }
        self.changed.insert(path.to_owned(), content);
    }

    /// The paths of the files with this name, in any folder.
    pub fn of_name(&self, name: &str) -> Vec<String> {
        self.names.get(name).cloned().unwrap_or_default()
    }

    /// The paths of the files in this folder, and in those in it.
    pub fn below(&self, folder: &str) -> Vec<String> {
        self.matching(|path| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/')))
    }

    /// The paths that `pattern` may stand for, where [`ANYTHING`] is any part of a name. With `is_folder`,
    /// those in the folders too that it may stand for.
    pub fn like(&self, pattern: &str, is_folder: bool) -> Vec<String> {
        let last = pattern.rsplit('/').next().unwrap_or_default();
        let is_named = last.contains(|character| character != ANYTHING);
        if !is_named && !pattern.starts_with('/') {
            return Vec::new();
        }
        self.matching(|path| {
            let name = path.rsplit('/').next().unwrap_or_default();
            is_named && may_be(last, name)
                || pattern.starts_with('/') && may_be_path(pattern, path, is_folder)
        })
    }

    /// None if comparing them takes more than the budget has: then nothing else that was found counts either.
    fn matching(&self, is_meant: impl Fn(&str) -> bool) -> Vec<String> {
        if self.budget.take(self.names.len() * COST).is_err() {
            return Vec::new();
        }
        self.names.values().flatten().filter(|path| is_meant(path)).cloned().collect()
    }

    /// Whether a file of this path is known here.
    pub fn has(&self, path: &str) -> bool {
        self.changed.contains_key(path) || self.files.get(path).is_some()
    }

    /// The content; `None` if the user data has no such file, an error if a command changed it in a way that
    /// is not understood.
    pub fn read(&self, path: &str) -> Result<Option<&[u8]>> {
        match self.changed.get(path) {
            Some(Content::Known(bytes)) => Ok(Some(bytes)),
            Some(Content::Unknown(failure)) => Err(failure.clone()),
            None => Ok(self.files.get(path).map(|file| file.content.bytes())),
        }
    }

    /// A copy of the content, if it is known.
    pub fn copy(&self, path: &str) -> Option<Bytes> {
        let bytes = self.read(path).ok()??;
        self.budget.take(bytes.len()).ok()?;
        Some(Zeroizing::new(bytes.to_vec()))
    }

    /// The text in a file, if it is known.
    pub fn text(&self, path: &str) -> Option<Zeroizing<String>> {
        let bytes = self.copy(path)?;
        std::str::from_utf8(&bytes).ok().map(|text| Zeroizing::new(text.to_owned()))
    }

    /// The script in a file that a shell runs: it names one behind `#!`, or nothing.
    pub fn script(&self, path: &str) -> Option<Zeroizing<String>> {
        self.text(path).filter(|text| !text.starts_with("#!") || is_shell_script(text))
    }

    /// A command writes this to a file. Returns false if that has no effect here, because it is not one of
    /// these files and nothing else needs it.
    pub fn write(&mut self, path: &str, bytes: Bytes, appends: bool, program: &str) -> bool {
        let is_ours = self.files.get(path).is_some();
        if path == paths::HOSTS && !is_ours {
            return appends && self.append_to_hosts(&bytes);
        }
        if !appends {
            self.change(path, Content::Known(bytes));
        } else if self.has(path) {
            self.append(path, &bytes);
        } else {
            self.spoil(path, program, None);
        }
        is_ours
    }

    fn append(&mut self, path: &str, bytes: &[u8]) {
        if let Some(Content::Known(before)) = self.changed.get_mut(path) {
            return append(before, bytes);
        }
        if let Some(mut before) = self.copy(path) {
            append(&mut before, bytes);
            self.change(path, Content::Known(before));
        }
    }

    /// Lines for the machine's own table of host names.
    fn append_to_hosts(&mut self, bytes: &[u8]) -> bool {
        let file = content(Zeroizing::new(bytes.to_vec()))
            .and_then(|content| ExtraFile::new(paths::HOSTS, 0o644, Owner::default(), true, content));
        file.is_ok_and(|file| self.files.put(file).is_ok())
    }

    /// A command may change this file, and it is not known how.
    pub fn spoil(&mut self, path: &str, program: &str, reason: Option<Failure>) {
        let program = NAMED.iter().find(|name| **name == program).copied().unwrap_or("a command");
        let failure = reason.unwrap_or_else(|| {
            wrong(format!(
                "{program} changes the file that kubeadm join reads, and this agent runs no commands"
            ))
            .help(
                "write the file as it should be; sed 's/A/B/', echo and cat with plain words are understood",
            )
        });
        self.change(path, Content::Unknown(failure));
    }

    /// A command may change any of the files.
    pub fn spoil_all(&mut self) {
        let paths: Vec<String> = self.names.values().flatten().cloned().collect();
        paths.iter().for_each(|path| self.spoil(path, "a command", None));
    }

    /// Renames or copies a file.
    pub fn copy_to(&mut self, from: &str, to: &str, program: &str) {
        match self.copy(from) {
            Some(bytes) => self.change(to, Content::Known(bytes)),
            None => self.spoil(to, program, self.read(from).err()),
        }
    }

    /// A file is not written to the machine. Commands still see it.
    pub fn leave_out(&mut self, path: &str) {
        self.left_out.insert(path.to_owned());
    }

    /// A command makes a folder. `is_certain` is false if it may not.
    pub fn make_folder(&mut self, path: &str, is_certain: bool) {
        let is_known = self.is_folder(path) == Some(true);
        self.folders.insert(path.to_owned(), is_certain || is_known);
    }

    /// A command may remove a folder, and those in it.
    pub fn doubt_folder(&mut self, path: &str) {
        for (folder, is_there) in &mut self.folders {
            if folder.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
                *is_there = false;
            }
        }
    }

    /// Whether a path is that of a folder; `None` if that is not known.
    pub fn is_folder(&self, path: &str) -> Option<bool> {
        self.budget.take(self.folders.len() * COST).ok()?;
        let holds = |folder: &String| folder.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'));
        match self.folders.get(path) {
            Some(true) => Some(true),
            _ if FOLDERS.contains(&path) || !self.below(path).is_empty() => Some(true),
            Some(false) => None,
            None if self.folders.keys().any(holds) => None,
            None => Some(false),
        }
    }

    /// Takes a file out: it is not written to the machine.
    pub fn take(&mut self, path: &str) -> Option<ExtraFile> {
        self.files.take(path)
    }

    /// The files in the user data, in order.
    pub fn files(&self) -> impl Iterator<Item = &ExtraFile> {
        self.files.iter().filter(|file| !self.left_out.contains(&file.path))
    }

    /// The files that were not run, also those that commands made, with what is known of their contents.
    pub fn contents(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let of_files = self.files.iter().filter(|file| !self.changed.contains_key(&file.path));
        let of_files = of_files.map(|file| (file.path.as_str(), file.content.bytes()));
        let changed = self.changed.iter().filter_map(|(path, content)| match content {
            Content::Known(bytes) => Some((path.as_str(), bytes.as_slice())),
            Content::Unknown(_) => self.files.get(path).map(|file| (path.as_str(), file.content.bytes())),
        });
        of_files.chain(changed).filter(|(path, _)| !self.left_out.contains(*path))
    }

    /// The files as they are at the end.
    pub fn finish(mut self) -> Result<Vec<ExtraFile>> {
        let mut files = self.files.into_vec();
        files.retain(|file| !self.left_out.contains(&file.path));
        for file in &mut files {
            if let Some(Content::Known(bytes)) = self.changed.remove(&file.path) {
                file.content = content(bytes)?;
            }
        }
        Ok(files)
    }
}

/// The path that a word names, in its plain spelling; `None` if that depends on the machine's folders.
pub fn place(word: &str) -> Option<String> {
    let mut path = String::new();
    for part in word.strip_prefix('/')?.split('/') {
        match part {
            "" | "." => {}
            ".." => return None,
            part => path.extend(["/", part]),
        }
    }
    Some(if path.is_empty() { "/".to_owned() } else { path })
}

fn may_be_path(pattern: &str, path: &str, is_folder: bool) -> bool {
    let mut names = path.split('/');
    let parts = pattern.split('/').filter(|part| !matches!(*part, "."));
    let is_prefix = parts.into_iter().all(|part| names.next().is_some_and(|name| may_be(part, name)));
    is_prefix && (is_folder || names.next().is_none())
}

/// Whether `pattern`, with [`ANYTHING`] for any text, may be `text`.
fn may_be(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split(ANYTHING);
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        let Some(position) = rest.find(part) else { return false };
        rest = &rest[position + part.len()..];
    }
    rest.ends_with(last)
}

/// A document with these bytes.
pub fn document(bytes: &[u8]) -> Result<Document> {
    content(Zeroizing::new(bytes.to_vec()))
}

/// Whether its first line names a shell.
pub fn is_shell_script(text: &str) -> bool {
    let first = text.lines().next().unwrap_or_default();
    let Some(interpreter) = first.strip_prefix("#!") else { return false };
    interpreter
        .split([' ', '\t', '/'])
        .any(|word| ["sh", "bash", "dash", "ash", "ksh", "zsh"].contains(&word.trim_end()))
}
