//! The machine of a command. Each part is read once, when it is first needed, so that a manual join does not
//! fail because of a trust policy that it does not use.

use std::cell::OnceCell;

use super::console::Console;
use super::fetch::fetch;
use crate::error::Result;
use crate::evidence::Evidence;
use crate::host::root::Root;
use crate::machine::Machine;
use crate::metadata::{self, Metadata};
use crate::platforms::detect::{Detection, detect};
use crate::trust_policy::TrustPolicy;

/// One command on one machine.
pub struct Session<'a> {
    pub(crate) root: &'a Root,
    pub(crate) console: Console,
    policy: OnceCell<TrustPolicy>,
    evidence: OnceCell<Evidence>,
    machine: OnceCell<Machine>,
}

impl<'a> Session<'a> {
    /// A session on the machine with its files below `root`. Reads nothing yet.
    pub fn new(root: &'a Root, console: Console) -> Self {
        Self { root, console, policy: OnceCell::new(), evidence: OnceCell::new(), machine: OnceCell::new() }
    }

    /// The trust policy of the image.
    pub fn policy(&self) -> Result<&TrustPolicy> {
        once(&self.policy, || TrustPolicy::of(self.root))
    }

    /// The local evidence of the platform.
    pub fn evidence(&self) -> &Evidence {
        self.evidence.get_or_init(|| Evidence::of(self.root))
    }

    /// The identity of the machine and its service manager.
    pub fn machine(&self) -> Result<&Machine> {
        once(&self.machine, || Machine::read(self.root))
    }

    /// Finds the platform, without the network.
    pub fn detect(&self) -> Result<Detection> {
        detect(self.evidence(), self.policy()?.platform.as_deref())
    }

    /// Reads the metadata of the platform and prints its notices.
    pub fn gather(&self, detection: Detection) -> Result<Metadata> {
        let fetch = |url: &str, deadline| fetch(self.root, url, deadline);
        let metadata = metadata::gather_at(self.evidence(), detection, self.policy()?, &fetch)?;
        self.print_all(&metadata.notices);
        Ok(metadata)
    }

    pub(crate) fn print(&self, line: &str) {
        self.console.print(line);
    }

    pub(crate) fn print_all(&self, lines: &[String]) {
        lines.iter().for_each(|line| self.print(line));
    }

    /// Prints a failure that does not end the run.
    pub(crate) fn warn(&self, warning: impl std::fmt::Display) {
        self.print(&format!("warning: {warning}"));
    }
}

/// `OnceCell::get_or_try_init`, which is not stable yet.
fn once<T>(cell: &OnceCell<T>, read: impl FnOnce() -> Result<T>) -> Result<&T> {
    if let Some(value) = cell.get() {
        return Ok(value);
    }
    let value = read()?;
    Ok(cell.get_or_init(|| value))
}
