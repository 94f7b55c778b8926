//! The status of a run: a file while the run goes on, the verdict (one machine-readable line) at its end, and
//! systemd's notifications.
//!
//! ```text
//! phases ─► Progress ─► Status ─► /run/firstboot/status.json (0644, replaced whole)    ─► `firstboot status`
//!                            └──► `firstboot-verdict: {…}` on the console and in systemd's journal, and the exit code
//! ```

pub mod timeline;

use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::error::{ErrorKind, Failure, Result};
use crate::host::files;
use crate::host::notify;
use crate::host::root::Root;
use crate::host::system;
use crate::output::{clean, clean_json};
use crate::paths;

/// The path of the status file on a node. It holds no secret.
pub const PATH: &str = paths::STATUS;

/// Limit on a status file, in bytes.
const LIMIT: u64 = 256 * 1024;

/// How the run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It has not ended yet.
    Running,
    /// There is no node config, so there was nothing to do.
    NoConfig,
    /// The machine joined in an earlier run.
    AlreadyJoined,
    /// The machine joined in this run.
    Joined,
    /// The run was only to show what a join would do.
    DryRun,
    /// The machine is in a warm pool: it is prepared but has not joined.
    Standby,
    /// The machine restarts for features of Windows, and the join goes on afterwards.
    Restart,
    /// It failed.
    Failed,
}

/// The published status of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The outcome; `running` until the end.
    pub outcome: Outcome,
    /// The node's name, once it is known.
    pub node: Option<String>,
    /// The origin of the node config.
    pub source: Option<String>,
    /// Why it failed.
    pub failure: Option<Reason>,
    /// The phases so far, in order.
    pub phases: Vec<Phase>,
    /// For the operator.
    pub warnings: Vec<String>,
    /// Number of requests to the API server.
    pub requests: u32,
    /// Bytes received from the API server.
    pub bytes: u64,
    /// The start of the run, in seconds after the kernel's start.
    pub began: f64,
    /// The duration of the run so far, in seconds.
    pub seconds: f64,
}

/// The failure of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// The kind of the error, as a word.
    pub class: String,
    pub(crate) exit: u8,
    /// The action that failed, and why.
    pub message: String,
    /// The next step for the operator.
    pub help: Option<String>,
}

/// A phase of the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    pub(crate) name: String,
    /// Its start, in seconds after the start of the run.
    pub began: f64,
    /// Its duration in seconds; none while it runs.
    pub seconds: Option<f64>,
    /// `running`, `done`, `skipped`, `kept`, `failed`.
    pub state: String,
}

/// The status of the current run. Publishes every change.
#[derive(Debug)]
pub struct Progress {
    status: Status,
    root: Root,
    start: Instant,
    is_published: bool,
}

impl Progress {
    /// Starts the status of a run.
    pub fn begin(root: &Root) -> Self {
        let status = Status {
            outcome: Outcome::Running,
            node: None,
            source: None,
            failure: None,
            phases: Vec::new(),
            warnings: Vec::new(),
            requests: 0,
            bytes: 0,
            began: system::uptime(),
            seconds: 0.0,
        };
        Self { status, root: root.clone(), start: Instant::now(), is_published: true }
    }

    /// Like `begin`, for a run that changes nothing: it writes no status file.
    pub fn unpublished(root: &Root) -> Self {
        Self { is_published: false, ..Self::begin(root) }
    }

    /// The status so far.
    pub fn status(&mut self) -> &mut Status {
        &mut self.status
    }

    /// Records the start of a phase.
    pub fn phase(&mut self, name: &str) {
        let began = self.start.elapsed().as_secs_f64();
        self.status.phases.push(Phase {
            name: name.to_owned(),
            began,
            seconds: None,
            state: "running".to_owned(),
        });
        notify::send(&format!("STATUS={name}"));
        self.publish();
    }

    /// Records the end of the running phase.
    pub fn phase_ended(&mut self, state: &str) {
        let now = self.start.elapsed().as_secs_f64();
        if let Some(phase) = self.status.phases.last_mut().filter(|phase| phase.seconds.is_none()) {
            phase.seconds = Some(now - phase.began);
            phase.state = state.to_owned();
        }
    }

    /// Whether this run writes a status file and sends reports.
    pub fn is_published(&self) -> bool {
        self.is_published
    }

    /// Adds a warning. The outcome does not change.
    pub fn warn(&mut self, warning: String) {
        self.status.warnings.push(clean(&warning));
        self.write();
    }

    /// Ends the run with success. Returns the verdict line.
    pub fn end(&mut self, outcome: Outcome) -> String {
        self.status.outcome = outcome;
        notify::send("READY=1");
        self.close()
    }

    /// Ends the run with a failure. Returns the verdict line.
    pub fn fail(&mut self, failure: &Failure) -> String {
        self.phase_ended("failed");
        self.status.outcome = Outcome::Failed;
        self.status.failure = Some(Reason {
            class: failure.kind.word().to_owned(),
            exit: failure.kind.exit_code(),
            message: failure.message.clone(),
            help: failure.help.clone(),
        });
        notify::send(&format!("STATUS=failed: {}", failure.kind.word()));
        self.close()
    }

    fn close(&mut self) -> String {
        self.publish();
        verdict_line(&self.status)
    }

    /// It is not an error if the status cannot be written: the verdict line still follows.
    fn publish(&mut self) {
        self.status.seconds = self.start.elapsed().as_secs_f64();
        self.write();
    }

    fn write(&self) {
        if !self.is_published {
            return;
        }
        if let Ok(status) = serde_json::to_value(&self.status) {
            let text = clean_json(status).to_string();
            let _ = files::write(&self.root.entry(PATH), text.as_bytes(), files::PUBLIC);
        }
    }
}

/// The verdict as one line for machines.
fn verdict_line(status: &Status) -> String {
    format!("firstboot-verdict: {}", verdict(status))
}

/// The verdict: a summary of the run's result.
pub fn verdict(status: &Status) -> serde_json::Value {
    let failure = status.failure.as_ref();
    clean_json(serde_json::json!({
        "outcome": status.outcome,
        "node": status.node,
        "class": failure.map(|reason| &reason.class),
        "exit": failure.map_or(0, |reason| reason.exit),
        "phase": status.phases.last().map(|phase| &phase.name),
        "seconds": rounded(status.seconds),
        "requests": status.requests,
        "message": failure.map(|reason| &reason.message),
        "warnings": status.warnings,
    }))
}

/// Rounds to milliseconds.
fn rounded(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

/// The status of the last run on this boot.
pub fn read(root: &Root) -> Result<Option<Status>> {
    let path = root.path(PATH);
    let Some(bytes) = files::read(&path, LIMIT)? else { return Ok(None) };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| Failure::new(ErrorKind::Host, format!("{} is damaged: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> (tempfile::TempDir, Root, Progress) {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        let progress = Progress::begin(&root);
        (folder, root, progress)
    }

    #[test]
    fn publishes_each_phase_and_the_end() {
        let (_folder, root, mut progress) = run();
        progress.status().node = Some("n1".to_owned());
        progress.phase("discovery");
        assert_eq!(read(&root).unwrap().unwrap().phases[0].state, "running");
        progress.phase_ended("done");
        let line = progress.end(Outcome::Joined);
        let value: serde_json::Value =
            serde_json::from_str(line.strip_prefix("firstboot-verdict: ").unwrap()).unwrap();
        assert_eq!(
            (&value["outcome"], &value["node"], &value["exit"]),
            (&"joined".into(), &"n1".into(), &0.into())
        );
        let status = read(&root).unwrap().unwrap();
        assert_eq!((status.outcome, status.phases[0].state.as_str()), (Outcome::Joined, "done"));
        assert!(status.phases[0].seconds.is_some());
    }

    #[test]
    fn a_failure_names_its_class_phase_and_exit_code() {
        let (_folder, root, mut progress) = run();
        progress.phase("discovery");
        let line = progress.fail(&Failure::new(ErrorKind::Untrusted, "none of the public keys are pinned"));
        assert!(!line.contains('\n'));
        let value: serde_json::Value =
            serde_json::from_str(line.strip_prefix("firstboot-verdict: ").unwrap()).unwrap();
        assert_eq!(
            (&value["class"], &value["exit"], &value["phase"]),
            (&"untrusted".into(), &12.into(), &"discovery".into())
        );
        assert_eq!(read(&root).unwrap().unwrap().phases[0].state, "failed");
    }

    #[test]
    fn a_damaged_status_is_an_error_and_a_missing_one_is_none() {
        let (_folder, root, _) = run();
        assert_eq!(read(&root).unwrap(), None);
        files::write(&root.path(PATH), b"{", files::PUBLIC).unwrap();
        assert!(read(&root).unwrap_err().message.contains("damaged"));
    }
}
