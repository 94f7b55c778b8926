//! The machine of a command. Each part is read once, when it is first needed, so that a manual join does not
//! fail because of a trust policy that it does not use.

use std::cell::{OnceCell, RefCell};

use super::console::Console;
use super::fetch::fetch;
use crate::binding::Binding;
use crate::checkpoint::Checkpoint;
use crate::error::Result;
use crate::evidence::Evidence;
use crate::host::root::Root;
use crate::machine::Machine;
use crate::metadata::{self, Metadata};
use crate::platforms::detect::{Detection, detect, detect_again};
use crate::status::Progress;
use crate::trust_policy::TrustPolicy;

/// One command on one machine.
pub struct Session<'a> {
    pub(crate) root: &'a Root,
    pub(crate) console: Console,
    policy: OnceCell<TrustPolicy>,
    evidence: OnceCell<Evidence>,
    machine: OnceCell<Machine>,
    earlier: OnceCell<Option<Joined>>,
    warnings: RefCell<Vec<String>>,
}

/// The join of an earlier run on this machine, from the moment at which it had a certificate.
#[derive(Debug, Clone)]
pub struct Joined {
    pub(crate) checkpoint: Checkpoint,
    /// What the machine is bound to; none if an older agent joined it.
    pub(crate) binding: Option<Binding>,
}

impl<'a> Session<'a> {
    /// A session on the machine with its files below `root`. Reads nothing yet.
    pub fn new(root: &'a Root, console: Console) -> Self {
        Self {
            root,
            console,
            policy: OnceCell::new(),
            evidence: OnceCell::new(),
            machine: OnceCell::new(),
            earlier: OnceCell::new(),
            warnings: RefCell::default(),
        }
    }

    /// The trust policy of the image.
    pub fn policy(&self) -> Result<&TrustPolicy> {
        once(&self.policy, || TrustPolicy::of(self.root))
    }

    /// The local evidence of the platform.
    pub fn evidence(&self) -> &Evidence {
        self.evidence.get_or_init(|| {
            let evidence = Evidence::of(self.root);
            match self.binding() {
                Ok(Some(binding)) if binding.platform.is_some() => {
                    evidence.with_only_disk(binding.disk.clone())
                }
                _ => evidence,
            }
        })
    }

    /// The join that restricts this run to its source and cluster; none on a machine that has not joined, and
    /// where the trust policy lets it join again with any config.
    pub(crate) fn joined(&self) -> Result<Option<&Joined>> {
        if self.policy()?.rejoin {
            return Ok(None);
        }
        let joined = once(&self.earlier, || {
            let Some(checkpoint) = Checkpoint::read(self.root)? else { return Ok(None) };
            if !checkpoint.has_identity() || checkpoint.machine != self.machine()?.identity {
                return Ok(None);
            }
            Ok(Some(Joined { checkpoint, binding: Binding::read(self.root)? }))
        })?;
        Ok(joined.as_ref())
    }

    fn binding(&self) -> Result<Option<&Binding>> {
        Ok(self.joined()?.and_then(|joined| joined.binding.as_ref()))
    }

    /// The identity of the machine and its service manager.
    pub fn machine(&self) -> Result<&Machine> {
        once(&self.machine, || Machine::read(self.root))
    }

    /// Finds the platform, without the network.
    pub fn detect(&self) -> Result<Detection> {
        let pinned = self.policy()?.platform.as_deref();
        match self.binding()?.and_then(|binding| binding.platform.as_deref()) {
            Some(platform) => detect_again(self.evidence(), pinned, platform),
            None => detect(self.evidence(), pinned),
        }
    }

    /// Reads the metadata of the platform and prints its notices.
    pub fn gather(&self, detection: Detection) -> Result<Metadata> {
        let fetch = |url: &str, deadline| fetch(self.root, url, deadline);
        // A join by hand has no source, and no config counts after it.
        let bound_to = self.binding()?.map(|binding| binding.source.as_deref().unwrap_or_default());
        let metadata = metadata::gather_at(self.evidence(), detection, self.policy()?, bound_to, &fetch)?;
        self.print_all(&metadata.notices);
        Ok(metadata)
    }

    pub(crate) fn print(&self, line: &str) {
        self.console.print(line);
    }

    /// Prints notices. Those that are warnings are kept for the verdict.
    pub(crate) fn print_all(&self, lines: &[String]) {
        for line in lines {
            match line.strip_prefix("warning: ") {
                Some(warning) => self.warn(warning),
                None => self.print(line),
            }
        }
    }

    /// Prints what does not end the run, and keeps it for the verdict.
    pub(crate) fn warn(&self, warning: impl std::fmt::Display) {
        let warning = warning.to_string();
        self.print(&format!("warning: {warning}"));
        self.warnings.borrow_mut().push(warning);
    }

    /// Moves the warnings so far into the status of the run.
    pub(crate) fn hand_warnings_to(&self, progress: &mut Progress) {
        self.warnings.take().into_iter().for_each(|warning| progress.warn(warning));
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
