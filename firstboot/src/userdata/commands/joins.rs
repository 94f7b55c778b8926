//! The join among the commands: kubeadm's flags and what its file holds, in whatever way it is named.

use std::ffi::{OsStr, OsString};

use zeroize::Zeroizing;

use super::Shell;
use super::edits::READERS;
use crate::cli;
use crate::cli::request::Request;
use crate::config::flags::JoinFlags;
use crate::document::Document;
use crate::error::{Failure, Result};
use crate::paths;
use crate::userdata::bounds::wrong;
use crate::userdata::jinja::MARK;
use crate::userdata::mentions::scan;
use crate::userdata::prefixes;
use crate::userdata::shell::{Simple, Word};
use crate::userdata::workspace::{document, place};

/// The folder of the sentinel file that Cluster API's infrastructure providers wait for
/// (<https://cluster-api.sigs.k8s.io/developer/providers/contracts/bootstrap-config>, sentinel file).
const SENTINELS: &str = paths::CLUSTER_API;

/// Programs that show their arguments and do not run them.
pub(super) const SHOWING: &[&str] = &[":", "echo", "grep", "logger", "printf", "wall", "write"];

/// Programs that run what they read, or another program that they are given.
const RUNNING: &[&str] =
    &["alias", "ash", "at", "bash", "batch", "dash", "ksh", "parallel", "sh", "xargs", "zsh"];
/// Programs that pass on what they read.
const FILTERS: &[&str] =
    &["awk", "base64", "cut", "envsubst", "jq", "sed", "sort", "tee", "tr", "uniq", "yq"];

/// kubeadm's options in front of its subcommand that take the next word as their value.
const KUBEADM_VALUED: &[&str] = &["-v", "--v", "--rootfs"];

impl Shell<'_> {
    /// Returns false if it is a command of kubeadm that has no effect on the join.
    pub(super) fn kubeadm(&mut self, words: &[Word]) -> Result<bool> {
        let mut position = 1;
        while let Some(option) = words.get(position).map(Word::text).filter(|word| word.starts_with('-')) {
            position += if KUBEADM_VALUED.contains(&option.as_str()) { 2 } else { 1 };
        }
        let Some(word) = words.get(position) else { return Ok(false) };
        let fields = self.fields(word).ok_or_else(not_understood)?;
        match fields.first().map(|field| field.as_str()) {
            Some("join" | "init") => self.join(words).map(|()| true),
            _ => Ok(false),
        }
    }

    fn join(&mut self, words: &[Word]) -> Result<()> {
        if words.iter().any(|word| word.text().contains(MARK)) {
            return Err(wrong(
                "the command of kubeadm has a template expression that has no value on this machine",
            ));
        }
        let mut arguments = Vec::new();
        for word in words.iter().skip(1) {
            let fields = self.fields(word).ok_or_else(|| {
                wrong("the command of kubeadm has variables of the shell in it")
                    .help("write what they stand for")
            })?;
            arguments.extend(fields.iter().map(|field| OsString::from(field.as_str())));
        }
        // Its errors may repeat words of the command, which are user data and may be secret.
        let Ok(Request::Join(request)) = cli::parse(OsStr::new("kubeadm"), arguments) else {
            return Err(wrong("the flags of the command kubeadm join or init are not those that kubeadm has")
                .help("try them: firstboot join --dry-run with the same flags; beside kubeadm init --config only few may stand"));
        };
        self.joined(request.flags)
    }

    /// Notes the join, and what its file holds now.
    pub(super) fn joined(&mut self, flags: JoinFlags) -> Result<()> {
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

    /// Whether a program that is not known gets kubeadm's name, or what it prints, to run it.
    pub(super) fn may_run_kubeadm(&self, program: &str, words: &[Word]) -> bool {
        let names = |word: &Word| scan(&word.text(), false).0;
        let is_reader = READERS.contains(&program) || FILTERS.contains(&program);
        names_a_join(self.upstream.iter().map(Word::text)) && !is_reader
            || RUNNING.contains(&program) && words.iter().chain(&self.upstream).any(names)
            || words.first().is_some_and(|first| first.expands() && names(first))
    }

    /// `echo success > /run/cluster-api/bootstrap-success.complete`
    pub(super) fn is_sentinel(&mut self, command: &Simple) -> bool {
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

pub(super) fn not_understood() -> Failure {
    wrong("a command names kubeadm join or init in a way that is not understood")
        .help("write kubeadm join on a line of its own, with plain blanks and without programs in front")
}

/// Whether a command names a join and does not only show it.
pub(super) fn is_join(command: &Simple) -> bool {
    let words = prefixes::strip(&command.words);
    let first = words.first().map(Word::text).unwrap_or_default();
    let program = first.rsplit('/').next().unwrap_or_default();
    !SHOWING.contains(&program) && names_a_join(words.iter().map(Word::text))
}

/// Whether the words name kubeadm's join or init, in any way.
pub(super) fn names_a_join(words: impl Iterator<Item = Zeroizing<String>>) -> bool {
    words
        .fold((false, false), |(after_kubeadm, found), word| {
            let (kubeadm, join) = scan(&word, after_kubeadm);
            (kubeadm, found || join)
        })
        .1
}
