//! Locations: where the operator can put a node config besides user data. A location is one file here and one
//! line in [`ALL`]; all of them take precedence over the platform's user data.
//!
//! | order | location | configured by | network |
//! |---|---|---|---|
//! | 1 | URL | `firstboot.config=URL` on the kernel command line, with `firstboot.config-sha256=` where it is not https | only here |
//! | 2 | inline | `firstboot.config-inline=BASE64` on the kernel command line | no |
//! | 3 | credential | `firstboot.config`, a credential of systemd | no |
//! | 4 | file | `/etc/firstboot/config.yaml`, then `/run/firstboot/config.yaml` | no |
//!
//! Arguments of this boot come before the contents of the image. An error ends the search.

pub mod credential;
pub mod variables;

mod file;
pub mod inline;
pub(crate) mod url;

use std::time::Duration;

use crate::document::{Document, UserData};
use crate::error::Result;
use crate::evidence::CommandLine;
use crate::host::root::Root;
use crate::net::Deadline;

/// All locations, in their order of precedence.
pub const ALL: &[(&str, FindConfig)] =
    &[("url", url::find), ("inline", inline::find), ("credential", credential::find), (FILE, file::find)];

/// Name of the location that is a file of this machine.
pub const FILE: &str = "file";

/// Time limit for fetching a config where the kernel command line sets none. The network may still be
/// starting.
pub const LIMIT: Duration = Duration::from_secs(180);

/// Everything that a location may look at.
pub struct LocationContext<'a> {
    /// The machine's files.
    pub root: &'a Root,
    /// The kernel command line.
    pub command_line: &'a CommandLine,
    /// Time limit for fetching.
    pub deadline: Deadline,
    /// Fetches a URL: at most [`crate::document::LIMIT`] bytes, https by the system's CAs. Called only for a
    /// URL of the command line.
    pub fetch: &'a dyn Fn(&str, Deadline) -> Result<Document>,
}

/// Looks for a config at a location; adds notices for the operator.
pub type FindConfig = fn(&LocationContext, &mut Vec<String>) -> Result<Option<UserData>>;

/// The config at the first allowed location that has one, with the location's name.
pub fn find(
    context: &LocationContext,
    is_allowed: &dyn Fn(&str) -> bool,
    notices: &mut Vec<String>,
) -> Result<Option<(&'static str, UserData)>> {
    for (name, find) in ALL.iter().filter(|(name, _)| is_allowed(name)) {
        if let Some(found) = find(context, notices)? {
            return Ok(Some((name, found)));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
