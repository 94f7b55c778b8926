//! sudoers(5): the rules of all files that sudo reads, and those that ask for no password.

use std::collections::BTreeSet;

use super::text::{logical_lines, words};
use super::{Findings, Subject};
use crate::tree::merge::real_path;

const FILES: &[&str] = &["etc/sudoers", "etc/sudoers-rs", "usr/etc/sudoers", "usr/local/etc/sudoers"];
const FOLDERS: &[&str] = &["etc/sudoers.d", "usr/etc/sudoers.d", "usr/local/etc/sudoers.d"];

/// A rule, and the file that has it.
pub(super) struct Rule {
    pub(super) path: String,
    pub(super) text: String,
}

/// The rules of all files.
pub(super) fn rules(subject: &Subject) -> Vec<Rule> {
    let mut reader = Reader { subject, rules: Vec::new(), seen: BTreeSet::new() };
    for path in FILES {
        reader.file(path);
    }
    for folder in FOLDERS {
        reader.folder(folder);
    }
    reader.rules
}

/// Rules that ask for no password.
pub(super) fn open(subject: &Subject, findings: &mut Findings<'_>) {
    for Rule { path, text } in rules(subject) {
        let plain: String = text.split_whitespace().collect();
        let is_default = plain.starts_with("Defaults");
        if is_default && (plain.contains("exempt_group=") || plain.contains("exempt_group+=")) {
            findings.at(&path, format!("the group is not asked for a password: {text}"));
        } else if text.contains("NOPASSWD") || (is_default && plain.contains("!authenticate")) {
            findings.at(&path, format!("a password is not asked for: {text}"));
        }
    }
}

struct Reader<'a> {
    subject: &'a Subject,
    rules: Vec<Rule>,
    seen: BTreeSet<String>,
}

impl Reader<'_> {
    fn file(&mut self, path: &str) {
        let path = path.trim_start_matches('/');
        let Some(real) = real_path(&self.subject.tree, path) else { return };
        let Some(text) = self.subject.text(&real).filter(|_| self.seen.insert(real)) else { return };
        for line in logical_lines(&text, is_comment) {
            let line = without_comment(&line);
            let parts = words(line);
            let from = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            let target = |to: &str| if to.starts_with('/') { to.to_owned() } else { format!("{from}/{to}") };
            match parts.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
                ["@include" | "#include", to, ..] => self.file(&target(to)),
                ["@includedir" | "#includedir", to, ..] => self.folder(&target(to)),
                _ => self.rules.push(Rule { path: path.to_owned(), text: line.to_owned() }),
            }
        }
    }

    /// Every file, also those that sudo leaves out by their names: they may be meant for it.
    fn folder(&mut self, folder: &str) {
        let folder = folder.trim_matches('/');
        if !self.seen.insert(format!("{folder}/")) {
            return;
        }
        for (path, _) in self.subject.below(folder) {
            self.file(path);
        }
    }
}

/// `#1000` is an account by its number.
fn is_comment(line: &str) -> bool {
    let rest = line.strip_prefix('#');
    rest.is_some_and(|rest| !rest.starts_with(is_number) && !rest.starts_with("include"))
}

fn is_number(letter: char) -> bool {
    letter.is_ascii_digit() || letter == '-'
}

fn without_comment(line: &str) -> &str {
    let marks = line.match_indices(" #").filter(|(at, _)| !line[at + 2..].starts_with(is_number));
    marks.map(|(at, _)| line[..at].trim_end()).next().unwrap_or(line)
}
