//! Commands in user data: finds the join, and evaluates what simple commands do to the file that it reads. It
//! runs none of them.

use std::ffi::{OsStr, OsString};

use zeroize::Zeroizing;

use super::bounds::{Budget, Bytes, append, wrong};
use super::files::Files;
use super::jinja::MARK;
use super::prefixes;
use super::sed;
use super::shell::{self, After, Simple, Word};
use super::variables::Variables;
use super::workspace::{Workspace, document};
use crate::cli;
use crate::cli::request::Request;
use crate::config::flags::JoinFlags;
use crate::config::role::Role;
use crate::document::Document;
use crate::error::{Failure, Result};
use crate::paths;

/// The folder of the sentinel file that Cluster API's infrastructure providers wait for
/// (<https://cluster-api.sigs.k8s.io/developer/providers/contracts/bootstrap-config>, sentinel file).
pub const SENTINELS: &str = paths::CLUSTER_API;

/// Commands that the agent can safely leave out: those in Cluster API's own script, besides the join.
const HARMLESS: &[&str] =
    &["set", "fi", "done", "}", "esac", "mkdir -p /run/cluster-api", "mv /etc/kubeadm.yml /tmp/"];

/// Programs that only read the files that they name.
const READERS: &[&str] = &[
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

/// Programs that show their arguments and do not run them.
const SHOWING: &[&str] = &[":", "echo", "grep", "logger", "printf", "wall", "write"];

/// Commands that are asked a question, so that what follows `&&` may not be run.
const QUESTIONS: &[&str] =
    &["!", "[", "[[", "cmp", "command", "diff", "false", "grep", "pgrep", "systemctl", "test", "which"];

/// kubeadm's options in front of its subcommand that take the next word as their value.
const KUBEADM_VALUED: &[&str] = &["-v", "--v", "--rootfs"];

/// The limit for nested shells and scripts.
const SHELLS: usize = 4;
/// The limit for commands, those in scripts included.
const COMMANDS: usize = 20_000;

/// A command in user data.
pub enum Command {
    /// A line or a script for the shell.
    Shell(Zeroizing<String>),
    /// The program and its arguments.
    Words(Vec<Zeroizing<String>>),
}

/// The effect of all commands.
pub struct Evaluated<'a> {
    /// The flags of `kubeadm join`.
    pub join: Option<JoinFlags>,
    /// What the file that the join reads holds then.
    pub config: Option<Document>,
    /// The file that marks a successful join.
    pub sentinel: Option<String>,
    /// How many commands are not done.
    pub others: usize,
    /// The files after the commands.
    pub workspace: Workspace<'a>,
}

/// Evaluates all commands.
pub fn evaluate<'a>(
    commands: &[Command],
    files: Files,
    variables: Variables<'a>,
    budget: &'a Budget,
) -> Result<Evaluated<'a>> {
    let mut shell = Shell {
        found: Evaluated {
            join: None,
            config: None,
            sentinel: None,
            others: 0,
            workspace: Workspace::new(files, budget),
        },
        budget,
        variables,
        piped: None,
        reason: None,
        blocks: 0,
        was_question: false,
        left: COMMANDS,
    };
    for command in commands {
        match command {
            Command::Shell(text) => shell.script(text, SHELLS)?,
            Command::Words(words) => {
                let words = words.iter().map(|text| Word::plain(text)).collect();
                shell.command(&Simple { words, ..Simple::default() }, SHELLS)?;
            }
        }
    }
    Ok(shell.found)
}

struct Shell<'a> {
    found: Evaluated<'a>,
    budget: &'a Budget,
    variables: Variables<'a>,
    /// What the command before a pipe gives, if it is known.
    piped: Option<Bytes>,
    /// Why it is not known, if that can be said.
    reason: Option<Failure>,
    /// How many compound commands are around the next one.
    blocks: usize,
    was_question: bool,
    /// How many more commands are evaluated.
    left: usize,
}

impl Shell<'_> {
    /// `shells` is how many more levels of nested shells to evaluate.
    fn script(&mut self, text: &str, shells: usize) -> Result<()> {
        self.budget.take(text.len())?;
        let script = shell::read(text);
        if script.is_broken && text.contains("kubeadm") {
            return Err(wrong(
                "a command that names kubeadm cannot be read: a quote or a here-document has no end",
            ));
        }
        self.found.others += usize::from(script.is_broken);
        let blocks = self.blocks;
        script.commands.iter().try_for_each(|simple| self.command(simple, shells))?;
        self.blocks = blocks;
        Ok(())
    }

    fn command(&mut self, command: &Simple, shells: usize) -> Result<()> {
        self.left = self.left.checked_sub(1).ok_or_else(|| wrong("there are too many commands"))?;
        let piped = self.piped.take().filter(|_| command.after == After::Pipe);
        self.reason.take_if(|_| command.after != After::Pipe);
        self.enter_block(command);
        let words = prefixes::strip(&command.words);
        let first = words.first().map(Word::text).unwrap_or_default();
        let program = first.rsplit('/').next().unwrap_or_default();
        match program {
            "kubeadm" if self.kubeadm(words)? => {}
            _ if self.nested(command, &first, words, shells)? => {}
            "echo" if self.is_sentinel(command) => {}
            _ if is_harmless(words) => self.assign(command, &command.words),
            "export" | "declare" | "readonly" => self.assign(command, words),
            _ => self.other(command, program, words, piped)?,
        }
        self.was_question = QUESTIONS.contains(&program);
        Ok(())
    }

    /// Counts the blocks that begin and end here.
    fn enter_block(&mut self, command: &Simple) {
        for word in &command.words {
            match word.text().as_str() {
                "if" | "while" | "until" | "for" | "case" | "{" => self.blocks += 1,
                "fi" | "done" | "esac" | "}" => self.blocks = self.blocks.saturating_sub(1),
                "then" | "else" | "elif" | "do" | "!" => {}
                _ => break,
            }
        }
    }

    /// Whether the shell certainly runs the command.
    fn is_certain(&self, command: &Simple) -> bool {
        self.blocks == 0
            && match command.after {
                After::Anything | After::Pipe => true,
                After::Success => !self.was_question,
                After::Failure => false,
            }
    }

    /// Returns false if it is a command of kubeadm that has no effect on the join.
    fn kubeadm(&mut self, words: &[Word]) -> Result<bool> {
        let mut position = 1;
        while let Some(option) = words.get(position).map(Word::text).filter(|word| word.starts_with('-')) {
            position += if KUBEADM_VALUED.contains(&option.as_str()) { 2 } else { 1 };
        }
        match words.get(position).map(|word| word.text()).as_deref().map(String::as_str) {
            Some("join") => self.join(words).map(|()| true),
            Some("init") => Err(Role::FirstControlPlane.refusal()),
            _ => Ok(false),
        }
    }

    fn join(&mut self, words: &[Word]) -> Result<()> {
        if words.iter().any(|word| word.text().contains(MARK)) {
            return Err(wrong(
                "the command kubeadm join has a template expression that has no value on this machine",
            ));
        }
        let mut arguments = Vec::new();
        for word in words.iter().skip(1) {
            let word = word.expanded(&|source| self.variables.value(source)).ok_or_else(|| {
                wrong("the command kubeadm join has variables of the shell in it")
                    .help("write what they stand for")
            })?;
            arguments.push(OsString::from(word.as_str()));
        }
        // Its errors may repeat words of the command, which are user data and may be secret.
        let Ok(Request::Join(request)) = cli::parse(OsStr::new("kubeadm"), arguments) else {
            return Err(wrong("the flags of the command kubeadm join are not those that kubeadm has")
                .help("try them: firstboot join --dry-run with the same flags"));
        };
        self.joined(request.flags)
    }

    /// Notes the join, and what its file holds now.
    fn joined(&mut self, flags: JoinFlags) -> Result<()> {
        match &self.found.join {
            Some(before) if *before != flags => {
                return Err(wrong("kubeadm join is there twice, with different flags"));
            }
            Some(_) => return Ok(()),
            None => {}
        }
        if let Some(path) = flags.config.as_deref().and_then(|path| path.to_str()) {
            let config = self.found.workspace.read(path)?;
            let config =
                config.map(|config| self.variables.fill_in_afterburns(config, self.budget)).transpose()?;
            self.found.config = config.map(|config| document(&config)).transpose()?;
        }
        self.found.join = Some(flags);
        Ok(())
    }

    /// A shell within the shell, or a script of the user data.
    fn nested(&mut self, command: &Simple, program: &str, words: &[Word], shells: usize) -> Result<bool> {
        let name = program.rsplit('/').next().unwrap_or_default();
        let mut path = program.to_owned();
        match name {
            "eval" => {
                let words: Option<Vec<_>> = words
                    .iter()
                    .skip(1)
                    .map(|word| word.expanded(&|source| self.variables.value(source)))
                    .collect();
                let Some(words) = words.filter(|_| shells > 0) else { return Ok(false) };
                let line =
                    Zeroizing::new(words.iter().map(|word| word.as_str()).collect::<Vec<_>>().join(" "));
                return self.script(&line, shells - 1).map(|()| true);
            }
            "sh" | "bash" | "dash" | "ash" | "ksh" | "zsh" => {
                let (is_text, position) = shell_options(words);
                let text = words.get(position).filter(|_| is_text).or(command.here.as_ref());
                if let Some(text) = text.filter(|_| shells > 0) {
                    // The inner shell expands the rest of what is in it.
                    return self.script(&text.text(), shells - 1).map(|()| true);
                }
                words.get(position).map(Word::text).unwrap_or_default().as_str().clone_into(&mut path);
            }
            "." | "source" => words.get(1).map(Word::text).unwrap_or_default().as_str().clone_into(&mut path),
            _ => {}
        }
        self.own_script(&path, shells)
    }

    /// Evaluates a script that the user data writes. It is not written to the machine.
    fn own_script(&mut self, path: &str, shells: usize) -> Result<bool> {
        let Some(script) = self.found.workspace.script(path).filter(|_| shells > 0) else { return Ok(false) };
        self.found.workspace.take(path);
        match retried_config(path, &script) {
            Some(config) => {
                let arguments = ["join", "--config", config].map(OsString::from);
                let Ok(Request::Join(request)) = cli::parse(OsStr::new("kubeadm"), arguments) else {
                    return Ok(false);
                };
                self.joined(request.flags)?;
            }
            None => self.script(&script, shells - 1)?,
        }
        Ok(true)
    }

    /// A command that is not done, unless all that it does is to change these files.
    fn other(&mut self, command: &Simple, program: &str, words: &[Word], piped: Option<Bytes>) -> Result<()> {
        let here = command.here.iter().filter(|_| !READERS.contains(&program));
        if !SHOWING.contains(&program) && names_a_join(words.iter().chain(here)) {
            return Err(wrong("a command names kubeadm join or init in a way that is not understood").help(
                "write kubeadm join on a line of its own, with plain blanks and without programs in front",
            ));
        }
        let is_done = self.edit(command, program, words, piped);
        self.found.others += usize::from(!is_done);
        Ok(())
    }

    /// Does what the command does to the files of the user data. Returns whether that is all of it.
    fn edit(&mut self, command: &Simple, program: &str, words: &[Word], piped: Option<Bytes>) -> bool {
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

    /// Notes the values that assignments give to variables.
    fn assign(&mut self, command: &Simple, words: &[Word]) {
        let is_certain = self.is_certain(command);
        for word in words {
            let text = word.text();
            let Some((name, _)) = prefixes::assignment(&text) else { continue };
            let value = word.expanded(&|source| self.variables.value(source)).filter(|_| is_certain);
            let value = value.and_then(|text| Some(prefixes::assignment(&text)?.1.to_owned()));
            self.variables.set(name, value);
        }
    }

    /// `echo success > /run/cluster-api/bootstrap-success.complete`
    fn is_sentinel(&mut self, command: &Simple) -> bool {
        let Some(path) = command.output.as_ref().map(|output| &output.path).filter(|path| !path.expands())
        else {
            return false;
        };
        let is_plain = |name: &&str| {
            name.len() < 100 && name.bytes().all(|byte| byte.is_ascii_lowercase() || b"-.".contains(&byte))
        };
        let path = path.text();
        let Some(name) =
            path.strip_prefix(SENTINELS).filter(is_plain).filter(|name| name.starts_with("bootstrap"))
        else {
            return false;
        };
        self.found.sentinel = Some(format!("{SENTINELS}{name}"));
        true
    }
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

/// Whether the words name kubeadm's join or init, in any way.
fn names_a_join<'w>(words: impl Iterator<Item = &'w Word>) -> bool {
    words
        .fold((false, false), |(after_kubeadm, found), word| {
            let (kubeadm, join) = scan(&word.text(), after_kubeadm);
            (kubeadm, found || join)
        })
        .1
}

/// Whether `text` names kubeadm, and a join or an init behind it.
pub fn mentions_a_join(text: &str) -> bool {
    scan(text, false).1
}

fn scan(text: &str, after_kubeadm: bool) -> (bool, bool) {
    let is_of_word = |character: char| character.is_alphanumeric() || "-_".contains(character);
    let (mut kubeadm, mut join) = (after_kubeadm, false);
    for word in text.split(|character| !is_of_word(character)) {
        join |= kubeadm && matches!(word, "join" | "init");
        kubeadm |= word == "kubeadm";
    }
    (kubeadm, join)
}

/// Whether a program may change the files that it names.
fn changes(program: &str, words: &[Word]) -> bool {
    match program {
        "sed" | "yq" | "awk" | "gawk" | "perl" => words.iter().skip(1).any(|word| is_in_place(&word.text())),
        "jq" | "envsubst" => false,
        program => !READERS.contains(&program),
    }
}

/// `-i`, `-Ei`, `-i.bak`, `--in-place`
fn is_in_place(option: &str) -> bool {
    match option.strip_prefix('-') {
        Some(long) if long.starts_with('-') => long.starts_with("-in-place") || long.starts_with("-inplace"),
        Some(letters) => letters
            .split(|letter: char| !letter.is_ascii_alphabetic())
            .next()
            .is_some_and(|letters| letters.contains('i')),
        None => false,
    }
}

/// The substitutions and the files of a `sed`; `None` if it does more.
fn sed_arguments<'w>(arguments: &[&'w str]) -> Option<(Vec<sed::Substitution>, Vec<&'w str>)> {
    let (mut scripts, mut paths, mut is_extended) = (Vec::new(), Vec::new(), false);
    let mut rest = arguments.iter().copied();
    while let Some(argument) = rest.next() {
        match argument {
            "-e" | "--expression" => scripts.push(rest.next()?),
            "-E" | "-r" | "--regexp-extended" => is_extended = true,
            "-Ei" | "-ri" => is_extended = true,
            option if is_in_place(option) => {}
            option if option.starts_with('-') => return None,
            path => paths.push(path),
        }
    }
    if scripts.is_empty() {
        scripts.push(if paths.is_empty() { return None } else { paths.remove(0) });
    }
    let parsed: Option<Vec<_>> = scripts.into_iter().map(|script| sed::parse(script, is_extended)).collect();
    Some((parsed?.into_iter().flatten().collect(), paths))
}

/// What `echo` writes; `None` if that depends on the shell.
fn echo(arguments: &[&str]) -> Option<String> {
    let (has_end, words) = match arguments {
        ["-n", words @ ..] => (false, words),
        words => (true, words),
    };
    let text = words.join(" ");
    let is_plain = !text.contains('\\') && !text.starts_with("-e") && !text.starts_with("-n");
    is_plain.then(|| if has_end { text + "\n" } else { text })
}

/// What `printf` writes, with `%s`, `%%` and the usual escapes.
fn printf(arguments: &[&str]) -> Option<String> {
    let (format, mut words) = arguments.split_first().map(|(format, words)| (*format, words.iter()))?;
    let mut text = String::new();
    let mut rest = format.chars();
    while let Some(character) = rest.next() {
        match (character, if matches!(character, '%' | '\\') { rest.next() } else { None }) {
            ('%', Some('s')) => text.push_str(words.next().copied().unwrap_or_default()),
            ('%', Some('%')) => text.push('%'),
            ('\\', Some('n')) => text.push('\n'),
            ('\\', Some('t')) => text.push('\t'),
            ('\\', Some('\\')) => text.push('\\'),
            ('%' | '\\', _) => return None,
            (character, _) => text.push(character),
        }
    }
    words.next().is_none().then_some(text)
}

fn is_harmless(words: &[Word]) -> bool {
    let texts: Vec<Zeroizing<String>> = words.iter().map(Word::text).collect();
    let line = Zeroizing::new(texts.iter().map(|text| text.as_str()).collect::<Vec<_>>().join(" "));
    words.is_empty()
        || HARMLESS.iter().any(|harmless| {
            *harmless == line.as_str()
                || (*harmless == "set" && texts.first().is_some_and(|text| text.as_str() == "set"))
        })
}

#[cfg(test)]
#[path = "commands_tests.rs"]
mod tests;
