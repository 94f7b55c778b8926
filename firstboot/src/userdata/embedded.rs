//! A cloud-config or an Ignition config with a node config inside: finds the file with the node config, and
//! adds the settings from commands.

use super::bounds::{Budget, wrong};
use super::commands::{self, Evaluated, Program};
use super::elsewhere::Elsewhere;
use super::files::{ExtraFile, settle};
use super::host_name;
use super::kind::{Kind, kind};
use super::mentions::could_join;
use super::rivals::{self, Counted};
use super::shell::Script;
use super::units::Units;
use super::variables::Variables;
use super::workspace::{Workspace, document};
use crate::config::flags::JoinFlags;
use crate::document::Document;
use crate::error::{Failure, Result};
use crate::paths;

/// The agent's own path for a node config.
const OURS: &[&str] = &[paths::CONFIG, paths::RUNTIME_CONFIG];

/// What is said of another join.
const RIVAL: &str = "a script or a unit that joins too is not run: nothing here starts it";

/// The contents of a document before the agent knows whether it embeds a node config.
#[derive(Default)]
pub struct HostConfig {
    /// `cloud-config`
    pub form: &'static str,
    pub(crate) files: Vec<ExtraFile>,
    /// What runs before the files are written: cloud-init's `bootcmd`.
    pub(crate) before_files: Option<Script>,
    /// The scripts that it runs, in order.
    pub(crate) scripts: Vec<Script>,
    /// Those before them, and before scripts beside the document.
    pub(crate) early: Vec<Script>,
    pub(crate) units: Units,
    /// The host name that it sets.
    pub hostname: Option<String>,
    /// Why the host name that it sets is none.
    pub(crate) hostname_problem: Option<Failure>,
    /// Configs that it names and that nobody followed.
    pub elsewhere: Vec<Elsewhere>,
    /// Ignored parts.
    pub notices: Vec<String>,
    /// The first mistake in it. It matters only if it embeds a node config, or if it names a join.
    pub(crate) problem: Option<Failure>,
    /// Why it may have been meant to join, although nothing in it does.
    pub(crate) unclear: Option<Failure>,
    /// Whether its text has words of a join.
    pub(crate) may_join: bool,
}

/// Whether a text that cannot be read has words of a join.
pub(super) fn may_join(bytes: &[u8]) -> bool {
    let words = ["kubeadm", "JoinConfiguration", "firstboot"].map(str::as_bytes);
    words.iter().any(|word| bytes.windows(word.len()).any(|window| window == *word))
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
    /// The value, or nothing if it is a mistake, which is noted.
    pub(super) fn noted<T>(&mut self, read: Result<T>) -> Option<T> {
        read.map_err(|failure| self.problem.get_or_insert(failure)).ok()
    }

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
        let mut files = settle(std::mem::take(&mut self.files))?;
        // Cluster API writes this file only to create its folder.
        files.take(paths::CLUSTER_API_PLACEHOLDER);
        let variables = Variables::new(lookup, self.hostname.clone());
        let mut scripts = std::mem::take(&mut self.early);
        scripts.append(&mut self.scripts);
        let units = std::mem::take(&mut self.units);
        let program = Program { before_files: self.before_files.take(), units, scripts };
        let found = commands::evaluate(program, files, variables, budget)?;
        let Evaluated { join, config, sentinel, others, hostname, mut workspace, .. } = found;
        self.units = found.units;
        self.notices.extend(count(
            found.others_before_files,
            "command of bootcmd is",
            "commands of bootcmd are",
            "not executed",
        ));
        match hostname {
            Some(Ok(name)) => self.name_host("a command's host name", &name),
            Some(Err(failure)) => self.hostname_problem = Some(failure),
            None => {}
        }
        let document = match &join {
            Some(join) => of_join(join, config, &mut workspace)?,
            None => match only_config(&workspace)? {
                Some(path) => {
                    let document = workspace.read(&path)?.map(document).transpose()?;
                    workspace.take(&path);
                    document
                }
                None => return self.nothing(workspace),
            },
        };
        if let Some(problem) = self.problem.take() {
            return Err(problem);
        }
        self.check_rivals(join.as_ref(), document.as_ref(), &workspace, lookup, budget)?;
        self.notices.extend(count(
            others,
            "command is",
            "commands are",
            "not executed: this agent runs no scripts",
        ));
        Ok(Some(EmbeddedConfig { document, flags: join, files: workspace.finish()?, sentinel }))
    }

    /// Looks at the scripts and units that join and are not run.
    fn check_rivals(
        &mut self,
        join: Option<&JoinFlags>,
        document: Option<&Document>,
        workspace: &Workspace,
        lookup: &dyn Fn(&str) -> Option<String>,
        budget: &Budget,
    ) -> Result<()> {
        let none = JoinFlags::default();
        let counted = Counted {
            flags: join.unwrap_or(&none),
            documents: document.map(Document::bytes).into_iter().collect(),
            file: &|path| workspace.copy(path),
        };
        let rivals = rivals::scripts(workspace.files()).into_iter().chain(self.units.rest(workspace));
        for rival in rivals {
            counted.check(rival, lookup, budget)?;
            self.notices.push(RIVAL.to_owned());
        }
        let is_passed_over = join.is_some()
            && workspace
                .contents()
                .any(|(path, content)| OURS.contains(&path) && could_join(path, content));
        self.notices.extend(is_passed_over.then(|| {
            format!(
                "{} is written and not read: the command kubeadm join says which config counts",
                paths::CONFIG
            )
        }));
        self.notices.dedup();
        Ok(())
    }

    /// Notes whether a file or a unit without a place in the join names one.
    fn nothing(&mut self, workspace: Workspace) -> Result<Option<EmbeddedConfig>> {
        if workspace.contents().any(|(path, content)| could_join(path, content)) {
            self.unclear.get_or_insert_with(|| {
                wrong("a file names kubeadm join or init, and no command that is understood starts it").help(
                    "run kubeadm join in runcmd, or write the node config to /etc/firstboot/config.yaml",
                )
            });
        }
        if !self.units.rest(&workspace).is_empty() {
            self.unclear.get_or_insert_with(|| {
                wrong("a systemd unit names kubeadm join or init, and nothing starts it")
                    .help("enable the unit")
            });
        }
        self.files = workspace.finish()?;
        Ok(None)
    }
}

/// The document that the join reads.
fn of_join(
    join: &JoinFlags,
    config: Option<Document>,
    workspace: &mut Workspace,
) -> Result<Option<Document>> {
    let Some(path) = &join.config else {
        let is_whole = !join.endpoints.is_empty() || join.discovery_file.is_some();
        return if is_whole {
            Ok(None)
        } else {
            Err(wrong("the command kubeadm join names neither a config nor an API server"))
        };
    };
    workspace.take(path.to_str().unwrap_or_default());
    config.map(Some).ok_or_else(|| {
        wrong("kubeadm join reads a config that this user-data does not write")
            .help("write the file that --config names, in the same user-data")
    })
}

/// The path of the agent's own file, else of the only file that is a node config.
fn only_config(workspace: &Workspace) -> Result<Option<String>> {
    if let Some(path) = OURS.iter().find(|path| workspace.has(path)) {
        return Ok(Some((*path).to_owned()));
    }
    let is_config = |file: &&ExtraFile| {
        kind(file.content.bytes()) == Kind::NodeConfig && names_a_join(file.content.bytes())
    };
    let mut candidates = workspace.files().filter(is_config);
    match (candidates.next(), candidates.next()) {
        (Some(_), Some(_)) => Err(wrong(
            "several files are node configs, and no command says which one counts",
        )
        .help("run kubeadm join --config FILE in runcmd, or write the file to /etc/firstboot/config.yaml")),
        (first, _) => Ok(first.map(|file| file.path.clone())),
    }
}

fn names_a_join(bytes: &[u8]) -> bool {
    bytes.windows(JOIN.len()).any(|window| window == JOIN)
}

const JOIN: &[u8] = b"JoinConfiguration";

#[cfg(test)]
#[path = "embedded_tests.rs"]
mod tests;
