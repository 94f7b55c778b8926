//! Checks before anything is changed: kubeadm's checks under kubeadm's names, and some that kubeadm lacks.
//!
//! ```text
//! Facts (the kubelet's version, runtime, name look-up: each bounded) ─► Context ─► CHECKS ─► Report
//! ```
//!
//! A check is one row of [`CHECKS`] and one small function. The function looks at the [`Context`] and returns
//! the problems and how to fix them. It waits for nothing. The severity is kubeadm's for the kubelet's minor
//! version.

pub mod checks;
pub mod context;
pub mod report;

mod cluster;
mod files;
mod network;
mod node;
mod proxy;
mod runtime;
mod system;

pub use checks::CHECKS;
pub use context::{Clock, Cluster, Context, Docker, Facts, Runtime, Units};
pub use report::{Finding, Report, Severity};

/// When a check can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Before the first network request.
    Machine,
    /// After the runtime has answered and the cluster's version, time and kubelet configuration are known.
    Cluster,
}

/// The severity of a check's problems.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// The check does not exist in this version.
    Off,
    /// They are warnings.
    Warning,
    /// They stop the join.
    Error,
}

/// A check's name.
#[derive(Debug, Clone, Copy)]
pub enum Name {
    /// A constant name.
    Is(&'static str),
    /// A name made from a path in the node config.
    Of(fn(&Context) -> String),
}

/// A check.
#[derive(Debug, Clone, Copy)]
pub struct Check {
    /// Its name in reports and in ignorePreflightErrors.
    pub name: Name,
    /// kubeadm's check that covers this one too. Ignoring that check ignores this one.
    pub part_of: Option<&'static str>,
    /// When it can run.
    pub stage: Stage,
    /// The severity of its problems, by the first minor version of the kubelet that it applies to.
    pub levels: &'static [(u16, Level)],
    /// The function that finds the problems.
    pub look: fn(&Context) -> Vec<Problem>,
}

/// A problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    message: String,
    help: Option<String>,
    level: Option<Level>,
}

impl Problem {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None, level: None }
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Makes it an error, whatever the level of the check.
    fn error(mut self) -> Self {
        self.level = Some(Level::Error);
        self
    }

    /// Makes it a warning, whatever the level of the check.
    fn warning(mut self) -> Self {
        self.level = Some(Level::Warning);
        self
    }

    fn alone(self) -> Vec<Self> {
        vec![self]
    }
}

/// The newest minor version whose checks are known. Also used for a kubelet of unknown version.
const NEWEST_MINOR: u16 = 37;

/// Runs all checks of `stage`. As in kubeadm, without root no other check runs.
pub fn run(context: &Context, stage: Stage) -> Report {
    let mut report = Report::default();
    for check in CHECKS.iter().filter(|check| check.stage == stage) {
        let name = check.name(context);
        let level = check.level(context.minor());
        if level == Level::Off {
            continue;
        }
        let is_ignored =
            is_ignored(context, &name) || check.part_of.is_some_and(|name| is_ignored(context, name));
        for problem in (check.look)(context) {
            report.add(&name, problem, level, is_ignored);
        }
        if name == checks::PRIVILEGED && !report.errors.is_empty() {
            break;
        }
    }
    report
}

/// Whether the check `name` finds an error that is not ignored.
pub fn fails(context: &Context, name: &str) -> bool {
    let is_it = |check: &&Check| matches!(check.name, Name::Is(own) if own == name);
    let Some(check) = CHECKS.iter().find(is_it) else { return false };
    check.level(context.minor()) == Level::Error
        && !is_ignored(context, name)
        && !(check.look)(context).is_empty()
}

fn is_ignored(context: &Context, name: &str) -> bool {
    let name = name.to_lowercase();
    context
        .join
        .node
        .ignore_preflight_errors
        .iter()
        .any(|ignored| *ignored == name || ignored == "all")
}

impl Check {
    /// The complete name.
    pub fn name(&self, context: &Context) -> String {
        match self.name {
            Name::Is(name) => name.to_owned(),
            Name::Of(name) => name(context),
        }
    }

    /// The severity of its problems with a kubelet of `minor`.
    pub fn level(&self, minor: u16) -> Level {
        self.levels
            .iter()
            .rev()
            .find(|(since, _)| *since <= minor)
            .map_or(Level::Off, |(_, level)| *level)
    }
}

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod cluster_tests;
#[cfg(test)]
mod tests;
