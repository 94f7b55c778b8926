//! Commands in user data: finds the join, and evaluates what simple commands do to the file that it reads. It
//! runs none of them. `joins` reads the join itself, `host_names` the names that they set, `edits` does what
//! they do to files, `named` finds the files that others may change, `assigned` follows variables,
//! `certainty` tells what is certainly run, `nested` follows shells, scripts and functions, `started`
//! systemd's units, `printed` tells what commands write.
//!
//! What is not certain is never guessed: a file or a variable that a command may change in a way that is not
//! understood has no known value any more, and a join that needs it is refused.

mod assigned;
mod certainty;
mod edits;
mod host_names;
mod joins;
mod named;
mod nested;
mod printed;
mod started;

use std::collections::HashMap;
use std::rc::Rc;

use zeroize::Zeroizing;

use crate::config::flags::JoinFlags;
use crate::document::Document;
use crate::error::{Failure, Result};
use crate::userdata::bounds::{Budget, Bytes, wrong};
use crate::userdata::files::Files;
use crate::userdata::prefixes;
use crate::userdata::shell::{self, After, Piece, Script, Simple, UNKNOWN, Word};
use crate::userdata::units::Units;
use crate::userdata::variables::Variables;
use crate::userdata::workspace::{Workspace, place};

use certainty::{Block, End, Kind, Runs, Status, Strict, end_of_body, goes_on, last_join};
use joins::{SHOWING, is_join, names_a_join, not_understood};

/// Commands that the agent can safely leave out: those in Cluster API's own script, besides the join.
const HARMLESS: &[&str] =
    &["fi", "done", "}", "esac", "mkdir -p /run/cluster-api", "mv /etc/kubeadm.yml /tmp/"];

/// The limit for nested shells and scripts.
const SHELLS: usize = 8;
/// The limit for commands, those in scripts included.
const COMMANDS: usize = 20_000;

/// What user data runs, in order. Each script has a process of its own.
#[derive(Default)]
pub struct Program {
    /// What runs before the files are written: cloud-init's `bootcmd`.
    pub before_files: Option<Script>,
    /// systemd's units.
    pub units: Units,
    /// The scripts.
    pub scripts: Vec<Script>,
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
    /// How many of those that run before the files are written are not done.
    pub others_before_files: usize,
    /// systemd's units, with those that were started.
    pub units: Units,
    /// The host name that they set before the join; the error says why it is not known.
    pub hostname: Option<Result<String>>,
    /// The files after the commands.
    pub workspace: Workspace<'a>,
}

/// Evaluates all commands.
pub fn evaluate<'a>(
    program: Program,
    files: Files,
    variables: Variables<'a>,
    budget: &'a Budget,
) -> Result<Evaluated<'a>> {
    let Program { before_files, units, scripts } = program;
    let mut shell = Shell::new(units, variables, budget);
    if let Some(script) = before_files {
        shell.before_files(&script)?;
    }
    shell.found.workspace.add(files)?;
    let started = std::mem::take(&mut shell.found.units.started);
    shell.start_units(started, SHELLS)?;
    for (position, script) in scripts.iter().enumerate() {
        let is_last = position + 1 == scripts.len();
        shell.process(script, is_last, SHELLS)?;
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
    /// Whether a command that fails ends the shell.
    strict: Strict,
    /// How many of the blocks are around the process.
    outside: usize,
    /// Whether functions are passed on to other shells.
    exports_functions: bool,
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

impl<'a> Shell<'a> {
    fn new(units: Units, variables: Variables<'a>, budget: &'a Budget) -> Self {
        Self {
            found: Evaluated {
                join: None,
                config: None,
                sentinel: None,
                others: 0,
                others_before_files: 0,
                units,
                hostname: None,
                workspace: Workspace::new(budget),
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
            strict: Strict::No,
            outside: 0,
            exports_functions: false,
            is_joined: false,
            names_a_join: false,
            left: COMMANDS,
        }
    }

    /// Evaluates what runs before the files of the user data are there. The host name that it sets does not
    /// stay: cloud-init sets its own afterwards.
    fn before_files(&mut self, script: &str) -> Result<()> {
        let before = self.variables.clone();
        self.process(script, false, SHELLS)?;
        self.variables = before;
        self.found.hostname = None;
        self.found.others_before_files = std::mem::take(&mut self.found.others);
        let reads_a_file = self.found.join.as_ref().is_some_and(|join| join.config.is_some());
        if reads_a_file && self.found.config.is_none() {
            return Err(wrong("bootcmd joins with a file that is not there yet: it runs before write_files")
                .help("move kubeadm join to runcmd"));
        }
        Ok(())
    }

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
            // `set -n`: nothing more is run.
            "set" if reads_only(&words) => {
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
        self.fail(command, program, &words, is_nested);
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
        if program == "systemctl" {
            self.systemctl(words, shells)?;
        }
        let is_done = self.edit(command, program, words, piped);
        self.found.others += usize::from(!is_done);
        Ok(is_done || program == "cat" && command.here.is_some())
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
}

/// Whether the options of a shell, or of `set`, say that commands are read and not run.
fn reads_only(words: &[Word]) -> bool {
    let options = words.iter().skip(1).map(Word::text);
    options
        .take_while(|option| option.starts_with(['-', '+']) && option.as_str() != "--")
        .any(|option| option.starts_with('-') && !option.starts_with("--") && option.contains('n'))
}

/// Whether `exec` runs it.
fn replaces_the_shell(command: &Simple) -> bool {
    let mut words = command.words.iter().map(Word::text);
    words
        .find(|word| prefixes::assignment(word).is_none())
        .is_some_and(|word| word.as_str() == "exec")
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
