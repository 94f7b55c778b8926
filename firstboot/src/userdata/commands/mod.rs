//! Commands in user data: finds the join, and evaluates what simple commands do to the file that it reads. It
//! runs none of them. `edits` does what they do to files, `printed` knows what they write.

mod edits;
mod printed;

use std::ffi::{OsStr, OsString};

use zeroize::Zeroizing;

use crate::cli;
use crate::cli::request::Request;
use crate::config::flags::JoinFlags;
use crate::config::role::Role;
use crate::document::Document;
use crate::error::{Failure, Result};
use crate::paths;
use crate::userdata::bounds::{Budget, Bytes, wrong};
use crate::userdata::files::Files;
use crate::userdata::jinja::MARK;
use crate::userdata::prefixes;
use crate::userdata::shell::{self, After, Simple, Word};
use crate::userdata::variables::Variables;
use crate::userdata::workspace::{Workspace, document};

/// The folder of the sentinel file that Cluster API's infrastructure providers wait for
/// (<https://cluster-api.sigs.k8s.io/developer/providers/contracts/bootstrap-config>, sentinel file).
pub const SENTINELS: &str = paths::CLUSTER_API;

/// Commands that the agent can safely leave out: those in Cluster API's own script, besides the join.
const HARMLESS: &[&str] =
    &["set", "fi", "done", "}", "esac", "mkdir -p /run/cluster-api", "mv /etc/kubeadm.yml /tmp/"];

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
        let here = command.here.iter().filter(|_| !edits::READERS.contains(&program));
        if !SHOWING.contains(&program) && names_a_join(words.iter().chain(here)) {
            return Err(wrong("a command names kubeadm join or init in a way that is not understood").help(
                "write kubeadm join on a line of its own, with plain blanks and without programs in front",
            ));
        }
        let is_done = self.edit(command, program, words, piped);
        self.found.others += usize::from(!is_done);
        Ok(())
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
mod tests;
