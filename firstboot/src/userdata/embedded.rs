//! A cloud-config or an Ignition config with a node config inside: finds the file with the node config, and
//! adds the settings from commands.

use super::bounds::{Budget, Bytes, append, wrong};
use super::commands::{self, Command, ParsedCommands};
use super::elsewhere::Elsewhere;
use super::files::{ExtraFile, settle};
use super::host_name;
use super::kind::{Kind, kind};
use crate::config::flags::JoinFlags;
use crate::document::Document;
use crate::error::{Failure, Result};
use crate::paths;

/// The agent's own path for a node config.
const OURS: &[&str] = &[paths::CONFIG, paths::RUNTIME_CONFIG];

/// The prefixes of variables that may have a value and whose names may be shown: Afterburn's.
const SHOWN: &[&str] = &["COREOS_", "AFTERBURN_"];

/// The contents of a document before the agent knows whether it embeds a node config.
#[derive(Default)]
pub struct HostConfig {
    /// `cloud-config`
    pub form: &'static str,
    pub(crate) files: Vec<ExtraFile>,
    pub(crate) commands: Vec<Command>,
    /// The host name that it sets.
    pub hostname: Option<String>,
    /// Why the host name that it sets is none.
    pub(crate) hostname_problem: Option<Failure>,
    /// Configs that it names and that nobody followed.
    pub elsewhere: Vec<Elsewhere>,
    /// Ignored parts.
    pub notices: Vec<String>,
}

/// A node config, with everything else that the agent uses.
#[derive(Debug)]
pub struct EmbeddedConfig {
    /// The node config; `None` if there are only flags.
    pub document: Option<Document>,
    /// The flags of the join.
    pub flags: Option<JoinFlags>,
    /// The extra files.
    pub files: Vec<ExtraFile>,
    /// The file that marks a successful join.
    pub sentinel: Option<String>,
}

/// `2 users are not made`, or nothing for zero.
pub(super) fn count(number: usize, one: &str, several: &str, not: &str) -> Option<String> {
    match number {
        0 => None,
        1 => Some(format!("1 {one} {not}")),
        number => Some(format!("{number} {several} {not}")),
    }
}

impl HostConfig {
    /// Sets the host name in `field`.
    pub(super) fn name_host(&mut self, field: &str, name: &str) {
        match host_name::checked(field, name) {
            Ok(name) => self.hostname = Some(name),
            Err(failure) => self.hostname_problem = Some(failure),
        }
    }

    /// Extracts the node config, if there is one. `lookup` returns the variables that a command would
    /// replace.
    pub fn find(
        &mut self,
        lookup: &dyn Fn(&str) -> Option<String>,
        budget: &Budget,
    ) -> Result<Option<EmbeddedConfig>> {
        let found = commands::read(&self.commands)?;
        let mut files = settle(std::mem::take(&mut self.files))?;
        // Cluster API writes this file only to create its folder.
        files.retain(|file| file.path != paths::CLUSTER_API_PLACEHOLDER);
        let document = match position(&files, &found)? {
            Some(position) => Some(files.remove(position).content),
            None if found.join.is_some() => None,
            None => return Ok(None),
        };
        let document = match document {
            Some(document) if found.fills_in => Some(fill_in(&document, lookup, budget)?),
            document => document,
        };
        self.notices.extend(count(
            found.others,
            "command is",
            "commands are",
            "not executed: this agent runs no scripts",
        ));
        Ok(Some(EmbeddedConfig { document, flags: found.join, files, sentinel: found.sentinel }))
    }
}

/// The file that the join reads, else the agent's own file, else the only file that is a node config.
fn position(files: &[ExtraFile], found: &ParsedCommands) -> Result<Option<usize>> {
    if let Some(join) = &found.join {
        let Some(path) = &join.config else {
            let is_whole = !join.endpoints.is_empty() || join.discovery_file.is_some();
            return if is_whole {
                Ok(None)
            } else {
                Err(wrong("the command kubeadm join names neither a config nor an API server"))
            };
        };
        let position = files.iter().position(|file| path.as_os_str() == file.path.as_str());
        return position.map(Some).ok_or_else(|| {
            wrong("kubeadm join reads a config that this user-data does not write")
                .help("write the file that --config names, in the same user-data")
        });
    }
    if let Some(position) = files.iter().position(|file| OURS.contains(&file.path.as_str())) {
        return Ok(Some(position));
    }
    let is_config = |file: &ExtraFile| {
        kind(file.content.bytes()) == Kind::NodeConfig && names_a_join(file.content.bytes())
    };
    let mut candidates =
        files.iter().enumerate().filter(|(_, file)| is_config(file)).map(|(position, _)| position);
    match (candidates.next(), candidates.next()) {
        (Some(_), Some(_)) => Err(wrong(
            "several files are node configs, and no command says which one counts",
        )
        .help("run kubeadm join --config FILE in runcmd, or write the file to /etc/firstboot/config.yaml")),
        (first, _) => Ok(first),
    }
}

fn names_a_join(bytes: &[u8]) -> bool {
    bytes.windows(JOIN.len()).any(|window| window == JOIN)
}

const JOIN: &[u8] = b"JoinConfiguration";

/// Does the same as `envsubst`: replaces `$NAME` and `${NAME}` by values. A name without a value is an error
/// here. Text after another `$` may be part of a password and is not shown.
fn fill_in(
    document: &Document,
    lookup: &dyn Fn(&str) -> Option<String>,
    budget: &Budget,
) -> Result<Document> {
    let mut filled = Bytes::default();
    let mut rest = document.bytes();
    while let Some(at) = rest.iter().position(|byte| *byte == b'$') {
        let (before, behind) = rest.split_at(at);
        append(&mut filled, before);
        let Some((name, behind)) = variable(behind) else {
            append(&mut filled, b"$");
            rest = behind.get(1..).unwrap_or_default();
            continue;
        };
        let is_plain = |value: &String| {
            value.chars().all(|character| !character.is_control() && !"\"'\\{}#".contains(character))
        };
        let value = lookup(name).filter(is_plain).ok_or_else(|| {
            let shown = if SHOWN.iter().any(|prefix| name.starts_with(prefix)) {
                format!("the variable {name}")
            } else {
                "a variable".to_owned()
            };
            wrong(format!(
                "a command fills in {shown} of the node config, and it has no plain value on this machine"
            ))
            .help("firstboot explain shows the facts that are known here")
        })?;
        budget.take(value.len())?;
        append(&mut filled, value.as_bytes());
        rest = behind;
    }
    append(&mut filled, rest);
    super::files::content(filled)
}

/// The name of the variable at the start of `text`, which begins with `$`, and the rest of the text.
fn variable(text: &[u8]) -> Option<(&str, &[u8])> {
    let text = text.strip_prefix(b"$")?;
    let (inner, end) = text.strip_prefix(b"{").map_or((text, &b""[..]), |inner| (inner, &b"}"[..]));
    let length = inner
        .iter()
        .take_while(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || **byte == b'_')
        .count();
    let (name, behind) = inner.split_at_checked(length)?;
    let name = std::str::from_utf8(name)
        .ok()
        .filter(|name| !name.is_empty() && !name.starts_with(|first: char| first.is_ascii_digit()))?;
    Some((name, behind.strip_prefix(end)?))
}

#[cfg(test)]
#[path = "embedded_tests.rs"]
mod tests;
