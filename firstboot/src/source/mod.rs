//! Where node config comes from. A source is one file here and one line in [`SOURCES`].
//!
//! | order | source | what names it | network |
//! |---|---|---|---|
//! | 1 | URL | `firstboot.config=URL` on the kernel command line, with `firstboot.config-sha256=` where it is not https | only here |
//! | 2 | file | `/etc/firstboot/config.yaml`, then `/run/firstboot/config.yaml` | no |
//! | 3 | QEMU fw_cfg | `opt/org.kiln.firstboot/config` | no |
//! | 4 | NoCloud | a disk with the label `cidata` or `CIDATA`, on it `user-data` | no |
//!
//! The first that has something wins. The command line comes first, because whoever boots the machine says more than what lies in its
//! image; when it names a URL that cannot be read or is not what was pinned, nothing else is tried.

pub mod document;
pub mod labels;

mod file;
mod fw_cfg;
mod nocloud;
mod url;

pub use document::Document;

use crate::error::Result;
use crate::host::root::Root;

/// What a source may look at.
pub struct Surroundings<'a> {
    /// The machine's files.
    pub root: &'a Root,
    /// The kernel command line, /proc/cmdline.
    pub command_line: &'a str,
    /// Gets a URL: at most [`document::LIMIT`] bytes, https by the system's CAs. Called for a URL of the command line only.
    pub fetch: &'a dyn Fn(&str) -> Result<Document>,
}

/// A node config.
#[derive(Debug)]
pub struct Found {
    /// The document: secret, as tokens are in it.
    pub document: Document,
    /// The source's name in [`SOURCES`].
    pub source: &'static str,
    /// Where exactly: a path, a device, a URL without what may be secret in it.
    pub detail: String,
}

/// What was found, and what a person should know of the search.
#[derive(Debug, Default)]
pub struct Search {
    /// The node config, if any.
    pub found: Option<Found>,
    /// Remarks; never a secret.
    pub remarks: Vec<String>,
}

/// A source: looks, adds remarks, says where exactly it found what.
type Look = fn(&Surroundings, &mut Vec<String>) -> Result<Option<(Document, String)>>;

/// The name of the source that reads files of this machine.
pub const FILE: &str = "file";

/// All sources, in the order in which they are asked.
pub const SOURCES: &[(&str, Look)] = &[("url", url::look), (FILE, file::look), ("qemu-fw-cfg", fw_cfg::look), ("nocloud", nocloud::look)];

/// Asks the sources in turn. An error of one ends the search: what was meant for this machine must not be replaced by something else.
pub fn find(surroundings: &Surroundings) -> Result<Search> {
    let mut search = Search::default();
    for (source, look) in SOURCES {
        if let Some((document, detail)) = look(surroundings, &mut search.remarks)? {
            search.found = Some(Found { document, source, detail });
            break;
        }
    }
    Ok(search)
}

#[cfg(test)]
#[path = "source_tests.rs"]
mod tests;
