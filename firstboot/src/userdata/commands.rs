//! Commands in user data: decides which of them the agent does itself. It runs none of them.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use zeroize::Zeroizing;

use super::bounds::wrong;
use super::jinja::MARK;
use super::shell::{self, Simple, Word};
use crate::cli;
use crate::cli::request::Request;
use crate::config::flags::JoinFlags;
use crate::config::role::Role;
use crate::error::Result;
use crate::paths;

/// The folder of the sentinel file that Cluster API's infrastructure providers wait for
/// (<https://cluster-api.sigs.k8s.io/developer/providers/contracts/bootstrap-config>, sentinel file).
pub const SENTINELS: &str = paths::CLUSTER_API;

/// Shell keywords and programs before a command that do not change which command it is.
const PREFIXES: &[&str] = &[
    "sudo", "exec", "time", "command", "env", "if", "then", "else", "elif", "while", "until", "do", "!", "{",
];

/// Commands that the agent can safely leave out: those in Cluster API's own script, besides the join.
const HARMLESS: &[&str] =
    &["set", "fi", "done", "}", "esac", "mkdir -p /run/cluster-api", "mv /etc/kubeadm.yml /tmp/"];

/// The limit for nested shells.
const SHELLS: usize = 2;

/// A command in user data.
pub enum Command {
    /// A line or a script for the shell.
    Shell(Zeroizing<String>),
    /// The program and its arguments.
    Words(Vec<Zeroizing<String>>),
}

/// The effect of all commands.
#[derive(Debug, Default)]
pub struct ParsedCommands {
    /// The flags of `kubeadm join`.
    pub join: Option<JoinFlags>,
    /// The file that marks a successful join.
    pub sentinel: Option<String>,
    /// Whether `envsubst` replaces the variables of a file before the join.
    pub fills_in: bool,
    /// How many commands are not done.
    pub others: usize,
}

/// Evaluates all commands.
pub fn read(commands: &[Command]) -> Result<ParsedCommands> {
    let mut found = ParsedCommands::default();
    for command in commands {
        match command {
            Command::Shell(text) => {
                found.shell(text, SHELLS)?;
            }
            Command::Words(words) => {
                let words = words.iter().map(|text| Word { text: text.clone(), expands: false }).collect();
                found.add(&Simple { words, output: None }, SHELLS)?;
            }
        }
    }
    Ok(found)
}

impl ParsedCommands {
    fn shell(&mut self, text: &str, shells: usize) -> Result<()> {
        let script = shell::read(text);
        if script.is_broken && text.contains("kubeadm") {
            return Err(wrong(
                "a command that names kubeadm cannot be read: a quote or a here-document has no end",
            ));
        }
        self.others += usize::from(script.is_broken);
        script.commands.iter().try_for_each(|simple| self.add(simple, shells))
    }

    /// `shells` is how many more levels of nested shells to evaluate.
    fn add(&mut self, command: &Simple, shells: usize) -> Result<()> {
        let is_in_front = |word: &&Word| {
            let text = word.text.as_str();
            let is_assignment = text.split_once('=').is_some_and(|(name, _)| is_name(name));
            PREFIXES.contains(&text) || is_assignment
        };
        let in_front = command.words.iter().take_while(is_in_front).count();
        let words = command.words.get(in_front..).unwrap_or_default();
        let program = words
            .first()
            .and_then(|word| Path::new(word.text.as_str()).file_name()?.to_str())
            .unwrap_or_default();
        match (program, words.get(1).map(|word| word.text.as_str())) {
            ("kubeadm", Some("join")) => self.join(words)?,
            ("kubeadm", Some("init")) => return Err(Role::FirstControlPlane.refusal()),
            ("sh" | "bash", Some(flags)) if shells > 0 && flags.starts_with('-') && flags.ends_with('c') => {
                let script = words.get(2).filter(|word| !word.expands);
                return script.map_or(Ok(()), |script| self.shell(&script.text, shells - 1));
            }
            ("echo", _) if self.is_sentinel(command) => {}
            _ if is_harmless(words) => {}
            (program, _) => {
                self.fills_in |= program == "envsubst";
                self.others += 1;
            }
        }
        Ok(())
    }

    fn join(&mut self, words: &[Word]) -> Result<()> {
        if words.iter().any(|word| word.text.contains(MARK)) {
            return Err(wrong(
                "the command kubeadm join has a template expression that has no value on this machine",
            ));
        }
        if words.iter().any(|word| word.expands) {
            return Err(wrong("the command kubeadm join has variables of the shell in it")
                .help("write what they stand for"));
        }
        let arguments = words.iter().skip(1).map(|word| OsString::from(word.text.as_str()));
        // Its errors may repeat words of the command, which are user data and may be secret.
        let Ok(Request::Join(request)) = cli::parse(OsStr::new("kubeadm"), arguments) else {
            return Err(wrong("the flags of the command kubeadm join are not those that kubeadm has")
                .help("try them: firstboot join --dry-run with the same flags"));
        };
        match self.join.replace(request.flags) {
            Some(before) if self.join.as_ref() != Some(&before) => {
                Err(wrong("kubeadm join is there twice, with different flags"))
            }
            _ => Ok(()),
        }
    }

    /// `echo success > /run/cluster-api/bootstrap-success.complete`
    fn is_sentinel(&mut self, command: &Simple) -> bool {
        let Some(output) = command.output.as_ref().filter(|word| !word.expands) else { return false };
        let is_plain = |name: &&str| {
            name.len() < 100 && name.bytes().all(|byte| byte.is_ascii_lowercase() || b"-.".contains(&byte))
        };
        let Some(name) = output
            .text
            .strip_prefix(SENTINELS)
            .filter(is_plain)
            .filter(|name| name.starts_with("bootstrap"))
        else {
            return false;
        };
        self.sentinel = Some(format!("{SENTINELS}{name}"));
        true
    }
}

fn is_harmless(words: &[Word]) -> bool {
    let texts: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
    let line = Zeroizing::new(texts.join(" "));
    words.is_empty()
        || HARMLESS.iter().any(|harmless| {
            *harmless == line.as_str() || (*harmless == "set" && texts.first() == Some(&"set"))
        })
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
#[path = "commands_tests.rs"]
mod tests;
