//! What commands do to the files of the user data.

use zeroize::Zeroizing;

use super::Shell;
use super::printed::{echo, is_in_place, printf, sed_arguments, tee_arguments};
use crate::userdata::bounds::{Bytes, append};
use crate::userdata::sed;
use crate::userdata::shell::{Simple, Word};
use crate::userdata::workspace::place;

/// Programs that only read the files that they name.
pub(super) const READERS: &[&str] = &[
    "[",
    "[[",
    "apt-get",
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
    "logger",
    "ls",
    "md5sum",
    "mkdir",
    "printf",
    "sha256sum",
    "sleep",
    "stat",
    "sync",
    "systemctl",
    "tail",
    "test",
    "touch",
    "wc",
];

/// What a look at a word costs of the budget.
const COST: usize = 16;

/// Programs that change files in the folders that they name, or put others there under their own names.
const OF_FOLDERS: &[&str] = &[
    "bsdtar", "cp", "cpio", "curl", "find", "for", "git", "install", "ln", "mount", "mv", "parallel", "read",
    "rm", "rmdir", "rsync", "tar", "umount", "unzip", "wget", "xargs",
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
        let arguments: Option<Vec<Vec<Zeroizing<String>>>> =
            words.iter().skip(1).map(|word| self.fields(word)).collect();
        let is_known = self.is_certain() && !self.empties_what_it_reads(command, words);
        let arguments: Option<Vec<Zeroizing<String>>> =
            arguments.filter(|_| is_known).map(|words| words.into_iter().flatten().collect());
        let arguments: Option<Vec<&str>> =
            arguments.as_ref().map(|all| all.iter().map(|word| word.as_str()).collect());
        if ["install", "mkdir"].contains(&program) {
            self.make_folders(program, words);
        }
        let stdin = self.stdin(command, piped);
        if let Some(arguments) = &arguments {
            let is_done = match self.in_place(program, arguments) {
                None if program == "tee" => self.tee(command, arguments, stdin.clone()),
                done => done,
            };
            if let Some(is_done) = is_done {
                self.spoil_outputs(command, program);
                return is_done;
            }
        }
        let output = arguments.as_ref().and_then(|all| self.output(program, all, stdin));
        // A script that is not understood may write to a file: `w FILE`.
        let is_writer =
            program == "sed" && output.is_none() && words.iter().any(|word| word.text().contains('w'));
        let mut is_done = command.is_piped && output.is_some();
        let target = command.output().and_then(|target| Some((self.path(&target.path)?, target.appends)));
        match (target, output) {
            (Some((path, appends)), Some(bytes)) if command.outputs.len() == 1 => {
                is_done |= self.found.workspace.write(&path, bytes, appends, program);
            }
            (_, output) => {
                self.spoil_outputs(command, program);
                if command.is_piped && command.output().is_none() {
                    self.piped = output;
                }
            }
        }
        if is_writer || changes(program, words) {
            let upstream = std::mem::take(&mut self.upstream);
            if ["parallel", "xargs"].contains(&program) {
                self.spoil_named(program, &upstream, None);
            }
            self.upstream = upstream;
            let here = command.here.as_ref().filter(|_| program != "tee");
            self.spoil_named(program, words.get(1..).unwrap_or_default(), here);
        }
        is_done
    }

    /// Whether a command, or one that it is piped from, reads this file: written to, it may be empty by then.
    fn reads(&self, command: &Simple, words: &[Word], path: &str) -> bool {
        if self.budget.take(self.upstream.len() * COST).is_err() {
            return true;
        }
        let mut words = words.iter().chain(&self.upstream).chain(&command.input);
        words.any(|word| self.path(word).as_deref() == Some(path))
    }

    /// Whether a redirection empties a file that the command reads.
    fn empties_what_it_reads(&self, command: &Simple, words: &[Word]) -> bool {
        let paths: Vec<String> =
            command.outputs.iter().filter_map(|output| self.path(&output.path)).collect();
        paths.iter().any(|path| self.reads(command, words, path))
    }

    /// What a command writes to the files of its redirections is not known.
    pub(super) fn spoil_outputs(&mut self, command: &Simple, program: &str) {
        for output in &command.outputs {
            match self.path(&output.path) {
                Some(path) => self.found.workspace.spoil(&path, program, self.reason.take()),
                None => self.spoil_named(program, std::slice::from_ref(&output.path), None),
            }
        }
    }

    /// A command may change this file, if it is one of these.
    pub(super) fn spoil(&mut self, path: &str, program: &str) {
        if self.found.workspace.has(path) || self.reason.is_some() {
            self.found.workspace.spoil(path, program, self.reason.take());
        }
    }

    fn stdin(&mut self, command: &Simple, piped: Option<Bytes>) -> Option<Bytes> {
        if let Some(here) = &command.here {
            if command.input.is_some() {
                return None;
            }
            let text = here.expanded(&|source| self.value(source))?;
            return Some(Zeroizing::new(text.as_bytes().to_vec()));
        }
        match &command.input {
            Some(path) => self.found.workspace.copy(&self.path(path)?),
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
                let sed = sed_arguments(arguments).filter(|sed| !sed.is_in_place)?;
                let text = if sed.paths.is_empty() { stdin? } else { self.lines(&sed.paths)? };
                self.substituted(&text, &sed.substitutions)
            }
            _ => None,
        }
    }

    fn concatenated(&self, paths: &[&str]) -> Option<Bytes> {
        let mut all = Bytes::default();
        for path in paths {
            append(&mut all, &self.found.workspace.copy(&place(path)?)?);
        }
        Some(all)
    }

    /// The lines of several files: each ends with a line break, but the last.
    fn lines(&self, paths: &[&str]) -> Option<Bytes> {
        let (_, all_but_last) = paths.split_last()?;
        let is_ended = |path: &&str| {
            let bytes = self.found.workspace.copy(&place(path)?)?;
            Some(bytes.is_empty() || bytes.ends_with(b"\n"))
        };
        all_but_last.iter().all(|path| is_ended(path) == Some(true)).then_some(())?;
        self.concatenated(paths)
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
            "sed" => self.sed_in_place(arguments),
            "cp" | "mv" => self.copied(program, arguments),
            _ => None,
        }
    }

    fn sed_in_place(&mut self, arguments: &[&str]) -> Option<bool> {
        let sed = sed_arguments(arguments).filter(|sed| sed.is_in_place)?;
        let mut is_done = true;
        for path in sed.paths {
            let known = place(path).and_then(|path| Some((self.found.workspace.copy(&path)?, path)));
            let changed =
                known.and_then(|(text, path)| Some((self.substituted(&text, &sed.substitutions)?, path)));
            match changed {
                Some((bytes, path)) => is_done &= self.found.workspace.write(&path, bytes, false, "sed"),
                None => {
                    self.spoil_named("sed", &[Word::plain(path)], None);
                    is_done = false;
                }
            }
        }
        Some(is_done)
    }

    /// `cp` or `mv` of one file.
    fn copied(&mut self, program: &str, arguments: &[&str]) -> Option<bool> {
        let (options, paths): (Vec<&str>, Vec<&str>) =
            arguments.iter().partition(|word| word.starts_with('-'));
        let [from, to] = paths.as_slice() else { return None };
        let from = place(from)?;
        let to = self.target(&from, to)?;
        let workspace = &mut self.found.workspace;
        if !options.iter().all(|option| is_plain_copy(option)) || workspace.is_folder(&from) != Some(false) {
            return None;
        }
        let is_known = workspace.has(&from) || workspace.has(&to);
        if is_known {
            workspace.copy_to(&from, &to, program);
            if program == "mv" {
                self.spoil(&from, program);
            }
        }
        Some(is_known)
    }

    /// The file that `from` is copied to: `to`, or one of its name in that folder. `None` if it is not known
    /// whether that is one.
    fn target(&self, from: &str, to: &str) -> Option<String> {
        let path = place(to)?;
        let is_folder = to.ends_with('/') || self.found.workspace.is_folder(&path)?;
        let name = from.rsplit('/').next().unwrap_or_default();
        Some(if is_folder { format!("{}/{name}", path.trim_end_matches('/')) } else { path })
    }

    /// `mkdir`, `install -d`
    fn make_folders(&mut self, program: &str, words: &[Word]) {
        let is_certain = program == "mkdir" && self.is_certain();
        let paths: Vec<String> = words.iter().skip(1).filter_map(|word| self.path(word)).collect();
        paths.iter().for_each(|path| self.found.workspace.make_folder(path, is_certain));
    }

    fn tee(&mut self, command: &Simple, arguments: &[&str], stdin: Option<Bytes>) -> Option<bool> {
        let (appends, paths) = tee_arguments(arguments)?;
        let mut is_done = true;
        for path in paths {
            match (&stdin, place(path)) {
                (Some(bytes), Some(path)) if !self.reads(command, &[], &path) => {
                    is_done &= self.found.workspace.write(&path, bytes.clone(), appends, "tee");
                }
                _ => {
                    is_done = false;
                    self.spoil_named("tee", &[Word::plain(path)], None);
                }
            }
        }
        self.piped = stdin;
        Some(is_done)
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

/// Whether `cp` or `mv` writes the same with this option.
fn is_plain_copy(option: &str) -> bool {
    let letters = option.trim_start_matches('-');
    match option.len() - letters.len() {
        1 => !letters.is_empty() && letters.chars().all(|letter| "adfprRvLPH".contains(letter)),
        _ => ["archive", "force", "preserve", "recursive", "verbose"].contains(&letters),
    }
}

/// Whether a program may change the files that it names.
pub(super) fn changes(program: &str, words: &[Word]) -> bool {
    match program {
        "sed" | "yq" => words.iter().skip(1).any(|word| is_in_place(&word.text())),
        "awk" | "gawk" => words.iter().any(|word| {
            let word = word.text();
            is_in_place(&word) || ['>', '|', '('].iter().any(|sign| word.contains(*sign))
        }),
        "jq" | "envsubst" => false,
        "kubeadm" => words.iter().any(|word| ["migrate", "reset"].contains(&word.text().as_str())),
        program => !READERS.contains(&program),
    }
}

/// Whether a program changes files in the folders that it names, or puts others there.
pub(super) fn folders_count(program: &str) -> bool {
    OF_FOLDERS.contains(&program)
}
