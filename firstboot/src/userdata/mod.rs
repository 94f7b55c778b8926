//! Opens user data of any form and returns its node config documents. The form is recognised by content
//! alone.
//!
//! ```text
//!         ┌─ gzip, zstd, base64 ─┐
//! bytes ──┼─ multipart message ──┼──► node config ──────────────► documents ─► merge ─► config::parse
//!         ├─ jinja template ─────┤    cloud-config, Ignition ───► documents, files, flags, sentinel, host name
//!         └─ pointer ─► fetch ───┘    anything else ────────────► a notice
//! ```
//!
//! Nothing is run, and only pointers are fetched. All levels of packing together unpack to at most 8 MiB.
//! Content that is not for this agent, such as scripts, is ignored; content that is for it and invalid is an
//! error.

mod archive;
pub mod bounds;
pub mod cloud_config;
mod cloud_merge;
pub mod commands;
pub mod data_url;
pub mod elsewhere;
pub mod embedded;
pub mod expression;
pub mod files;
mod gathered;
pub mod host_name;
pub mod ignition;
pub mod jinja;
pub mod kind;
pub mod merge;
mod mentions;
pub mod mime;
mod open;
pub mod pointer;
mod prefixes;
mod rivals;
mod sed;
pub mod shell;
pub mod signature;
pub mod tree;
mod units;
pub mod unpack;
mod variables;
mod workspace;

pub use self::elsewhere::Elsewhere;
pub use self::files::{ExtraFile, Owner};
pub use self::kind::{Kind, kind};
pub use self::merge::merge;
pub use self::open::open;
pub use self::pointer::Pointer;
pub use self::signature::Trust;

use crate::config::flags::{self, JoinFlags};
use crate::config::model::NodeConfig;
use crate::config::{self, HostDefaults};
use crate::document::Document;
use crate::error::{Failure, Result};

/// The environment for opening user data.
pub struct Env<'a> {
    /// Which signers are trusted.
    pub trust: &'a Trust,
    /// Returns the values of names in templates, such as `ds` and the steps behind it.
    pub names: &'a expression::Names<'a>,
    /// Returns the variables of `envsubst`, by Afterburn's names such as `COREOS_EC2_HOSTNAME`, and texts by
    /// names of templates, such as `v1.local_hostname`.
    pub lookup: &'a dyn Fn(&str) -> Option<String>,
    /// Downloads the content of a pointer's URL. This module checks the digest and the signature.
    pub fetch: &'a dyn Fn(&Pointer) -> Result<Document>,
    /// Gets user data that lies elsewhere, or `None` if this machine does not follow it. It is not asked if
    /// an image accepts only signed user data: nothing verifies what it gives.
    pub follow: &'a dyn Fn(&Elsewhere) -> Result<Option<Document>>,
}

/// Parsed user data. If documents and flags are empty, it is not for firstboot.
#[derive(Debug, Default)]
pub struct ParsedUserData {
    /// The node configs, in order.
    pub documents: Vec<Document>,
    /// The flags of a `kubeadm join` command, alone or in addition to the documents.
    pub flags: JoinFlags,
    /// The extra files.
    pub files: Vec<ExtraFile>,
    /// The file that Cluster API's infrastructure providers wait for. It gets the word success after the
    /// join.
    pub sentinel: Option<String>,
    /// The host name that the user data sets.
    pub hostname: Option<String>,
    /// Why the host name that it sets is none. It matters only if the node has no name of its own.
    pub hostname_problem: Option<Failure>,
    /// What it names and nobody followed.
    pub elsewhere: Vec<Elsewhere>,
    /// Notices about ignored parts, without any of their content.
    pub notices: Vec<String>,
    /// The ids of the keys that signed the accepted parts.
    pub signed_by: Vec<String>,
}

impl ParsedUserData {
    /// Whether it contains a node config.
    pub fn has_config(&self) -> bool {
        !self.documents.is_empty() || !self.flags.given.is_empty() || !self.flags.endpoints.is_empty()
    }

    /// Sets the flags of a command. There may be only one join.
    fn take_flags(&mut self, flags: JoinFlags) -> Result<()> {
        if self.flags != JoinFlags::default() && self.flags != flags {
            return Err(bounds::wrong("there are two commands kubeadm join, with different flags"));
        }
        self.flags = flags;
        Ok(())
    }

    /// Makes the node config of all documents and flags, if there is one. Takes the documents. It is an error
    /// if there is none because it lies elsewhere.
    pub fn node_config(&mut self, host: &HostDefaults) -> Result<Option<NodeConfig>> {
        if !self.has_config() {
            return self.elsewhere.first().map_or(Ok(None), |elsewhere| Err(elsewhere.refusal()));
        }
        let documents = std::mem::take(&mut self.documents);
        let merged = if documents.is_empty() { None } else { Some(merge(documents)?) };
        let bytes = merged.as_ref().map(Document::bytes);
        match bytes {
            Some(bytes) if self.flags.given.is_empty() => config::parse(bytes, host).map(Some),
            bytes => flags::node_config(&self.flags, bytes, host).map(Some),
        }
    }
}
