//! Files that a command names in any way, and may change.

use zeroize::Zeroizing;

use super::Shell;
use super::edits::{changes, folders_count};
use crate::userdata::shell::{Piece, Word};
use crate::userdata::workspace::{ANYTHING, place};

/// What one text costs of the budget.
const COST: usize = 64;
/// How often a variable's value is looked for in another one.
const LEVELS: usize = 3;

impl Shell<'_> {
    /// Files that a command names and may change have no known content any more. `here` is its here-document.
    pub(super) fn spoil_named(&mut self, program: &str, words: &[Word], here: Option<&Word>) {
        let mut texts = Vec::new();
        words.iter().chain(here).for_each(|word| self.texts(word, LEVELS, &mut texts));
        for text in &texts {
            for name in text.split(|character| !is_of_path(character)).filter(|name| !name.is_empty()) {
                self.spoil_name(program, name);
            }
        }
    }

    /// What a word may stand for, with [`ANYTHING`] for what is not known.
    fn texts(&self, word: &Word, levels: usize, texts: &mut Vec<Zeroizing<String>>) {
        if self.budget.take(COST).is_err() {
            return;
        }
        let mut text = Zeroizing::new(String::new());
        for piece in word.pieces() {
            match piece {
                Piece::Text(piece) if word.is_pattern => push_pattern(&mut text, piece),
                Piece::Text(piece) => text.push_str(piece),
                Piece::Expansion { source, .. } => match self.affordable(source) {
                    Some(value) => text.push_str(&value),
                    None => {
                        text.push(ANYTHING);
                        texts.push(Zeroizing::new(source.to_string()));
                        texts.extend(self.derived(source));
                        let sources = self.variables.sources(source).iter().filter(|_| levels > 0);
                        sources.for_each(|source| self.texts(source, levels - 1, texts));
                    }
                },
            }
        }
        texts.push(text);
    }

    fn spoil_name(&mut self, program: &str, name: &str) {
        let workspace = &self.found.workspace;
        let path = place(name).filter(|_| !name.contains(ANYTHING));
        let mut spoiled = Vec::new();
        match &path {
            Some(path) => {
                spoiled.extend(workspace.has(path).then(|| path.clone()));
                if folders_count(program) && path != "/" {
                    spoiled.extend(workspace.below(path));
                }
                if folders_count(program) {
                    spoiled.extend(workspace.of_name(last(path)));
                }
            }
            None if name.contains(ANYTHING) => spoiled.extend(workspace.like(name, folders_count(program))),
            None => spoiled.extend(workspace.of_name(last(name))),
        }
        if let Some(path) = path.as_ref().filter(|_| folders_count(program)) {
            self.found.workspace.doubt_folder(path);
        }
        // What a program does may be written in the file that is named.
        if let Some(script) = path.filter(|_| changes(program, &[]) && !folders_count(program)) {
            self.spoil_named_in(&script);
        }
        spoiled.iter().for_each(|path| self.spoil(path, program));
    }

    /// The files that a file names may be changed.
    pub(super) fn spoil_named_in(&mut self, script: &str) {
        let text = self.found.workspace.text(script).unwrap_or_default();
        let mut named = Vec::new();
        for name in text.split(|character| !is_of_path(character)).filter(|name| !name.is_empty()) {
            match place(name) {
                Some(path) => named.extend(self.found.workspace.has(&path).then_some(path)),
                None => named.extend(self.found.workspace.of_name(last(name))),
            }
        }
        named.iter().for_each(|path| self.spoil(path, "script"));
    }

    /// What the shell may make of a variable whose value is known: `${NAME/a/b}`, `${!NAME}`.
    fn derived(&self, source: &str) -> Option<Zeroizing<String>> {
        let inner = source.strip_prefix("${")?;
        let is_other = inner.starts_with('!');
        let inner = inner.trim_start_matches('!');
        let end = inner.find(|character: char| !character.is_ascii_alphanumeric() && character != '_')?;
        let value = self.variables.named(&inner[..end])?;
        if is_other {
            return self.variables.named(&value).map(Zeroizing::new);
        }
        let (folder, _) = value.rsplit_once('/').filter(|(folder, _)| !folder.is_empty())?;
        Some(Zeroizing::new(format!("{folder}/{ANYTHING}")))
    }
}

fn is_of_path(character: char) -> bool {
    character.is_alphanumeric() || "/._-+@".contains(character) || character == ANYTHING
}

/// Adds a text with [`ANYTHING`] for each part of it that is a pattern.
fn push_pattern(text: &mut String, pattern: &str) {
    let mut end = None;
    for character in pattern.chars() {
        match (end, character) {
            (Some(last), character) => end = end.filter(|_| character != last),
            (None, '[') => end = Some(']'),
            (None, '{') => end = Some('}'),
            (None, '*' | '?' | '~') => {}
            (None, character) => {
                text.push(character);
                continue;
            }
        }
        if !text.ends_with(ANYTHING) {
            text.push(ANYTHING);
        }
    }
}

/// The last part of a path.
fn last(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
}
