//! The service manager, through its own programs with fixed arguments.
//!
//! | backend | recognized by | programs |
//! |---|---|---|
//! | systemd | `/run/systemd/system`, as sd_booted(3) says | `systemctl` |
//! | OpenRC | `rc-service` in PATH | `rc-service`, `rc-update` |
//! | none | neither | none: the operator starts the runtime before the agent and the kubelet after it |
//!
//! Programs are found in PATH, so that tests can put a stand-in first.

use std::time::Duration;

use super::command::{self, Output};
use crate::error::Result;
use crate::host::root::Root;
pub use crate::host::service_state::{Enablement, Prospect, Wait};
use crate::paths;

/// Time limit of a question. A working manager answers at once.
const QUESTION_LIMIT: Duration = Duration::from_secs(10);

/// Time limit for the manager to accept a power-off or reboot.
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// Time limit of a start or stop. A unit of systemd may take 90 seconds.
const ACTION_LIMIT: Duration = Duration::from_secs(100);

/// Exit codes of `rc-service SERVICE status`.
const OPENRC_UNKNOWN: i32 = 1;
const OPENRC_STOPPED: i32 = 3;
const OPENRC_CRASHED: i32 = 32;

/// A service manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Services {
    /// systemd.
    Systemd,
    /// OpenRC.
    OpenRc,
    /// No known manager: services are not started or stopped, and their state is unknown.
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Start,
    Stop,
    Restart,
}

impl Services {
    /// The manager of the machine that the agent runs on. A folder has none.
    pub fn of(root: &Root) -> Self {
        let path = std::env::var("PATH").unwrap_or_default();
        if root.is_machine() { Self::detect(root, &path) } else { Self::None }
    }

    /// Whether the manager evaluates the kubelet's variable as a shell does.
    pub fn evaluates(self) -> bool {
        self == Self::OpenRc
    }

    /// The manager of this machine.
    pub fn detect(root: &Root, path: &str) -> Self {
        if root.path(paths::SYSTEMD).is_dir() {
            Self::Systemd
        } else if command::find(root, path, "rc-service").is_some() {
            Self::OpenRc
        } else {
            Self::None
        }
    }

    /// Whether `service` runs or is starting.
    pub fn is_active(self, service: &str) -> Result<bool> {
        match self {
            Self::Systemd => {
                let output = question("systemctl", &["is-active", service])?;
                Ok(output.success() || matches!(output.stdout.trim(), "activating" | "reloading"))
            }
            Self::OpenRc => Ok(question("rc-service", &[service, "status"])?.success()),
            Self::None => Ok(false),
        }
    }

    /// Whether `service` exists and starts at boot.
    pub fn enablement(self, service: &str) -> Result<Enablement> {
        match self {
            Self::Systemd => {
                let said = question("systemctl", &["is-enabled", service])?;
                if said.stdout.trim() == "disabled" && is_wanted(service)? {
                    return Ok(Enablement::Enabled);
                }
                Ok(systemd_enablement(&said))
            }
            Self::OpenRc if !question("rc-service", &["--exists", service])?.success() => {
                Ok(Enablement::Absent)
            }
            Self::OpenRc => Ok(openrc_enablement(&question("rc-update", &["show"])?.stdout, service)),
            Self::None => Ok(Enablement::Unknown),
        }
    }

    /// Whether `service`, which does not answer, is worth waiting for.
    pub fn prospect(self, service: &str) -> Result<Prospect> {
        match self {
            Self::Systemd => {
                let state = question("systemctl", &["is-active", service])?;
                let job = question("systemctl", &["show", "--property=Job", service])?;
                Ok(systemd_prospect(state.stdout.trim(), job.stdout.trim()))
            }
            Self::OpenRc => Ok(match question("rc-service", &[service, "status"])?.code {
                Some(OPENRC_CRASHED) => Prospect::Failed,
                Some(OPENRC_STOPPED | OPENRC_UNKNOWN) => Prospect::Idle,
                _ => Prospect::Hopeful,
            }),
            Self::None => Ok(Prospect::Hopeful),
        }
    }

    /// Starts `service`, unless it runs.
    pub fn start(self, service: &str, wait: Wait) -> Result<()> {
        self.act(Verb::Start, service, wait)
    }

    /// Stops `service`.
    pub fn stop(self, service: &str) -> Result<()> {
        self.act(Verb::Stop, service, Wait::Started)
    }

    /// Restarts `service`.
    pub fn restart(self, service: &str, wait: Wait) -> Result<()> {
        self.act(Verb::Restart, service, wait)
    }

    /// Powers the machine off or reboots it: `verb` is `poweroff` or `reboot`.
    pub fn stop_machine(self, verb: &str) -> Result<()> {
        let ended = match self {
            Self::Systemd => command::run_checked("systemctl", &["--no-block", verb], STOP_LIMIT),
            Self::OpenRc | Self::None => command::run_checked(verb, &[], STOP_LIMIT),
        };
        ended.map(drop)
    }

    fn act(self, verb: Verb, service: &str, wait: Wait) -> Result<()> {
        let Some((program, arguments)) = self.words(verb, service, wait) else { return Ok(()) };
        command::run_checked(program, &arguments, ACTION_LIMIT)
            .map(|_| ())
            .map_err(|failure| failure.help(self.advice(service)))
    }

    /// The command for an action; none without a manager.
    fn words(self, verb: Verb, service: &str, wait: Wait) -> Option<(&'static str, Vec<&str>)> {
        let word = match verb {
            Verb::Start => "start",
            Verb::Stop => "stop",
            Verb::Restart => "restart",
        };
        match (self, wait) {
            (Self::Systemd, Wait::Started) => Some(("systemctl", vec![word, service])),
            (Self::Systemd, Wait::Queued) => Some(("systemctl", vec![word, "--no-block", service])),
            (Self::OpenRc, _) => Some(("rc-service", vec![service, word])),
            (Self::None, _) => None,
        }
    }

    /// Lets the manager reload its unit files, but only if those of `service` have changed. Returns whether
    /// it did.
    pub fn reload_if_changed(self, service: &str) -> Result<bool> {
        if self != Self::Systemd {
            return Ok(false);
        }
        let output = question("systemctl", &["show", "--property=NeedDaemonReload", service])?;
        let changed = output.stdout.trim() == "NeedDaemonReload=yes";
        if changed {
            command::run_checked("systemctl", &["daemon-reload"], ACTION_LIMIT)?;
        }
        Ok(changed)
    }

    /// The command that shows the operator why `service` does not run.
    pub fn advice(self, service: &str) -> String {
        match self {
            Self::Systemd => format!("see journalctl -u {service}"),
            Self::OpenRc => format!("see rc-service {service} status and /var/log"),
            Self::None => format!(
                "see the log of {service}; no service manager was recognised, so whoever runs this machine starts it"
            ),
        }
    }
}

fn question(program: &str, arguments: &[&str]) -> Result<Output> {
    command::run(program, arguments, QUESTION_LIMIT)
}

/// The words of systemctl(1), is-enabled. The error for a missing unit is on standard output or standard
/// error, depending on the version.
fn systemd_enablement(output: &Output) -> Enablement {
    match output.stdout.trim() {
        "enabled" | "enabled-runtime" | "static" | "indirect" | "alias" | "generated" | "transient"
        | "linked" | "linked-runtime" => Enablement::Enabled,
        "not-found" | "" => Enablement::Absent,
        _ => Enablement::Disabled,
    }
}

/// Whether a unit without links of its own is started by another unit that does not need them, such as the
/// one of a system extension.
fn is_wanted(service: &str) -> Result<bool> {
    let properties = "--property=WantedBy,RequiredBy,UpheldBy";
    Ok(!question("systemctl", &["show", "--value", properties, service])?.stdout.trim().is_empty())
}

/// A unit that is not active may still wait in the queue of jobs, as at boot.
fn systemd_prospect(state: &str, job: &str) -> Prospect {
    let is_queued = job.strip_prefix("Job=").is_some_and(|number| !matches!(number, "" | "0"));
    match state {
        _ if is_queued => Prospect::Hopeful,
        "failed" => Prospect::Failed,
        "inactive" | "unknown" => Prospect::Idle,
        _ => Prospect::Hopeful,
    }
}

/// Lines of `rc-update show` have the form ` kubelet | default`.
fn openrc_enablement(table: &str, service: &str) -> Enablement {
    let listed = table
        .lines()
        .filter_map(|line| line.split_once('|'))
        .any(|(name, levels)| name.trim() == service && !levels.trim().is_empty());
    if listed { Enablement::Enabled } else { Enablement::Disabled }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn said(code: i32, stdout: &str) -> Output {
        Output { code: Some(code), stdout: stdout.to_owned(), stderr: String::new() }
    }

    #[test]
    fn the_manager_is_recognised() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        assert_eq!(Services::detect(&root, "/sbin"), Services::None);
        fs::create_dir_all(folder.path().join("sbin")).unwrap();
        fs::write(folder.path().join("sbin/rc-service"), "").unwrap();
        fs::set_permissions(folder.path().join("sbin/rc-service"), fs::Permissions::from_mode(0o755))
            .unwrap();
        assert_eq!(Services::detect(&root, "/sbin"), Services::OpenRc);
        fs::create_dir_all(folder.path().join("run/systemd/system")).unwrap();
        assert_eq!(Services::detect(&root, "/sbin"), Services::Systemd);
    }

    #[test]
    fn the_words_of_systemd_are_understood() {
        for (code, word, expected) in [
            (0, "enabled\n", Enablement::Enabled),
            (0, "static\n", Enablement::Enabled),
            (1, "disabled\n", Enablement::Disabled),
            (1, "masked\n", Enablement::Disabled),
            (4, "not-found\n", Enablement::Absent),
            (1, "", Enablement::Absent),
        ] {
            assert_eq!(systemd_enablement(&said(code, word)), expected, "{word}");
        }
    }

    #[test]
    fn services_that_will_not_start_are_told_from_those_that_will() {
        for (state, job, expected) in [
            ("active", "Job=0", Prospect::Hopeful),
            ("activating", "", Prospect::Hopeful),
            ("reloading", "", Prospect::Hopeful),
            ("inactive", "Job=77", Prospect::Hopeful),
            ("failed", "Job=77", Prospect::Hopeful),
            ("failed", "Job=0", Prospect::Failed),
            ("failed", "", Prospect::Failed),
            ("inactive", "", Prospect::Idle),
            ("unknown", "Job=", Prospect::Idle),
            ("", "", Prospect::Hopeful),
        ] {
            assert_eq!(systemd_prospect(state, job), expected, "{state} {job}");
        }
        assert_eq!(Services::None.prospect("containerd"), Ok(Prospect::Hopeful));
    }

    #[test]
    fn the_table_of_openrc_is_understood() {
        let table = "           kubelet | default\n      containerd |\n kubelet-extra | boot\n";
        assert_eq!(openrc_enablement(table, "kubelet"), Enablement::Enabled);
        assert_eq!(openrc_enablement(table, "containerd"), Enablement::Disabled);
        assert_eq!(openrc_enablement(table, "kube"), Enablement::Disabled);
    }

    #[test]
    fn actions_are_fixed_words() {
        let joined = |services: Services, verb, wait| {
            services
                .words(verb, "kubelet", wait)
                .map(|(program, words)| format!("{program} {}", words.join(" ")))
                .unwrap_or_default()
        };
        for (services, verb, wait, expected) in [
            (Services::Systemd, Verb::Start, Wait::Started, "systemctl start kubelet"),
            (Services::Systemd, Verb::Restart, Wait::Queued, "systemctl restart --no-block kubelet"),
            (Services::Systemd, Verb::Stop, Wait::Started, "systemctl stop kubelet"),
            (Services::OpenRc, Verb::Restart, Wait::Queued, "rc-service kubelet restart"),
            (Services::None, Verb::Start, Wait::Started, ""),
        ] {
            assert_eq!(joined(services, verb, wait), expected);
        }
    }

    #[test]
    fn without_a_manager_nothing_is_done_and_nothing_known() {
        let none = Services::None;
        assert_eq!(none.enablement("kubelet"), Ok(Enablement::Unknown));
        assert_eq!(
            (none.is_active("kubelet"), none.start("kubelet", Wait::Started), none.stop("kubelet")),
            (Ok(false), Ok(()), Ok(()))
        );
        assert_eq!(none.reload_if_changed("kubelet"), Ok(false));
        assert!(none.advice("kubelet").contains("no service manager"));
    }
}
