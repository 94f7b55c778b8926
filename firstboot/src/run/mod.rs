//! A run: from the metadata of the machine to a node. `firstboot run`, `join` and `preflight` share these
//! parts. The [`Session`] holds the data about the machine.
//!
//! ```text
//! metadata_guard ─► metadata ─► node_config ─┬─► join (earlier run, extra files, phases) ─► afterwards ─┬─► conclude ─► report
//!                                            └─► standby ──────────────────────────────────────────────┘
//! ```

mod afterwards;
mod cluster_names;
mod console;
mod credentials;
mod delivery;
pub mod earlier;
pub mod extra_files;
#[cfg(any(windows, test))]
mod features;
pub(crate) mod fetch;
mod join;
mod login_keys;
mod metadata_guard;
pub mod node_config;
pub mod reset;
mod session;
mod standby;
#[cfg(windows)]
mod windows_services;

pub use console::Console;
pub use join::{check, name_for_host};
pub use node_config::ResolvedConfig;
pub use session::Session;

use self::join::Start;
use crate::config::flags::JoinFlags;
use crate::config::model::{NodeConfig, OnFailure};
use crate::error::{ErrorKind, Result};
use crate::facts::Facts;
use crate::host::own_folders;
use crate::metadata::Metadata;
use crate::report::{self, ReportTarget};
use crate::status::{Outcome, Progress};

/// Finds the node config of this machine and joins with it: `firstboot run`, which the image's unit runs.
pub fn run(session: &Session) -> Result<()> {
    let secured = own_folders::secure(session.root);
    let mut progress =
        if secured.is_ok() { Progress::begin(session.root) } else { Progress::unpublished(session.root) };
    let mut summary = RunSummary::default();
    let ended = secured.and_then(|()| attempt(session, &mut progress, &mut summary));
    let concluded = conclude(session, ended, &mut progress);
    let RunSummary { on_failure, report, facts } = summary;
    report::send(session.root, report.as_deref(), &facts, &mut progress, &|line| session.print(line));
    if concluded.is_err() {
        afterwards::give_up(session, on_failure);
    }
    concluded
}

/// Joins with the node config that the flags name: `firstboot join`.
pub fn join_by_hand(session: &Session, flags: &JoinFlags) -> Result<()> {
    if flags.dry_run != Some(true) {
        own_folders::secure(session.root)?;
    }
    let (metadata, resolved) = node_config::by_hand(session, flags)?;
    let is_dry_run = resolved.config.join.dry_run;
    if !is_dry_run {
        node_config::publish(session, &metadata);
    }
    let mut progress =
        if is_dry_run { Progress::unpublished(session.root) } else { Progress::begin(session.root) };
    let ended = join_unless_bound(session, &metadata, &resolved, &mut progress);
    let concluded = conclude(session, ended, &mut progress);
    // In a manual join, the operator sees the result, so only the targets that the config names get a report.
    let targets = resolved.config.agent.report.as_deref().unwrap_or_default();
    report::send(session.root, Some(targets), &metadata.facts, &mut progress, &|line| session.print(line));
    concluded
}

/// A config that the machine itself found is bound as in a run; the flags are the operator's word.
fn join_unless_bound(
    session: &Session,
    metadata: &Metadata,
    resolved: &ResolvedConfig,
    progress: &mut Progress,
) -> Result<Outcome> {
    match earlier::stays(session, resolved, metadata.platform, progress)? {
        Some(outcome) => Ok(outcome),
        None => join::join(session, metadata, resolved, Start::Now, progress),
    }
}

/// The data for the end of a run. It is complete even if the run fails early.
struct RunSummary {
    on_failure: OnFailure,
    report: Option<Vec<ReportTarget>>,
    facts: Facts,
}

impl Default for RunSummary {
    fn default() -> Self {
        Self { on_failure: OnFailure::Nothing, report: None, facts: Facts::default() }
    }
}

impl RunSummary {
    /// A dry run sends no report.
    fn set_config(&mut self, config: &NodeConfig) {
        self.on_failure = config.agent.on_failure;
        self.report = if config.join.dry_run { Some(Vec::new()) } else { config.agent.report.clone() };
    }
}

fn attempt(session: &Session, progress: &mut Progress, summary: &mut RunSummary) -> Result<Outcome> {
    earlier::settle_identity(session)?;
    let detection = session.detect()?;
    let platform = detection.platform;
    metadata_guard::at_boot(session, platform)?;
    let mut metadata = match session.gather(detection) {
        Err(failure) if earlier::needs_no_metadata(session)? => {
            session.warn(format_args!("{failure}: this run does without it"));
            Metadata { platform, ..Metadata::default() }
        }
        gathered => gathered?,
    };
    summary.facts = metadata.facts.clone();
    let resolved = match node_config::of_machine(session, &mut metadata) {
        Err(failure) if failure.kind != ErrorKind::Config && earlier::needs_no_metadata(session)? => {
            session.warn(format_args!("{failure}: this run does without it"));
            Ok(None)
        }
        resolved => resolved,
    };
    let is_dry_run = matches!(&resolved, Ok(Some(ResolvedConfig { config, .. })) if config.join.dry_run);
    if !is_dry_run {
        node_config::publish(session, &metadata);
    }
    let config = resolved.as_ref().ok().and_then(Option::as_ref).map(|resolved| &resolved.config);
    metadata_guard::servers(session, platform, config)?;
    let Some(resolved) = resolved? else { return earlier::without_config(session, progress) };
    if let Some(outcome) = earlier::stays(session, &resolved, platform, progress)? {
        return Ok(outcome);
    }
    summary.set_config(&resolved.config);
    metadata_guard::by_config(session, &resolved.config, metadata.platform)
        .map_err(|failure| failure.after(&resolved.config.warnings))?;
    if standby::is_wanted(session, &metadata.facts, &resolved)? {
        return standby::prepare(session, &metadata.facts, &resolved, progress);
    }
    let outcome = join::join(session, &metadata, &resolved, Start::Spread, progress)?;
    if outcome != Outcome::Restart {
        afterwards::after_join(session, &metadata, &resolved);
    }
    Ok(outcome)
}

/// Ends the run: prints its verdict.
fn conclude(session: &Session, ended: Result<Outcome>, progress: &mut Progress) -> Result<()> {
    #[cfg(windows)]
    let ended = ended.and_then(|outcome| windows_services::check(session, outcome));
    let ended = ended.map_err(|mut failure| {
        std::mem::take(&mut failure.warnings).iter().for_each(|warning| session.warn(warning));
        failure
    });
    session.hand_warnings_to(progress);
    match ended {
        Ok(outcome) => {
            session.console.print_verdict(&progress.end(outcome));
            Ok(())
        }
        Err(failure) => {
            session.console.print_verdict(&progress.fail(&failure));
            Err(failure)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Failure;
    use crate::host::files;
    use crate::host::root::Root;
    use crate::{paths, status};

    const MISSPELLED: &str = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\nnodeRegistration: {name: n1}\ndiscovery: {bootstrapToken: {apiServerEndpoints: ['a:1'], token: abcdef.0123456789abcdef, unsafeSkipCAVerification: true}}\n";

    #[test]
    fn a_failed_run_publishes_the_warnings_before_its_error() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        files::write(&root.path("/etc/machine-id"), b"0123456789abcdef0123456789abcdef\n", files::PUBLIC)
            .unwrap();
        files::write(&root.path(paths::CONFIG), MISSPELLED.as_bytes(), files::PRIVATE).unwrap();
        assert!(run(&Session::new(&root, Console { json: false })).is_err());
        let status = status::read(&root).unwrap().unwrap();
        assert!(status.warnings.iter().any(|warning| warning.contains("unknown field")), "{status:?}");
        assert_eq!(status::verdict(&status)["warnings"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn the_verdict_has_every_warning_that_was_printed() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        let session = Session::new(&root, Console { json: false });
        let mut progress = Progress::begin(&root);
        session.warn("the metadata guard: no rules");
        session.print_all(&["a notice".to_owned(), "warning: no facts from ec2".to_owned()]);
        let failure = Failure::new(ErrorKind::Source, "x").after(&["a misspelled field".to_owned()]);
        assert!(conclude(&session, Err(failure), &mut progress).is_err());
        let expected = ["the metadata guard: no rules", "no facts from ec2", "a misspelled field"];
        assert_eq!(status::read(&root).unwrap().unwrap().warnings, expected);
    }
}
