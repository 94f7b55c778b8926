//! What all parts of user data hold, and what of it counts: the cloud-configs of all parts are one, and its
//! mistakes matter only if it leads to a join or stands beside a node config.

use zeroize::Zeroizing;

use super::bounds::Budget;
use super::cloud_config::Merged;
use super::embedded::{EmbeddedConfig, HostConfig};
use super::files::{ExtraFile, settle};
use super::mentions::{names_a_join, unread};
use super::rivals::{self, Counted};
use super::shell::Script;
use super::workspace::is_shell_script;
use super::{Env, ParsedUserData, jinja};
use crate::document::Document;
use crate::error::{Failure, Result};

/// Notices at most.
const NOTICES: usize = 64;

/// Everything in the user data, in the order of its parts.
#[derive(Default)]
pub struct Gathered {
    pub parsed: ParsedUserData,
    /// The errors of expressions without a value, by the numbers in their marks.
    pub missing: Vec<Failure>,
    /// Why a part that seems to be for others is ignored. An error if nothing else is found.
    pub skipped: Option<Failure>,
    documents: Vec<Placed<Document>>,
    cloud_config: Option<Placed<Merged>>,
    scripts: Vec<Script>,
    ignitions: Vec<Placed<HostConfig>>,
    /// Why a script may have been meant to join.
    unclear: Option<Failure>,
    order: usize,
}

/// Something, and the part that it is from.
struct Placed<T> {
    order: usize,
    /// `part 2`, or nothing.
    place: String,
    value: T,
}

/// A host config that leads to no join by itself.
struct Companion {
    place: String,
    config: HostConfig,
}

impl Gathered {
    fn placed<T>(&mut self, place: &str, value: T) -> Placed<T> {
        self.order += 1;
        Placed { order: self.order, place: place.to_owned(), value }
    }

    /// Says something about a part.
    pub fn notice(&mut self, place: &str, notice: &str) {
        if self.parsed.notices.len() < NOTICES {
            self.parsed.notices.push(in_place(place, notice));
        }
    }

    /// Leaves a part out.
    pub fn ignore(&mut self, place: &str, notice: &str, what: &str, bytes: &[u8]) {
        self.notice(place, notice);
        self.suspect(place, what, bytes);
    }

    /// Text that is not read. It is an error if nothing else is found and it has words of a join.
    pub fn suspect(&mut self, place: &str, what: &str, bytes: &[u8]) {
        if names_a_join(bytes) {
            self.unclear.get_or_insert_with(|| located(place, unread(what)));
        }
    }

    /// Adds a node config.
    pub fn add_document(&mut self, place: &str, document: Document) {
        let placed = self.placed(place, document);
        self.documents.push(placed);
    }

    /// How many parts may lead to a join.
    pub fn count(&self) -> usize {
        self.order
    }

    /// Adds an Ignition config.
    pub fn add_ignition(&mut self, place: &str, config: HostConfig) {
        let placed = self.placed(place, config);
        self.ignitions.push(placed);
    }

    /// Adds a part of the cloud-config.
    pub fn add_cloud_config(
        &mut self,
        place: &str,
        add: impl FnOnce(&mut Merged) -> Result<()>,
    ) -> Result<()> {
        let mut placed = match self.cloud_config.take() {
            Some(placed) => {
                self.order += 1;
                Placed { place: String::new(), ..placed }
            }
            None => self.placed(place, Merged::default()),
        };
        let added = add(&mut placed.value);
        self.cloud_config = Some(placed);
        added
    }

    /// Adds a script, which cloud-init would run.
    pub fn add_script(&mut self, place: &str, bytes: &[u8]) {
        let notice = "what is a script is not executed";
        match std::str::from_utf8(bytes) {
            Ok(text) if is_shell_script(text) => {
                self.scripts.push(Zeroizing::new(text.to_owned()));
                self.notice(place, notice);
            }
            _ => self.ignore(place, notice, "a script of another language than the shell's", bytes),
        }
    }

    /// Finds what counts.
    pub fn finish(&mut self, env: &Env, budget: &Budget) -> Result<()> {
        let mut companions = Vec::new();
        for placed in self.host_configs(budget) {
            companions.extend(self.embedded(placed, env, budget)?);
        }
        self.check_rivals(&companions, env, budget)?;
        self.documents.sort_by_key(|placed| placed.order);
        self.parsed.documents = self.documents.drain(..).map(|placed| placed.value).collect();
        let has_config = self.parsed.has_config();
        for companion in companions {
            self.companion(companion, has_config)?;
        }
        if !has_config && self.parsed.elsewhere.is_empty() {
            self.unclear.take().or(self.skipped.take()).map_or(Ok(()), Err)?;
        }
        self.parsed.files = settle(std::mem::take(&mut self.parsed.files))?.into_vec();
        Ok(())
    }

    /// Looks at the scripts that are not run beside a node config that stands by itself.
    fn check_rivals(&mut self, companions: &[Companion], env: &Env, budget: &Budget) -> Result<()> {
        if self.documents.is_empty() {
            return Ok(());
        }
        let files = || companions.iter().flat_map(|companion| &companion.config.files);
        let counted = Counted {
            flags: &self.parsed.flags,
            documents: self.documents.iter().map(|placed| placed.value.bytes()).collect(),
            file: &|path| {
                let file = files().find(|file| file.path == path)?;
                Some(Zeroizing::new(file.content.bytes().to_vec()))
            },
        };
        let mut rivals = rivals::scripts(files());
        rivals.append(&mut self.scripts);
        rivals.into_iter().try_for_each(|rival| counted.check(rival, env.lookup, budget))
    }

    /// The cloud-config with the scripts, and the Ignition configs.
    fn host_configs(&mut self, budget: &Budget) -> Vec<Placed<HostConfig>> {
        // A script beside a node config is for machines without this agent.
        let scripts = if self.documents.is_empty() { std::mem::take(&mut self.scripts) } else { Vec::new() };
        let cloud_config = match self.cloud_config.take() {
            Some(Placed { order, place, value }) => Some(Placed { order, place, value: value.read(budget) }),
            None if scripts.is_empty() => None,
            None => Some(self.placed("", HostConfig { form: "script", ..HostConfig::default() })),
        };
        let with_scripts = cloud_config.map(|mut placed| {
            // cloud-init sorts scripts by name, and the one of runcmd is behind part-001.
            placed.value.scripts.splice(..0, scripts);
            placed
        });
        with_scripts.into_iter().chain(self.ignitions.drain(..)).collect()
    }

    /// Takes the node config out of a host config, or gives it back.
    fn embedded(
        &mut self,
        placed: Placed<HostConfig>,
        env: &Env,
        budget: &Budget,
    ) -> Result<Option<Companion>> {
        let Placed { order, place, value: mut config } = placed;
        let form = config.form;
        let doing = |failure: Failure| located(&place, failure.doing(format!("the {form}")));
        let found =
            config.find(env.lookup, budget).map_err(|failure| doing(failure.after(&config.notices)))?;
        for elsewhere in std::mem::take(&mut config.elsewhere) {
            self.notice(&place, &format!("{form}: {} and is not followed", elsewhere.describe()));
            self.parsed.elsewhere.push(elsewhere);
        }
        let Some(embedded) = found else {
            return match config.problem.take() {
                Some(problem) if config.may_join || config.unclear.is_some() => Err(doing(problem)),
                problem => {
                    config.problem = problem;
                    Ok(Some(Companion { place, config }))
                }
            };
        };
        self.check_marks(&embedded).map_err(doing)?;
        if let Some(document) = embedded.document {
            self.documents.push(Placed { order, place: place.clone(), value: document });
        }
        if let Some(flags) = embedded.flags {
            self.parsed.take_flags(flags).map_err(doing)?;
        }
        self.parsed.files.extend(embedded.files);
        self.parsed.sentinel = embedded.sentinel.or(self.parsed.sentinel.take());
        self.use_host_name(&mut config).map_err(doing)?;
        for notice in config.notices {
            self.notice(&place, &format!("{form}: {notice}"));
        }
        Ok(None)
    }

    /// Fails if something that counts needs an expression without a value.
    fn check_marks(&self, embedded: &EmbeddedConfig) -> Result<()> {
        embedded.files.iter().try_for_each(|file| self.check_file(file))?;
        embedded
            .document
            .iter()
            .try_for_each(|document| jinja::check(document.bytes(), &self.missing))
    }

    fn check_file(&self, file: &ExtraFile) -> Result<()> {
        [file.content.bytes(), file.path.as_bytes(), file.owner.user.as_bytes()]
            .into_iter()
            .try_for_each(|text| jinja::check(text, &self.missing))
    }

    fn use_host_name(&mut self, config: &mut HostConfig) -> Result<()> {
        if let Some(name) = &config.hostname {
            jinja::check(name.as_bytes(), &self.missing)?;
        }
        self.parsed.hostname = config.hostname.take().or(self.parsed.hostname.take());
        let problem = config
            .hostname_problem
            .take()
            .map(|failure| failure.doing(format!("the {}", config.form)));
        self.parsed.hostname_problem = problem.or(self.parsed.hostname_problem.take());
        Ok(())
    }

    /// A host config that leads to no join: its files and its host name are used beside a node config.
    fn companion(&mut self, companion: Companion, has_config: bool) -> Result<()> {
        let Companion { place, mut config } = companion;
        let form = config.form;
        if let Some(problem) = config.problem.take() {
            self.notice(&place, &format!("the {form} is ignored: {problem}"));
            return Ok(());
        }
        if !has_config {
            if form != "script" {
                self.notice(&place, &format!("the {form} carries no node config and is ignored"));
            }
            let unclear = config.unclear.take().map(|failure| located(&place, failure));
            self.unclear = self.unclear.take().or(unclear);
            return Ok(());
        }
        self.use_host_name(&mut config)?;
        for file in std::mem::take(&mut config.files) {
            match self.check_file(&file) {
                Ok(()) => self.parsed.files.push(file),
                Err(failure) => self.notice(&place, &format!("{form}: a file is not written: {failure}")),
            }
        }
        for notice in config.notices {
            self.notice(&place, &format!("{form}: {notice}"));
        }
        Ok(())
    }
}

/// `part 2: notice`
fn in_place(place: &str, notice: &str) -> String {
    if place.is_empty() { notice.to_owned() } else { format!("{place}: {notice}") }
}

/// The failure with its part in front.
pub fn located(place: &str, failure: Failure) -> Failure {
    if place.is_empty() { failure } else { failure.doing(place) }
}
