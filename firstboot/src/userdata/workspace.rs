//! The files of user data as its commands see them: what they held at first, and what simple commands make of
//! them.

use std::collections::HashMap;

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
    budget: &'a Budget,
}

impl<'a> Workspace<'a> {
    /// The files of the user data.
    pub fn new(files: Files, budget: &'a Budget) -> Self {
        Self { files, changed: HashMap::new(), budget }
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

    /// The script in a file that begins with `#!` and names a shell.
    pub fn script(&self, path: &str) -> Option<Zeroizing<String>> {
        let bytes = self.copy(path)?;
        let text = std::str::from_utf8(&bytes).ok()?;
        is_shell_script(text).then(|| Zeroizing::new(text.to_owned()))
    }

    /// A command writes this to a file. Returns false if that has no effect here, because it is not one of
    /// these files and nothing else needs it.
    pub fn write(&mut self, path: &str, bytes: Bytes, appends: bool, program: &str) -> bool {
        let is_ours = self.files.get(path).is_some();
        if path == paths::HOSTS && !is_ours {
            return appends && self.append_to_hosts(&bytes);
        }
        if !appends {
            self.changed.insert(path.to_owned(), Content::Known(bytes));
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
            self.changed.insert(path.to_owned(), Content::Known(before));
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
        self.changed.insert(path.to_owned(), Content::Unknown(failure));
    }

    /// Renames or copies a file.
    pub fn copy_to(&mut self, from: &str, to: &str, program: &str) {
        match self.copy(from) {
            Some(bytes) => _ = self.changed.insert(to.to_owned(), Content::Known(bytes)),
            None => self.spoil(to, program, self.read(from).err()),
        }
    }

    /// Takes a file out: it is not written to the machine.
    pub fn take(&mut self, path: &str) -> Option<ExtraFile> {
        self.files.take(path)
    }

    /// The files in the user data, in order.
    pub fn files(&self) -> impl Iterator<Item = &ExtraFile> {
        self.files.iter()
    }

    /// The files as they are at the end.
    pub fn finish(mut self) -> Result<Vec<ExtraFile>> {
        let mut files = self.files.into_vec();
        for file in &mut files {
            if let Some(Content::Known(bytes)) = self.changed.remove(&file.path) {
                file.content = content(bytes)?;
            }
        }
        Ok(files)
    }
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
