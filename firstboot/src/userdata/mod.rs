//! User-data of any form → node config documents, told by content alone.
//!
//! ```text
//!         ┌─ gzip, zstd, base64 ─┐
//! bytes ──┼─ multipart message ──┼──► node config ──────────────► documents ─► merge ─► config::parse
//!         ├─ jinja template ─────┤    cloud-config, Ignition ───► documents, files, flags, sentinel, host name
//!         └─ pointer ─► fetch ───┘    anything else ────────────► a notice
//! ```
//!
//! Nothing is executed and nothing but a pointer is fetched. All layers together unpack to 8 MiB at most. What is not this agent's, such as
//! scripts, is left alone; what is, and is wrong, is an error.

pub mod bounds;
pub mod embedded;
pub mod cloud_config;
pub mod commands;
pub mod data_url;
pub mod files;
pub mod ignition;
pub mod jinja;
pub mod kind;
pub mod merge;
pub mod mime;
mod open;
pub mod pointer;
pub mod shell;
pub mod signature;
pub mod tree;
pub mod unpack;

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
use crate::error::Result;

/// What opening needs from outside.
pub struct Env<'a> {
    /// Whom user-data is believed.
    pub trust: &'a Trust,
    /// The variables of a template, by cloud-init's names such as `ds.meta_data.local_hostname`, `v1.region`, `instance_id`; and of
    /// `envsubst`, by names such as `COREOS_EC2_HOSTNAME`.
    pub lookup: &'a dyn Fn(&str) -> Option<String>,
    /// Gets what a pointer names; digest and signature are checked here.
    pub fetch: &'a dyn Fn(&Pointer) -> Result<Document>,
}

/// What user-data comes to. Without documents and flags it is none of this agent's.
#[derive(Debug, Default)]
pub struct ParsedUserData {
    /// The node configs, in order.
    pub documents: Vec<Document>,
    /// The flags of `kubeadm join`, where a command says them: alone, or over the documents.
    pub flags: JoinFlags,
    /// Files that the join needs, or whoever wrote the user-data wants.
    pub files: Vec<ExtraFile>,
    /// The file that Cluster API's infrastructure providers wait for: to be written, with the word success, once the machine has joined.
    pub sentinel: Option<String>,
    /// The host name that is asked for.
    pub hostname: Option<String>,
    /// What was ignored; never any content.
    pub notices: Vec<String>,
    /// The ids of the keys that signed what was believed.
    pub signed_by: Vec<String>,
}

impl ParsedUserData {
    /// Whether there is a node config in it.
    pub fn has_config(&self) -> bool {
        !self.documents.is_empty() || !self.flags.given.is_empty() || !self.flags.endpoints.is_empty()
    }

    /// Takes the flags of a command over; there is one join.
    fn take_flags(&mut self, flags: JoinFlags) -> Result<()> {
        if self.flags != JoinFlags::default() && self.flags != flags {
            return Err(bounds::wrong("there are two commands kubeadm join, with different flags"));
        }
        self.flags = flags;
        Ok(())
    }

    /// The node config of all documents and flags; none when there is none. Takes the documents.
    pub fn node_config(&mut self, host: &HostDefaults) -> Result<Option<NodeConfig>> {
        if !self.has_config() {
            return Ok(None);
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
