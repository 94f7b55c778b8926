//! Commands in user data: finds the join, and evaluates what simple commands do to the file that it reads. It
//! runs none of them. `edits` does what they do to files, `named` finds the files that others may change,
//! `assigned` follows variables, `certainty` tells what is certainly run, `nested` follows shells, scripts
//! and functions, `printed` tells what commands write.
//!
//! What is not certain is never guessed: a file or a variable that a command may change in a way that is not
//! understood has no known value any more, and a join that needs it is refused.

mod assigned;
mod certainty;
mod edits;
mod named;
mod nested;
mod printed;

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::rc::Rc;

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
use crate::userdata::shell::{self, After, Piece, Simple, UNKNOWN, Word};
use crate::userdata::variables::Variables;
use crate::userdata::workspace::{Workspace, document, place};

use certainty::{Block, End, Kind, Runs, Status, end_of_body, goes_on, last_join};

/// The folder of the sentinel file that Cluster API's infrastructure providers wait for
/// (<https://cluster-api.sigs.k8s.io/developer/providers/contracts/bootstrap-config>, sentinel file).
pub const SENTINELS: &str = paths::CLUSTER_API;

/// Commands that the agent can safely leave out: those in Cluster API's own script, besides the join.
const HARMLESS: &[&str] =
    &["fi", "done", "}", "esac", "mkdir -p /run/cluster-api", "mv /etc/kubeadm.yml /tmp/"];

/// Programs that show their arguments and do not run them.
const SHOWING: &[&str] = &[":", "echo", "grep", "logger", "printf", "wall", "write"];

/// Programs that run what they read, or another program that they are given.
const RUNNING: &[&str] =
    &["alias", "ash", "at", "bash", "batch", "dash", "ksh", "parallel", "sh", "xargs", "zsh"];
/// Programs that pass on what they read.
const FILTERS: &[&str] =
    &["awk", "base64", "cut", "envsubst", "jq", "sed", "sort", "tee", "tr", "uniq", "yq"];

/// kubeadm's options in front of its subcommand that take the next word as their value.
const KUBEADM_VALUED: &[&str] = &["-v", "--v", "--rootfs"];

/// The limit for nested shells and scripts.
const SHELLS: usize = 8;
/// The limit for commands, those in scripts included.
const COMMANDS: usize = 20_000;

/// A command in user data.
pub enum Command {
    /// A line for the shell.
    Shell(Zeroizing<String>),
    /// A script with a process of its own.
    Script(Zeroizing<String>),
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
    /// The host name that they set before the join; the error says why it is not known.
    pub hostname: Option<Result<String>>,
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
            hostname: None,
            workspace: Workspace::new(files, budget),
        },
        budget,
        variables,
        piped: None,
        reason: None,
        upstream: Vec::new(),
        functions: HashMap::new(),
        blocks: Vec::new(),
        runs: Runs::Yes,
        status: Status::default(),
        returning: 0,
        ended: None,
        is_joined: false,
        names_a_join: false,
        left: COMMANDS,
    };
    for command in commands {
        shell.ended = None;
        match command {
            Command::Shell(text) => shell.script(text, SHELLS)?,
            Command::Script(text) => {
                shell.reach(&Simple::default(), false);
                shell.process(text)?;
            }
            Command::Words(words) => {
                let words = words.iter().map(|text| Word::plain(text)).collect();
                let command = Simple { words, ..Simple::default() };
                shell.reach(&command, false);
                shell.command(&command, SHELLS)?;
            }
        }
    }
    // What was not followed for want of budget is not known.
    budget.check()?;
    if shell.found.join.is_none() && shell.names_a_join {
        return Err(wrong("kubeadm join is there, and no command that is run leads to it")
            .help("is it in a function that nothing calls, or behind exit?"));
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
    /// The words of the commands whose output goes to the next one.
    upstream: Vec<Word>,
    functions: HashMap<String, Vec<Function>>,
    /// The compound commands around the next one.
    blocks: Vec<Block>,
    /// Whether the command that was reached is run.
    runs: Runs,
    /// How the command before ended.
    status: Status,
    /// How many functions and sourced scripts are around the next command: `return` ends one.
    returning: usize,
    /// What a command ended. The commands that follow are not run.
    ended: Option<End>,
    /// Whether a join was found that is certainly run.
    is_joined: bool,
    /// Whether a command names a join, whether it is run or not.
    names_a_join: bool,
    /// How many more commands are evaluated.
    left: usize,
}

/// What a function of the shell may be: some of the commands of a script.
#[derive(Clone)]
struct Function {
    script: Rc<Vec<Simple>>,
    body: std::ops::Range<usize>,
    /// Whether it certainly is this.
    is_certain: bool,
    /// Whether a join is in it.
    has_join: bool,
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
        self.names_a_join |= script.commands.iter().any(is_join);
        let commands = Rc::new(script.commands);
        let blocks = self.blocks.len();
        self.run(&commands, 0..commands.len(), shells)?;
        self.blocks.truncate(blocks);
        Ok(())
    }

    fn run(
        &mut self,
        commands: &Rc<Vec<Simple>>,
        range: std::ops::Range<usize>,
        shells: usize,
    ) -> Result<()> {
        let mut position = range.start;
        // Behind the join that the list of this command leads to.
        let mut join = 0;
        while let Some(command) = commands.get(position).filter(|_| position < range.end)
            && self.ended.is_none()
        {
            position += 1;
            if position == range.start + 1 || !goes_on(command) {
                let list = commands.get(position - 1..range.end).unwrap_or_default();
                join = last_join(list).map_or(0, |join| join + position);
            }
            self.reach(command, position < join);
            if command.is_function {
                self.count()?;
                let end = end_of_body(commands, position).min(range.end);
                let body = position..end;
                let has_join = self.has_join(commands.get(body.clone()).unwrap_or_default());
                let is_certain = self.is_certain() && !command.is_apart;
                self.define(command, Function { script: Rc::clone(commands), body, is_certain, has_join });
                position = end;
            } else {
                self.command(command, shells)?;
            }
        }
        Ok(())
    }

    /// Counts a command.
    fn count(&mut self) -> Result<()> {
        self.left = self.left.checked_sub(1).ok_or_else(|| wrong("there are too many commands"))?;
        Ok(())
    }

    fn command(&mut self, command: &Simple, shells: usize) -> Result<()> {
        self.count()?;
        self.enter_block(command);
        if self.runs == Runs::No {
            self.finish(command, "", &[], false);
            return Ok(());
        }
        let piped = self.piped.take().filter(|_| command.after == After::Pipe);
        if command.after != After::Pipe {
            self.reason = None;
            self.upstream.clear();
        }
        self.substitutions(command, shells)?;
        let words = self.without_prefixes(command);
        let first = words.first().map(Word::text).unwrap_or_default();
        let program = first.rsplit('/').next().unwrap_or_default();
        self.forget_counted(command);
        let assigned = self.assign_for(command, &words);
        let mut is_nested = false;
        let is_handled = match program {
            "kubeadm" if !self.is_replaced(command, &words) && self.kubeadm(&words)? => true,
            "exit" => {
                self.end(command, End::Shell);
                true
            }
            "return" => {
                self.end(command, End::Function);
                true
            }
            _ if self.nested(command, &first, &words, piped.as_ref(), shells)? => {
                is_nested = true;
                true
            }
            "echo" if self.is_sentinel(command) => true,
            "hostname" | "hostnamectl" if self.rename_host(program, &words) => true,
            _ if self.assignments(command, program, &words) => true,
            _ => false,
        };
        let is_known = if is_handled {
            self.spoil_outputs(command, program);
            !is_nested && !["exit", "return", "kubeadm"].contains(&program) && self.is_known(command)
        } else {
            self.other(command, program, &words, piped, shells)?
        };
        assigned.iter().for_each(|name| self.variables.forget(name));
        if command.is_piped {
            self.upstream.extend(words.iter().chain(&command.here).cloned());
        }
        if !words.is_empty() && replaces_the_shell(command) && self.ended.is_none() {
            self.end(command, End::Shell);
        }
        self.finish(command, program, &words, is_known);
        Ok(())
    }

    /// Does what commands within words do: `$(…)`. Whatever that is, it is not certain.
    fn substitutions(&mut self, command: &Simple, shells: usize) -> Result<()> {
        let paths = command.outputs.iter().map(|output| &output.path);
        let words = command.words.iter().chain(paths).chain(&command.input).chain(&command.here);
        let sources: Vec<&str> = words.flat_map(Word::sources).collect();
        let (others, upstream) = (self.found.others, std::mem::take(&mut self.upstream));
        for inner in sources.into_iter().filter_map(shell::substitution) {
            if shells == 0 {
                self.doubt_all();
                continue;
            }
            self.within(true, Block::new(false, Kind::Shell, false), |shell| {
                shell.script(&inner, shells - 1)
            })?;
        }
        (self.found.others, self.upstream) = (others, upstream);
        self.piped = None;
        Ok(())
    }

    /// Whether the status of assignments is known: it is that of the commands within them.
    fn is_known(&self, command: &Simple) -> bool {
        let mut sources = command.words.iter().flat_map(Word::sources);
        sources.all(|source| shell::substitution(source).is_none() || self.value(source).is_some())
    }

    /// Commands are nested too deeply: what they do is not known.
    fn doubt_all(&mut self) {
        self.found.workspace.spoil_all();
        self.variables.forget_all();
    }

    /// The words of the command itself. A program whose name is a variable's value is found in that value.
    fn without_prefixes(&self, command: &Simple) -> Vec<Word> {
        let words = prefixes::strip(&command.words);
        let Some((first, rest)) = words.split_first().filter(|(first, _)| first.sources().next().is_some())
        else {
            return words.to_vec();
        };
        let Some(fields) = self.fields(first) else { return words.to_vec() };
        let all: Vec<Word> =
            fields.iter().map(|field| Word::plain(field)).chain(rest.iter().cloned()).collect();
        prefixes::strip(&all).to_vec()
    }

    /// The words that the shell makes of a word, if they are known.
    fn fields(&self, word: &Word) -> Option<Vec<Zeroizing<String>>> {
        let is_understood = !word.is_divided() || !self.variables.divides_otherwise();
        word.fields(&|source| self.value(source)).filter(|_| is_understood)
    }

    /// The value of a variable, or what a simple command prints.
    fn value(&self, source: &str) -> Option<String> {
        let inner = source.strip_prefix("$(").and_then(|inner| inner.strip_suffix(')'));
        let path = inner.and_then(|inner| {
            let inner = inner.trim();
            inner.strip_prefix("cat ").or_else(|| inner.strip_prefix('<')).map(str::trim)
        });
        match path.and_then(place).filter(|path| self.found.workspace.has(path)) {
            Some(path) => {
                let bytes = self.found.workspace.copy(&path)?;
                std::str::from_utf8(&bytes).ok().map(|text| text.trim_end_matches('\n').to_owned())
            }
            None => self.variables.value(source),
        }
    }

    /// Returns false if it is a command of kubeadm that has no effect on the join.
    fn kubeadm(&mut self, words: &[Word]) -> Result<bool> {
        let mut position = 1;
        while let Some(option) = words.get(position).map(Word::text).filter(|word| word.starts_with('-')) {
            position += if KUBEADM_VALUED.contains(&option.as_str()) { 2 } else { 1 };
        }
        let Some(word) = words.get(position) else { return Ok(false) };
        let fields = self.fields(word).ok_or_else(not_understood)?;
        match fields.first().map(|field| field.as_str()) {
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
            let fields = self.fields(word).ok_or_else(|| {
                wrong("the command kubeadm join has variables of the shell in it")
                    .help("write what they stand for")
            })?;
            arguments.extend(fields.iter().map(|field| OsString::from(field.as_str())));
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
            Some(_) if self.is_joined => return Ok(()),
            _ => {}
        }
        let mut content = None;
        if let Some(path) = flags.config.as_deref().and_then(|path| path.to_str()) {
            let place = place(path);
            let config = self.found.workspace.read(place.as_deref().unwrap_or(path))?;
            let config =
                config.map(|config| self.variables.fill_in_afterburns(config, self.budget)).transpose()?;
            content = config.map(|config| document(&config)).transpose()?;
        }
        self.is_joined |= self.is_certain();
        if self.found.join.is_none() {
            self.found.config = content;
        } else if self.found.config.as_ref().map(Document::bytes) != content.as_ref().map(Document::bytes) {
            return Err(wrong("kubeadm join is there twice, with different configs"));
        }
        self.found.join = Some(flags);
        Ok(())
    }

    /// A command that is not done, unless all that it does is to change these files.
    fn other(
        &mut self,
        command: &Simple,
        program: &str,
        words: &[Word],
        piped: Option<Bytes>,
        shells: usize,
    ) -> Result<bool> {
        let here = command.here.iter().filter(|_| !edits::READERS.contains(&program));
        let texts: Vec<&Word> = words.iter().chain(here).collect();
        let names_a_join = names_a_join(texts.iter().map(|word| word.text()))
            || names_a_join(texts.iter().map(|word| self.partly(word)))
            || self.may_run_kubeadm(program, words);
        if !SHOWING.contains(&program) && names_a_join {
            return Err(not_understood());
        }
        self.call_named(words, shells)?;
        let is_done = self.edit(command, program, words, piped);
        self.found.others += usize::from(!is_done);
        Ok(is_done || program == "cat" && command.here.is_some())
    }

    /// Whether a program that is not known gets kubeadm's name, or what it prints, to run it.
    fn may_run_kubeadm(&self, program: &str, words: &[Word]) -> bool {
        let names = |word: &Word| scan(&word.text(), false).0;
        let is_reader = edits::READERS.contains(&program) || FILTERS.contains(&program);
        names_a_join(self.upstream.iter().map(Word::text)) && !is_reader
            || RUNNING.contains(&program) && words.iter().chain(&self.upstream).any(names)
            || words.first().is_some_and(|first| first.expands() && names(first))
    }

    /// The text of a word with the values that are known, as an inner shell would read it.
    fn partly(&self, word: &Word) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::new());
        for piece in word.pieces() {
            match piece {
                Piece::Text(piece) => text.push_str(piece),
                Piece::Expansion { source, .. } => match self.affordable(source) {
                    Some(value) => text.push_str(&value),
                    None => text.push(UNKNOWN),
                },
            }
        }
        text
    }

    /// The value, if the budget has room for it.
    fn affordable(&self, source: &str) -> Option<Zeroizing<String>> {
        self.budget.check().ok()?;
        let value = Zeroizing::new(self.value(source)?);
        self.budget.take(value.len()).ok().map(|()| value)
    }

    /// `hostname NAME`, `hostnamectl set-hostname NAME`. Returns false if it does something else.
    fn rename_host(&mut self, program: &str, words: &[Word]) -> bool {
        let Some(word) = named_host(program, words) else { return false };
        let name = match word {
            HostName::Text(word) => self.fields(word).filter(|fields| fields.len() == 1),
            HostName::File(word) => self
                .fields(word)
                .and_then(|fields| self.value(&format!("$(cat {})", fields.first()?.as_str())))
                .map(|name| vec![Zeroizing::new(name)]),
        };
        let name = name.filter(|_| self.is_certain());
        let name = name.and_then(|fields| Some(fields.first()?.as_str().to_owned()));
        self.variables.rename_host(name.clone());
        if self.found.join.is_none() {
            self.found.hostname = Some(name.ok_or_else(|| {
                wrong(format!("{program} sets a host name that is not known without running it"))
                    .help("set hostname: in the cloud-config, or name the node in its JoinConfiguration")
            }));
        }
        true
    }

    /// `echo success > /run/cluster-api/bootstrap-success.complete`
    fn is_sentinel(&mut self, command: &Simple) -> bool {
        let Some(path) = command.output().map(|output| &output.path).filter(|path| !path.expands()) else {
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

/// Whether `exec` runs it.
fn replaces_the_shell(command: &Simple) -> bool {
    let mut words = command.words.iter().map(Word::text);
    words
        .find(|word| prefixes::assignment(word).is_none())
        .is_some_and(|word| word.as_str() == "exec")
}

/// What a command sets the host name to.
enum HostName<'w> {
    Text(&'w Word),
    /// What is in this file.
    File(&'w Word),
}

fn named_host<'w>(program: &str, words: &'w [Word]) -> Option<HostName<'w>> {
    let texts: Vec<Zeroizing<String>> = words.iter().map(Word::text).collect();
    let texts: Vec<&str> = texts.iter().map(|text| text.as_str()).collect();
    let options = |from: usize| texts.iter().skip(from).take_while(|text| text.starts_with('-')).count();
    match (program, texts.get(1).copied()?) {
        ("hostname", "-F" | "--file") => words.get(2).map(HostName::File),
        ("hostname", "-b" | "--boot") => words.get(2).map(HostName::Text),
        ("hostname", option) if option.starts_with('-') => None,
        ("hostname", _) => words.get(1).map(HostName::Text),
        _ => {
            let position = 1 + options(1);
            let is_set = matches!(texts.get(position), Some(&("set-hostname" | "hostname")));
            let name = position + 1 + options(position + 1);
            words.get(name).filter(|_| is_set).map(HostName::Text)
        }
    }
}

fn not_understood() -> Failure {
    wrong("a command names kubeadm join or init in a way that is not understood")
        .help("write kubeadm join on a line of its own, with plain blanks and without programs in front")
}

/// Whether a command names a join and does not only show it.
fn is_join(command: &Simple) -> bool {
    let words = prefixes::strip(&command.words);
    let first = words.first().map(Word::text).unwrap_or_default();
    let program = first.rsplit('/').next().unwrap_or_default();
    !SHOWING.contains(&program) && names_a_join(words.iter().map(Word::text))
}

/// Whether the words name kubeadm's join or init, in any way.
fn names_a_join(words: impl Iterator<Item = Zeroizing<String>>) -> bool {
    words
        .fold((false, false), |(after_kubeadm, found), word| {
            let (kubeadm, join) = scan(&word, after_kubeadm);
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
    words.is_empty() || HARMLESS.iter().any(|harmless| *harmless == line.as_str())
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod oracle_tests;
