//! What commands do to the files of the user data.

use zeroize::Zeroizing;

use super::Shell;
use super::printed::{echo, is_in_place, printf, sed_arguments};
use crate::userdata::bounds::{Bytes, append};
use crate::userdata::sed;
use crate::userdata::shell::{Simple, Word};

/// Programs that only read the files that they name.
pub(super) const READERS: &[&str] = &[
    "[",
    "[[",
    "cat",
    "chgrp",
    "chmod",
    "chown",
    "cmp",
    "diff",
    "echo",
    "file",
    "grep",
    "head",
    "kubeadm",
    "logger",
    "ls",
    "md5sum",
    "mkdir",
    "printf",
    "sha256sum",
    "stat",
    "sync",
    "tail",
    "test",
    "touch",
    "wc",
];

impl Shell<'_> {
    /// Does what the command does to the files of the user data. Returns whether that is all of it.
    pub(super) fn edit(
        &mut self,
        command: &Simple,
        program: &str,
        words: &[Word],
        piped: Option<Bytes>,
    ) -> bool {
        let arguments: Option<Vec<Zeroizing<String>>> = words
            .iter()
            .skip(1)
            .map(|word| word.expanded(&|source| self.variables.value(source)))
            .collect();
        let is_certain = self.is_certain(command);
        let arguments = arguments.filter(|_| is_certain);
        let arguments: Option<Vec<&str>> =
            arguments.as_ref().map(|all| all.iter().map(|word| word.as_str()).collect());
        let stdin = self.stdin(command, piped);
        let mut is_done = false;
        if let Some(arguments) = &arguments {
            match (program, self.in_place(program, arguments)) {
                (_, Some(done)) => return done,
                ("tee", None) => return self.tee(arguments, stdin),
                _ => {}
            }
        }
        let output = arguments.as_ref().and_then(|all| self.output(program, all, stdin));
        is_done |= command.is_piped && output.is_some();
        if let Some(target) = &command.output {
            let path = target.path.text();
            match output.filter(|_| !target.path.expands()) {
                Some(bytes) => {
                    is_done |= self.found.workspace.write(&path, bytes, target.appends, program);
                }
                None => self.spoil(&path, program),
            }
        } else if command.is_piped {
            self.piped = output;
        }
        if changes(program, words) {
            self.spoil_named(program, words);
        }
        is_done
    }

    /// A command may change this file, if it is one of these.
    fn spoil(&mut self, path: &str, program: &str) {
        if self.found.workspace.has(path) || self.reason.is_some() {
            self.found.workspace.spoil(path, program, self.reason.take());
        }
    }

    /// Files that a command names, and may change.
    fn spoil_named(&mut self, program: &str, words: &[Word]) {
        let is_of_path = |character: char| character.is_ascii_alphanumeric() || "/._-+@".contains(character);
        for word in words.iter().skip(1) {
            let text = word.text();
            for path in text.split(|character| !is_of_path(character)).filter(|path| path.starts_with('/')) {
                self.spoil(path, program);
            }
        }
    }

    fn stdin(&mut self, command: &Simple, piped: Option<Bytes>) -> Option<Bytes> {
        if let Some(here) = &command.here {
            let text = here.expanded(&|source| self.variables.value(source))?;
            return Some(Zeroizing::new(text.as_bytes().to_vec()));
        }
        match &command.input {
            Some(path) => self.found.workspace.copy(&path.text()),
            None => piped,
        }
    }

    /// What a command gives on its standard output, if that is known.
    fn output(&mut self, program: &str, arguments: &[&str], stdin: Option<Bytes>) -> Option<Bytes> {
        let bytes = |text: String| Zeroizing::new(text.into_bytes());
        match (program, arguments) {
            ("echo", _) => echo(arguments).map(bytes),
            ("printf", _) => printf(arguments).map(bytes),
            ("cat", []) => stdin,
            ("cat", paths) => self.concatenated(paths),
            ("envsubst", []) => self.filled_in(&stdin?),
            ("sed", _) => {
                let (substitutions, paths) = sed_arguments(arguments)?;
                let text = if paths.is_empty() { stdin? } else { self.concatenated(&paths)? };
                self.substituted(&text, &substitutions)
            }
            _ => None,
        }
    }

    fn concatenated(&self, paths: &[&str]) -> Option<Bytes> {
        let mut all = Bytes::default();
        for path in paths {
            append(&mut all, &self.found.workspace.copy(path)?);
        }
        Some(all)
    }

    fn substituted(&self, text: &[u8], substitutions: &[sed::Substitution]) -> Option<Bytes> {
        let mut text = Zeroizing::new(std::str::from_utf8(text).ok()?.to_owned());
        for substitution in substitutions {
            self.budget.take(text.len()).ok()?;
            text = Zeroizing::new(substitution.apply(&text));
        }
        Some(Zeroizing::new(text.as_bytes().to_vec()))
    }

    /// `sed -i`, `cp` and `mv`: returns whether it is done; `None` if it is another command.
    fn in_place(&mut self, program: &str, arguments: &[&str]) -> Option<bool> {
        match program {
            "sed" if arguments.iter().any(|word| is_in_place(word)) => {
                let (substitutions, paths) = sed_arguments(arguments)?;
                let mut is_done = true;
                for path in paths {
                    let changed = self.found.workspace.copy(path);
                    match changed.and_then(|text| self.substituted(&text, &substitutions)) {
                        Some(bytes) => is_done &= self.found.workspace.write(path, bytes, false, program),
                        None => {
                            self.spoil(path, program);
                            is_done = false;
                        }
                    }
                }
                Some(is_done)
            }
            "cp" | "mv" => {
                let paths: Vec<&str> =
                    arguments.iter().copied().filter(|word| !word.starts_with('-')).collect();
                let [from, to] = paths.as_slice() else { return None };
                let is_known = self.found.workspace.has(from) || self.found.workspace.has(to);
                if is_known {
                    let name = from.rsplit('/').next().unwrap_or_default();
                    let to = if to.ends_with('/') { format!("{to}{name}") } else { (*to).to_owned() };
                    self.found.workspace.copy_to(from, &to, program);
                }
                Some(is_known)
            }
            _ => None,
        }
    }

    fn tee(&mut self, arguments: &[&str], stdin: Option<Bytes>) -> bool {
        let appends = arguments.iter().any(|word| ["-a", "--append"].contains(word));
        let mut is_done = true;
        for path in arguments.iter().filter(|word| !word.starts_with('-')) {
            match &stdin {
                Some(bytes) => {
                    is_done &= self.found.workspace.write(path, bytes.clone(), appends, "tee");
                }
                None => {
                    is_done = false;
                    self.spoil(path, "tee");
                }
            }
        }
        self.piped = stdin;
        is_done
    }

    /// Does the same as `envsubst`; `None` if a variable has no value.
    fn filled_in(&mut self, bytes: &[u8]) -> Option<Bytes> {
        match self.variables.fill_in(bytes, self.budget) {
            Ok(filled) => Some(filled),
            Err(failure) => {
                self.reason = Some(failure);
                None
            }
        }
    }
}

/// Whether a program may change the files that it names.
fn changes(program: &str, words: &[Word]) -> bool {
    match program {
        "sed" | "yq" | "awk" | "gawk" | "perl" => words.iter().skip(1).any(|word| is_in_place(&word.text())),
        "jq" | "envsubst" => false,
        program => !READERS.contains(&program),
    }
}
