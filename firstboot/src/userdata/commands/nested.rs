//! Shells within the shell, scripts of the user data, and functions.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};

use zeroize::Zeroizing;

use super::certainty::{Block, End, Kind, Strict};
use super::{Function, Shell, reads_only};
use crate::cli;
use crate::cli::request::Request;
use crate::error::Result;
use crate::paths;
use crate::userdata::bounds::Bytes;
use crate::userdata::prefixes;
use crate::userdata::shell::{KEYWORDS, Simple, Word, read};
use crate::userdata::variables::Variables;
use crate::userdata::workspace::place;

/// The arguments of a function that are followed.
pub(super) const ARGUMENTS: [&str; 9] = ["1", "2", "3", "4", "5", "6", "7", "8", "9"];
/// What a copy of a variable costs of the budget.
const COST: usize = 16;

/// Programs that read commands.
const SHELLS: &[&str] = &["sh", "bash", "dash", "ash", "ksh", "zsh"];
/// Where a shell looks for programs, in order.
const SEARCH_PATH: &[&str] =
    &["/usr/local/sbin/", "/usr/local/bin/", "/usr/sbin/", "/usr/bin/", "/sbin/", "/bin/"];

/// Programs that run a command and do not pass on what is exported.
const CLEANING: &[&str] = &["sudo", "doas", "env", "systemd-run"];

/// Commands that a process of their own runs.
struct Process<'t> {
    text: &'t str,
    /// Whether nothing comes behind it that could join.
    is_last: bool,
    strict: Strict,
    /// Whether it has the functions of the shell that begins it.
    has_functions: bool,
}

impl<'s> Shell<'s> {
    /// Evaluates a shell within the shell, or a script or a function of the user data. Returns false if it is
    /// another command.
    pub(super) fn nested(
        &mut self,
        command: &Simple,
        program: &str,
        words: &[Word],
        piped: Option<&Bytes>,
        shells: usize,
    ) -> Result<bool> {
        if shells == 0 {
            if self.functions.contains_key(program) || SHELLS.contains(&last(program)) {
                self.doubt_all();
            }
            return Ok(false);
        }
        if let Some(functions) = self.functions_of(command, program) {
            let block = Block::new(self.is_certain(), Kind::Function, false).asked(self.is_asked(command));
            return self.call(&functions, command.is_apart, block, words, shells).map(|()| true);
        }
        match last(program) {
            "eval" => self.evaluated(command, words, shells),
            shell if SHELLS.contains(&shell) => {
                let (is_text, position) = shell_options(words);
                if reads_only(words.get(..position).unwrap_or(words)) {
                    return Ok(true);
                }
                let Some(word) = words.get(position) else {
                    return self.with_input(command, words, piped, shells);
                };
                if is_text {
                    let text = self.partly(word);
                    self.child(command, words, &text, shells)?;
                    self.spoil_named("script", words.get(position + 1..).unwrap_or_default(), None);
                    return Ok(true);
                }
                self.own_script(command, words, position, true, shells)
            }
            "." | "source" => self.own_script(command, words, 1, true, shells),
            _ => self.own_script(command, words, 0, false, shells),
        }
    }

    /// `eval`, in this same shell.
    fn evaluated(&mut self, command: &Simple, words: &[Word], shells: usize) -> Result<bool> {
        let texts: Vec<_> = words.iter().skip(1).map(|word| self.partly(word)).collect();
        let line = Zeroizing::new(texts.iter().map(|text| text.as_str()).collect::<Vec<_>>().join(" "));
        let is_known = words.iter().skip(1).all(|word| self.fields(word).is_some());
        let block = Block::new(self.is_certain(), Kind::Plain, false).asked(self.is_asked(command));
        self.within(command.is_apart, block, |shell| shell.script(&line, shells - 1))?;
        if !is_known {
            self.variables.forget_all();
        }
        Ok(is_known)
    }

    /// A shell that reads its commands from a here-document, a pipe or a file.
    fn with_input(
        &mut self,
        command: &Simple,
        words: &[Word],
        piped: Option<&Bytes>,
        shells: usize,
    ) -> Result<bool> {
        let text = match (&command.here, &command.input) {
            (Some(_), Some(_)) => None,
            (Some(here), None) => Some(self.partly(here)),
            (None, Some(path)) => {
                let path = self.path(path);
                path.and_then(|path| self.found.workspace.text(&path))
            }
            (None, None) => piped
                .and_then(|bytes| std::str::from_utf8(bytes).ok())
                .map(|text| Zeroizing::new(text.to_owned())),
        };
        let Some(text) = text else { return Ok(false) };
        self.child(command, words, &text, shells).map(|()| true)
    }

    /// Evaluates a script that the user data writes. It is not written to the machine. `is_read` is true if
    /// the command names a shell, so that the script need not.
    fn own_script(
        &mut self,
        command: &Simple,
        words: &[Word],
        position: usize,
        is_read: bool,
        shells: usize,
    ) -> Result<bool> {
        let path = words.get(position).and_then(|word| {
            self.path(word).or_else(|| self.in_search_path(&word.text()).filter(|_| position == 0))
        });
        let workspace = &self.found.workspace;
        let script = path
            .as_deref()
            .and_then(|path| if is_read { workspace.text(path) } else { workspace.script(path) });
        let is_sourced = words.first().is_some_and(|word| [".", "source"].contains(&word.text().as_str()));
        let Some((path, script)) = path.clone().zip(script) else {
            if let Some(path) = path {
                if self.found.workspace.read(&path).is_err() {
                    // What it does is not known.
                    self.found.workspace.spoil_all();
                } else if !is_read {
                    self.spoil_named_in(&path);
                }
            }
            if is_sourced {
                self.variables.forget_all();
            }
            return Ok(false);
        };
        self.found.workspace.leave_out(&path);
        match retried_config(&path, &script) {
            Some(config) => {
                let arguments = ["join", "--config", config].map(OsString::from);
                let Ok(Request::Join(request)) = cli::parse(OsStr::new("kubeadm"), arguments) else {
                    return Ok(false);
                };
                self.joined(request.flags)?;
            }
            None if is_sourced => {
                let arguments = words.get(position + 1..).unwrap_or_default();
                if !arguments.is_empty() {
                    self.variables.remove(&ARGUMENTS);
                }
                let (is_apart, is_certain) = (command.is_apart, self.is_certain());
                let has_join = self.has_join(&read(&script).commands);
                let block = Block::new(is_certain, Kind::Function, has_join).asked(self.is_asked(command));
                self.returning(is_apart, block, |shell| shell.script(&script, shells - 1))?;
            }
            None => self.child(command, words, &script, shells)?,
        }
        self.spoil_named("script", words.get(position + 1..).unwrap_or_default(), None);
        Ok(true)
    }

    /// A shell that is a process of its own: what it changes of variables and functions is lost with it.
    fn child(&mut self, command: &Simple, words: &[Word], text: &str, shells: usize) -> Result<()> {
        let options = words.get(..shell_options(words).1).filter(|_| is_shell(words)).unwrap_or_default();
        self.budget.take(self.variables.count() * COST)?;
        let before = self.variables.clone();
        let prefix = command.words.len().saturating_sub(words.len());
        let prefix = command.words.get(..prefix).unwrap_or_default();
        let texts: Vec<Zeroizing<String>> = prefix.iter().map(Word::text).collect();
        let is_clean =
            texts.iter().any(|text| CLEANING.contains(&text.rsplit('/').next().unwrap_or_default()));
        self.variables.enter_child(!is_clean);
        self.variables.remove(&ARGUMENTS);
        for (word, text) in prefix.iter().zip(&texts) {
            if let Some((name, _)) = prefixes::assignment(text) {
                self.variables.set(name, prefixes::assigned(word, &|source| before.value(source)));
                self.variables.export(name);
            }
        }
        let text = self.with_profile(words, text);
        let is_strict = names_strict(&text) || options.iter().any(|word| is_strict_option(&word.text()));
        let strict = if is_strict { Strict::Yes } else { Strict::No };
        let has_functions = self.exports_functions && !is_clean;
        let process = Process { text: &text, is_last: false, strict, has_functions };
        self.in_process(command.is_apart, before, process, shells - 1)
    }

    /// The text of a script, behind the file that bash reads first if `BASH_ENV` names one.
    fn with_profile(&self, words: &[Word], text: &str) -> Zeroizing<String> {
        let program = words.first().map(Word::text).unwrap_or_default();
        let is_bash = last(&program) == "bash"
            || !SHELLS.contains(&last(&program))
                && text.lines().next().is_some_and(|line| line.starts_with("#!") && line.contains("bash"));
        if !is_bash || !self.variables.is_set("BASH_ENV") {
            return Zeroizing::new(text.to_owned());
        }
        let path = self.variables.named("BASH_ENV").unwrap_or_default();
        Zeroizing::new(format!(". '{}'\n{text}", path.replace('\'', "'\\''")))
    }

    /// Evaluates a script that nothing passes variables or functions to. `is_last` is true if nothing comes
    /// behind it that could join: then a join in it is found only where nothing ended it before.
    pub(super) fn process(&mut self, text: &str, is_last: bool, shells: usize) -> Result<()> {
        self.budget.take(self.variables.count() * COST)?;
        let before = self.variables.clone();
        let upstream = std::mem::take(&mut self.upstream);
        self.variables.enter_child(false);
        let strict = if names_strict(text) { Strict::Yes } else { Strict::No };
        let process = Process { text, is_last, strict, has_functions: false };
        self.in_process(false, before, process, shells)?;
        self.upstream = upstream;
        Ok(())
    }

    /// Evaluates commands in a process of their own, after which variables are as they were `before`.
    fn in_process(
        &mut self,
        is_apart: bool,
        before: Variables<'s>,
        process: Process,
        shells: usize,
    ) -> Result<()> {
        let Process { text, is_last, strict, has_functions } = process;
        let functions = if has_functions { self.functions.clone() } else { HashMap::new() };
        let functions = std::mem::replace(&mut self.functions, functions);
        self.doubt_functions();
        let returning = std::mem::take(&mut self.returning);
        let strict = std::mem::replace(&mut self.strict, strict);
        let outside = std::mem::replace(&mut self.outside, self.blocks.len());
        self.budget.take(text.len())?;
        let has_join = is_last || self.has_join(&read(text).commands);
        let block = Block::new(self.is_certain(), Kind::Shell, has_join);
        self.within(is_apart, block, |shell| shell.script(text, shells))?;
        (self.returning, self.strict, self.outside) = (returning, strict, outside);
        self.variables.leave_child(before);
        self.functions = functions;
        self.ended = None;
        Ok(())
    }

    /// Notes a function. Its commands are not run here.
    pub(super) fn define(&mut self, command: &Simple, function: Function) {
        if let Some(name) = command.words.last() {
            let functions = self.functions.entry(name.text().as_str().to_owned()).or_default();
            if function.is_certain {
                functions.clear();
            }
            functions.push(function);
        }
    }

    /// What was defined may be lost.
    pub(super) fn doubt_functions(&mut self) {
        self.functions.values_mut().flatten().for_each(|function| function.is_certain = false);
    }

    /// A function may be gone.
    pub(super) fn doubt_function(&mut self, name: &str) {
        self.functions
            .get_mut(name)
            .into_iter()
            .flatten()
            .for_each(|function| function.is_certain = false);
    }

    /// Calls a function.
    fn call(
        &mut self,
        functions: &[Function],
        is_apart: bool,
        block: Block,
        words: &[Word],
        shells: usize,
    ) -> Result<()> {
        self.variables.remove(&ARGUMENTS);
        for (name, word) in ARGUMENTS.iter().zip(words.iter().skip(1)) {
            let value = word.expanded(&|source| self.value(source));
            self.variables.note_source(name, word);
            self.variables.set(name, value.as_deref().cloned());
        }
        let is_certain = matches!(functions, [only] if only.is_certain);
        for function in functions {
            let block = block.of_function(is_certain, function.has_join);
            self.returning(is_apart, block, |shell| {
                shell.run(&function.script, function.body.clone(), shells - 1)
            })?;
        }
        self.variables.remove(&ARGUMENTS);
        self.spoil_named("function", words.get(1..).unwrap_or_default(), None);
        Ok(())
    }

    /// Calls the functions that a command names as its arguments: it may run them.
    pub(super) fn call_named(&mut self, words: &[Word], shells: usize) -> Result<()> {
        for position in 1..words.len() {
            let name = words[position].text();
            if let Some(functions) = self.functions.get(name.as_str()).cloned().filter(|_| shells > 0) {
                let words = words.get(position..).unwrap_or_default();
                let block = Block::new(false, Kind::Function, false);
                self.call(&functions, false, block, words, shells)?;
            }
        }
        Ok(())
    }

    /// Does something that is run where the command is, and that `return` ends.
    fn returning(
        &mut self,
        is_apart: bool,
        block: Block,
        evaluate: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<()> {
        self.returning += 1;
        self.within(is_apart, block, evaluate)?;
        self.returning -= 1;
        self.ended.take_if(|end| *end == End::Function);
        Ok(())
    }

    /// Does something that is run where the command is. `is_apart` is true if a process of its own runs it.
    pub(super) fn within(
        &mut self,
        is_apart: bool,
        block: Block,
        evaluate: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<()> {
        let before = if is_apart {
            self.budget.take(self.variables.count() * COST)?;
            Some(self.variables.clone())
        } else {
            None
        };
        let blocks = self.blocks.len();
        self.blocks.push(block);
        let (runs, status) = (self.runs, self.status);
        evaluate(self)?;
        (self.runs, self.status) = (runs, status);
        self.blocks.truncate(blocks);
        if let Some(before) = before {
            self.variables.forget_changes_since(&before);
            self.doubt_functions();
            self.ended = None;
        }
        Ok(())
    }

    /// The functions that a command calls: programs in front of it know none.
    fn functions_of(&self, command: &Simple, program: &str) -> Option<Vec<Function>> {
        let mut words = command.words.iter().map(Word::text);
        let first =
            words.find(|word| !KEYWORDS.contains(&word.as_str()) && prefixes::assignment(word).is_none());
        let is_first = first.is_none_or(|first| first.as_str() == program || first.starts_with(['$', '`']));
        self.functions.get(program).filter(|_| is_first).cloned()
    }

    /// Whether the user data has a function or a script of its own in place of a program.
    pub(super) fn is_replaced(&self, command: &Simple, words: &[Word]) -> bool {
        let Some(first) = words.first() else { return false };
        let name = first.text();
        let path = self.path(first).filter(|path| self.found.workspace.has(path));
        self.functions_of(command, &name).is_some() || path.or_else(|| self.in_search_path(&name)).is_some()
    }

    /// The file of the user data that the shell finds under a program's name.
    fn in_search_path(&self, name: &str) -> Option<String> {
        let named = self.found.workspace.of_name(name);
        let folder_of = |path: &String| path.strip_suffix(name).map(str::to_owned);
        SEARCH_PATH
            .iter()
            .find_map(|folder| named.iter().find(|path| folder_of(path).as_deref() == Some(folder)).cloned())
    }

    /// Gives variables their values for a command within this shell alone: `NAME=value function`. Returns
    /// their names.
    pub(super) fn assign_for(&mut self, command: &Simple, words: &[Word]) -> Vec<String> {
        let Some(program) = words.first().map(Word::text) else { return Vec::new() };
        let is_here = ["eval", ".", "source", "envsubst"].contains(&program.as_str());
        if !is_here && self.functions_of(command, &program).is_none() {
            return Vec::new();
        }
        let in_front = command.words.get(..command.words.len().saturating_sub(words.len()));
        let mut names = Vec::new();
        for word in in_front.unwrap_or_default() {
            let text = word.text();
            let Some((name, _)) = prefixes::assignment(&text) else { continue };
            let is_asked = words.iter().flat_map(Word::sources).any(|source| source.contains(name));
            let value = prefixes::assigned(word, &|source| self.value(source)).filter(|_| !is_asked);
            self.variables.set(name, value);
            self.variables.export(name);
            names.push(name.to_owned());
        }
        names
    }

    /// The file that a word names, if that is known.
    pub(super) fn path(&self, word: &Word) -> Option<String> {
        match self.fields(word)?.as_slice() {
            [path] => place(path),
            _ => None,
        }
    }
}

/// Whether the words run a shell.
fn is_shell(words: &[Word]) -> bool {
    words.first().is_some_and(|word| SHELLS.contains(&last(&word.text())))
}

/// Whether the first line of a script has the option that ends it at the first failure.
fn names_strict(text: &str) -> bool {
    let first = text.lines().next().filter(|line| line.starts_with("#!"));
    first.is_some_and(|line| line.split_whitespace().skip(1).any(is_strict_option))
}

/// `-e`, `-xe`, `errexit`
fn is_strict_option(option: &str) -> bool {
    option == "errexit" || option.starts_with('-') && !option.starts_with("--") && option.contains('e')
}

/// The last part of a program's path.
fn last(program: &str) -> &str {
    program.rsplit('/').next().unwrap_or_default()
}

/// Whether the options of a shell say that a text follows, and the position of that text or of the script.
fn shell_options(words: &[Word]) -> (bool, usize) {
    let (mut is_text, mut position) = (false, 1);
    while let Some(option) = words.get(position).map(Word::text).filter(|word| word.starts_with(['-', '+'])) {
        position += 1;
        if option.starts_with("--") {
            continue;
        }
        is_text |= option.contains('c');
        position += usize::from(option.ends_with(['o', 'O']));
    }
    (is_text, position)
}

/// Cluster API's script that tries each phase of the join several times, and the config that it names.
fn retried_config<'t>(path: &str, script: &'t str) -> Option<&'t str> {
    let is_script = path == paths::CLUSTER_API_RETRY;
    let (_, rest) = script.split_once("\"$@\" --config=").filter(|_| is_script)?;
    rest.split_whitespace().next()
}
