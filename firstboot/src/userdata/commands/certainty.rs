//! Which commands the shell certainly runs: lists of `&&` and `||`, blocks, parentheses, `exit` and `return`.

use super::Shell;
use super::joins::is_join;
use crate::userdata::shell::{After, KEYWORDS, Simple, Word};

/// Programs that do something and do not ask: where they fail, the machine is not as its owner wants it.
const DOING: &[&str] = &[
    "apk", "apt", "apt-get", "chgrp", "chmod", "chown", "date", "dnf", "echo", "envsubst", "export",
    "install", "ln", "logger", "mkdir", "modprobe", "printf", "sed", "set", "sleep", "swapoff", "sync",
    "sysctl", "tar", "tee", "touch", "umask", "unzip", "yum", "zypper",
];
/// What `systemctl` does without asking.
const DONE_BY_SYSTEMCTL: &[&str] =
    &["daemon-reload", "disable", "enable", "mask", "reload", "restart", "start", "stop", "unmask"];

/// Programs that ask something: their status is the answer.
const ASKING: &[&str] = &["[", "[[", "cmp", "diff", "grep", "let", "ls", "read", "test"];

/// What `set -e` says of a command that fails.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Strict {
    #[default]
    No,
    Maybe,
    /// It ends the shell.
    Yes,
}

/// How a command ends.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Status {
    Success,
    Failure,
    /// It succeeds on a machine that is as its owner wants it.
    #[default]
    Expected,
    Unknown,
}

/// Whether the shell runs a command.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Runs {
    #[default]
    Yes,
    No,
    Maybe,
}

/// What `exit` or `return` ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Shell,
    Function,
}

/// Commands that belong together.
#[derive(Clone, Copy)]
pub(super) struct Block {
    is_uncertain: bool,
    kind: Kind,
    /// Whether a join is in it: if that is reached, nothing ended the block before.
    has_join: bool,
    /// Whether `set -e` does not count in it, because something asks for its status.
    is_asked: bool,
}

/// What a block is to `exit` and `return`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Neither ends it.
    Plain,
    /// `return` ends it.
    Function,
    /// Both end it, and nothing else: parentheses, or a shell within the shell.
    Shell,
}

/// What a keyword in front of a command is to a block.
enum Mark {
    Begin,
    End,
    Within,
}

impl Mark {
    fn of(word: &str) -> Option<Self> {
        match word {
            "if" | "while" | "until" | "for" | "select" | "case" | "{" => Some(Self::Begin),
            "fi" | "done" | "esac" | "}" => Some(Self::End),
            "then" | "else" | "elif" | "do" | "!" => Some(Self::Within),
            _ => None,
        }
    }
}

impl Block {
    pub(super) fn new(is_certain: bool, kind: Kind, has_join: bool) -> Self {
        Self { is_uncertain: !is_certain, kind, has_join, is_asked: false }
    }

    /// The same for the commands of a function.
    pub(super) fn of_function(self, is_certain: bool, has_join: bool) -> Self {
        Self { is_uncertain: self.is_uncertain || !is_certain, has_join, ..self }
    }

    /// The same, where something asks for its status.
    pub(super) fn asked(self, is_asked: bool) -> Self {
        Self { is_asked, ..self }
    }
}

impl Status {
    /// The status of a list, after a command of it that ends with `own`.
    fn then(self, runs: Runs, after: After, own: Self) -> Self {
        match (runs, after, own) {
            (Runs::Yes, ..) => own,
            (Runs::No, ..) => self,
            (Runs::Maybe, After::Failure, Self::Success | Self::Expected) => Self::Expected,
            (Runs::Maybe, After::Success, Self::Failure) => Self::Failure,
            (Runs::Maybe, ..) => Self::Unknown,
        }
    }

    fn inverted(self) -> Self {
        match self {
            Self::Success => Self::Failure,
            Self::Failure => Self::Success,
            Self::Expected | Self::Unknown => Self::Unknown,
        }
    }
}

impl Shell<'_> {
    /// Notes whether the shell runs a command. `leads_to_join` is true if a join follows that is run only
    /// after this command has succeeded.
    pub(super) fn reach(&mut self, command: &Simple, leads_to_join: bool) {
        self.runs = match (command.after, self.status) {
            _ if leads_to_join => Runs::Yes,
            (After::Anything, _) => Runs::Yes,
            (After::Pipe, _) => self.runs,
            (After::Success, Status::Success | Status::Expected) => Runs::Yes,
            (After::Failure, Status::Failure) => Runs::Yes,
            (After::Success, Status::Failure) | (After::Failure, Status::Success) => Runs::No,
            _ => Runs::Maybe,
        };
    }

    /// Whether the shell certainly runs the command that was reached.
    pub(super) fn is_certain(&self) -> bool {
        self.runs == Runs::Yes && !self.blocks.iter().any(|block| block.is_uncertain)
    }

    /// Counts the blocks that begin and end at a command.
    pub(super) fn enter_block(&mut self, command: &Simple) {
        for _ in 0..command.opens {
            self.blocks.push(Block::new(self.is_certain(), Kind::Shell, false));
        }
        for word in &command.words {
            let word = word.text();
            match Mark::of(&word) {
                Some(Mark::Begin) => {
                    let is_certain =
                        word.as_str() == "{" && self.is_certain() && command.after != After::Pipe;
                    let is_condition = ["if", "while", "until"].contains(&word.as_str());
                    self.blocks.push(Block::new(is_certain, Kind::Plain, false).asked(is_condition));
                }
                Some(Mark::End) => {
                    self.leave_block();
                    if command.is_apart {
                        // The block was a process of its own, which was not known before its end.
                        self.variables.forget_all();
                        self.doubt_functions();
                    }
                }
                Some(Mark::Within) => {
                    if let Some(block) = self.blocks.last_mut().filter(|_| word.as_str() != "!") {
                        block.is_asked = word.as_str() == "elif";
                    }
                }
                None => break,
            }
        }
    }

    /// Ends the innermost block. Its status is that of its last command.
    fn leave_block(&mut self) {
        if self.blocks.pop().is_some_and(|block| block.is_uncertain) {
            self.status = Status::Unknown;
        }
    }

    /// Notes how a command ended, which begins with `words` behind keywords and other programs. `is_known` is
    /// true if its effect is known.
    pub(super) fn finish(&mut self, command: &Simple, program: &str, words: &[Word], is_known: bool) {
        let before = self.status;
        let in_front = command.words.len().saturating_sub(words.len());
        let in_front = command.words.get(..in_front).unwrap_or_default();
        let is_bare = in_front.iter().all(|word| KEYWORDS.contains(&word.text().as_str()));
        let mut own = match program {
            "true" | ":" if is_bare && words.len() == 1 => Status::Success,
            "false" if is_bare && words.len() == 1 => Status::Failure,
            "}" | "fi" | "done" | "esac" => before,
            "local" if self.returning == 0 => Status::Unknown,
            "" if command.words.is_empty() => before,
            _ if is_known || is_doing(program, words) => Status::Expected,
            _ => Status::Unknown,
        };
        if in_front.iter().filter(|word| word.text().as_str() == "!").count() % 2 == 1 {
            own = own.inverted();
        }
        self.status = before.then(self.runs, command.after, own);
        for _ in 0..command.closes {
            self.leave_block();
        }
    }

    /// `exit`, `return`, or another program in place of the shell: the commands behind it are not run.
    pub(super) fn end(&mut self, command: &Simple, end: End) {
        if end == End::Function && self.returning == 0 {
            return;
        }
        if self.is_certain() && !command.is_apart {
            self.ended = Some(end);
            return;
        }
        self.doubt_rest(end);
    }

    /// What a command may have ended: the commands behind it may not be run.
    fn doubt_rest(&mut self, end: End) {
        let mut around = self.blocks.iter_mut().rev();
        let ended = around
            .find(|block| block.kind == Kind::Shell || block.kind == Kind::Function && end == End::Function);
        if let Some(block) = ended {
            block.is_uncertain |= !block.has_join;
        }
    }

    /// Notes what `set -e` makes of how a command ended.
    pub(super) fn fail(&mut self, command: &Simple, program: &str, words: &[Word], is_nested: bool) {
        let is_inverted = command.words.iter().any(|word| word.text().as_str() == "!");
        if self.strict == Strict::No || is_inverted || self.is_asked(command) || self.ended.is_some() {
            return;
        }
        let is_own = !words.is_empty() && (is_nested || ASKING.contains(&program));
        let around = self.blocks.get(self.outside..).unwrap_or_default();
        let is_plain = !around.iter().any(|block| block.kind == Kind::Plain);
        match self.status {
            Status::Failure if self.strict == Strict::Yes && is_plain => self.end(command, End::Shell),
            Status::Unknown if !is_own => {}
            Status::Failure => {
                let inner = self.blocks.iter_mut().rev().take_while(|block| block.kind != Kind::Shell);
                inner.for_each(|block| block.is_uncertain = true);
                self.doubt_rest(End::Shell);
            }
            Status::Unknown => self.doubt_rest(End::Shell),
            Status::Success | Status::Expected => {}
        }
    }

    /// Whether something asks for the status of a command, so that `set -e` does not count.
    pub(super) fn is_asked(&self, command: &Simple) -> bool {
        let mut around = self.blocks.get(self.outside..).unwrap_or_default().iter();
        command.is_asked || command.is_piped || around.any(|block| block.is_asked)
    }

    /// Whether some of these commands join, or call a function that does.
    pub(super) fn has_join(&self, commands: &[Simple]) -> bool {
        commands.iter().any(|command| {
            let called = command.words.iter().map(Word::text).find(|word| !KEYWORDS.contains(&word.as_str()));
            let functions = called.and_then(|name| self.functions.get(name.as_str()));
            is_join(command) || functions.into_iter().flatten().any(|function| function.has_join)
        })
    }
}

/// Whether the shell reaches a command only if the one before it succeeds.
pub(super) fn goes_on(command: &Simple) -> bool {
    matches!(command.after, After::Success | After::Pipe)
}

/// The position of the last join of the list that begins here. It is reached only if all before it succeed.
pub(super) fn last_join(commands: &[Simple]) -> Option<usize> {
    let list = commands.iter().enumerate();
    list.take_while(|(position, command)| *position == 0 || goes_on(command))
        .filter(|(_, command)| is_join(command))
        .last()
        .map(|(position, _)| position)
}

fn is_doing(program: &str, words: &[Word]) -> bool {
    let is_word = |wanted: &dyn Fn(&str) -> bool| words.iter().skip(1).any(|word| wanted(&word.text()));
    match program {
        "systemctl" => is_word(&|word| DONE_BY_SYSTEMCTL.contains(&word)),
        "rm" => is_word(&|word| word == "--force" || word.starts_with('-') && word.contains('f')),
        program => DOING.contains(&program),
    }
}

/// The position behind a function's body, which begins at `begin`.
pub(super) fn end_of_body(commands: &[Simple], begin: usize) -> usize {
    let mut depth = 0_usize;
    for (position, command) in commands.iter().enumerate().skip(begin) {
        depth += command.opens;
        for word in &command.words {
            match Mark::of(&word.text()) {
                Some(Mark::Begin) => depth += 1,
                Some(Mark::End) => depth = depth.saturating_sub(1),
                Some(Mark::Within) => {}
                None => break,
            }
        }
        depth = depth.saturating_sub(command.closes);
        if depth == 0 {
            return position + 1;
        }
    }
    commands.len()
}
