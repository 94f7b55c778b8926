//! What commands do to variables of the shell.

use super::certainty::Strict;
use super::nested::ARGUMENTS;
use super::{Shell, is_harmless};
use crate::userdata::prefixes;
use crate::userdata::shell::{Simple, Word};

/// Commands of the shell that change the variables that they name.
const CHANGING: &[&str] =
    &["for", "getopts", "let", "mapfile", "printf", "read", "readarray", "select", "unset", "wait"];
/// Commands of the shell that take assignments.
const DECLARING: &[&str] = &["declare", "export", "local", "readonly", "typeset"];

impl Shell<'_> {
    /// Notes what a command does to variables. Returns whether that is all that it does.
    pub(super) fn assignments(&mut self, command: &Simple, program: &str, words: &[Word]) -> bool {
        match program {
            _ if is_harmless(words) => {
                self.assign(command, &command.words, true);
                true
            }
            "set" => {
                self.set_options(words, self.is_certain() && !command.is_apart);
                true
            }
            "shift" => {
                self.variables.remove(&ARGUMENTS);
                true
            }
            program if DECLARING.contains(&program) => {
                let options: Vec<_> = words.iter().skip(1).map(Word::text).collect();
                let mut options = options.iter().filter(|word| word.starts_with(['-', '+']));
                let is_local = !["export", "readonly"].contains(&program) && self.returning > 0;
                let is_plain =
                    options.all(|option| option.as_str() == "-x") && program != "local" && !is_local;
                self.assign(command, words, is_plain);
                if program == "readonly" || words.iter().any(|word| word.text().as_str() == "-r") {
                    self.lock(words);
                }
                if words.iter().any(|word| word.text().as_str() == "-n") {
                    // The variable stands for another one.
                    self.found.workspace.spoil_all();
                }
                if program == "export" || is_plain && words.len() > 1 && words[1].text().as_str() == "-x" {
                    self.export(words);
                }
                self.exports_functions |= words
                    .iter()
                    .skip(1)
                    .map(Word::text)
                    .any(|word| word.starts_with('-') && word.contains('f'));
                true
            }
            program if CHANGING.contains(&program) => {
                self.change(program, words);
                false
            }
            _ => false,
        }
    }

    /// Notes the values that assignments give to variables. `is_plain` is false if the shell changes them on
    /// the way.
    fn assign(&mut self, command: &Simple, words: &[Word], is_plain: bool) {
        let is_known = is_plain && self.is_certain() && !command.is_apart;
        for word in words {
            let text = word.text();
            let Some((name, _)) = prefixes::assignment(&text) else {
                if !is_plain {
                    self.variables.forget_names_in(&text);
                }
                continue;
            };
            let value = prefixes::assigned(word, &|source| self.value(source)).filter(|_| is_known);
            self.variables.note_source(name, word);
            self.variables.set(name, value);
        }
    }

    /// Variables that keep their values from here on.
    fn lock(&mut self, words: &[Word]) {
        for word in words.iter().skip(1) {
            let text = word.text();
            self.variables.lock(prefixes::assignment(&text).map_or(text.as_str(), |(name, _)| name));
        }
    }

    fn export(&mut self, words: &[Word]) {
        for word in words.iter().skip(1) {
            let text = word.text();
            let name = prefixes::assignment(&text).map_or(text.as_str(), |(name, _)| name);
            self.variables.export(name);
        }
    }

    /// `set -a`, `set -e`, `set -- a b`
    fn set_options(&mut self, words: &[Word], is_certain: bool) {
        let (mut is_name_of_option, mut is_on) = (false, true);
        for word in words.iter().skip(1) {
            let word = word.text();
            let (exports, is_strict) = match word.as_str() {
                name if is_name_of_option => (name == "allexport", name == "errexit"),
                option if option.starts_with(['-', '+']) => (option.contains('a'), option.contains('e')),
                _ => {
                    self.variables.remove(&ARGUMENTS);
                    (false, false)
                }
            };
            is_on = if is_name_of_option { is_on } else { !word.starts_with('+') };
            if exports {
                self.variables.export_all(is_on);
            }
            if is_strict {
                self.strict = match (is_on, is_certain) {
                    (true, true) => Strict::Yes,
                    (false, true) => Strict::No,
                    (_, false) => Strict::Maybe,
                };
            }
            is_name_of_option = word.ends_with('o') && word.starts_with(['-', '+']);
        }
    }

    /// The variables that a command names have other values now.
    fn change(&mut self, program: &str, words: &[Word]) {
        if program == "unset" {
            words.iter().skip(1).for_each(|word| self.doubt_function(&word.text()));
        }
        let is_loop = ["for", "select"].contains(&program);
        let names = if is_loop { words.get(1..2) } else { words.get(1..) }.unwrap_or_default();
        for word in names {
            let name = word.text();
            self.variables.forget_names_in(&name);
            if ["for", "read", "select"].contains(&program) {
                self.variables.forget(&name);
            }
            let upstream = self.upstream.iter().filter(|_| program == "read");
            let values = words.iter().skip(2).filter(|_| is_loop);
            for source in upstream.chain(values) {
                self.variables.note_source(&name, source);
            }
        }
    }

    /// Forgets variables that an expansion counts up or sets: `$((N++))`, `${N:=x}`.
    pub(super) fn forget_counted(&mut self, command: &Simple) {
        for source in command.words.iter().flat_map(Word::sources) {
            let is_counted =
                source.starts_with("$((") && ["=", "++", "--"].iter().any(|sign| source.contains(sign));
            if is_counted || source.starts_with("${") && source.contains('=') {
                self.variables.forget_names_in(source);
            }
        }
    }
}
