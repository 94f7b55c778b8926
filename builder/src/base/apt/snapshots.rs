//! Snapshot services: a distribution's archives as they were at any time, for packages that left the mirrors.

use super::{Distribution, Mirrors, mirrors, url};
use crate::base::{LockedPackage, options};
use crate::definition::snapshot::Snapshot;
use crate::error::Result;

/// The snapshot service of a distribution. An archive at a time is at `URL/ARCHIVE/TIME`.
#[derive(Debug)]
pub struct SnapshotService {
    /// Name of the option of the command line that replaces `url`.
    pub(super) option: &'static str,
    /// The environment variable that counts when the option is absent.
    pub(super) variable: &'static str,
    /// Its address.
    pub(super) url: &'static str,
    /// Its name of the archive with the suite and its updates.
    pub(super) main: &'static str,
    /// Its name of the archive with the security updates.
    pub(super) security: &'static str,
}

/// The snapshot service of a distribution, at the address that counts here.
#[derive(Debug)]
pub struct Snapshots<'a> {
    distribution: &'a Distribution,
    /// Without a slash at the end.
    url: String,
}

impl<'a> Snapshots<'a> {
    /// The service at `explicit` (the option of the command line), else at the one of the environment
    /// variable, else at its own address.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Usage`] when that is not an address.
    pub fn of(distribution: &'a Distribution, explicit: Option<&str>) -> Result<Self> {
        let SnapshotService { option, variable, url, .. } = distribution.snapshots;
        let variable = options::variable(variable);
        let text = explicit.or(variable.as_deref()).unwrap_or(url);
        let url = mirrors::service_address(text, distribution.title, option)?;
        Ok(Self { distribution, url })
    }

    /// The archives at a time.
    pub fn at(&self, time: Snapshot) -> Mirrors {
        let SnapshotService { main, security, .. } = self.distribution.snapshots;
        let archive = |name: &str| format!("{}/{name}/{time}", self.url);
        Mirrors { main: archive(main), security: Some(archive(security)) }
    }

    /// Where the service may have a package that was locked at `time`. That may be the time of a package
    /// list, and the service may have copied what the list was the first to name some hours later. A package
    /// stays in the archive for more than a day after a newer one replaced it.
    ///
    /// # Errors
    /// As [`url`].
    pub fn addresses(&self, package: &LockedPackage, time: Snapshot) -> Result<Vec<String>> {
        [time, time.next_day()]
            .into_iter()
            .map(|time| url(self.distribution, &self.at(time), package))
            .collect()
    }
}

#[cfg(test)]
#[path = "snapshots_tests.rs"]
mod tests;
