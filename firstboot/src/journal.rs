//! What this machine has already done of its join: `/var/lib/firstboot/journal.json`.
//!
//! Every entry is written by rename and flushed before the next step begins, so a power cut leaves the last finished step. It holds hashes,
//! names and times, never a secret.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::{ErrorKind, Failure, Result};
use crate::host::files;
use crate::host::root::Root;

/// Where the journal lies on a node.
pub const PATH: &str = "/var/lib/firstboot/journal.json";

/// Longer than any journal.
const LIMIT: u64 = 64 * 1024;

/// The form of the file; another one is not ours to read.
const FORM: u32 = 1;

/// The content of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Entries {
    /// Always 1.
    form: u32,
    /// The identity of the machine that did the work: a hash, see `host::machine`.
    pub machine: String,
    /// The hash of the node config, without its credentials.
    pub config: String,
    /// The name under which the machine joins.
    pub node: String,
    /// The finished phases with the hash of what each was given.
    pub phases: Vec<Finished>,
    /// Whether the join is over.
    pub joined: bool,
}

/// A finished phase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finished {
    /// The phase's name.
    pub phase: String,
    /// The hash of its input.
    pub input: String,
    /// When it ended, in seconds since 1970.
    pub at: u64,
}

/// What an earlier run means for this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Before {
    /// This very join is over.
    Joined,
    /// This very join was interrupted.
    Interrupted,
    /// Another machine wrote the journal: its disk was cloned.
    Cloned,
    /// The machine joined, or began to, with another config.
    Different,
}

/// The journal of one join.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    entries: Entries,
}

impl Entries {
    /// An empty journal.
    pub fn new(machine: &str, config: &str, node: &str) -> Self {
        let text = str::to_owned;
        Self {
            form: FORM,
            machine: text(machine),
            config: text(config),
            node: text(node),
            phases: Vec::new(),
            joined: false,
        }
    }

    /// Reads a journal; none for anything that is not one, which then counts as never written.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok().filter(|entries: &Self| entries.form == FORM)
    }

    /// What these entries of an earlier run mean for a machine and a config.
    pub fn compare(&self, machine: &str, config: &str) -> Before {
        match () {
            () if self.machine != machine => Before::Cloned,
            () if self.config != config => Before::Different,
            () if self.joined => Before::Joined,
            () => Before::Interrupted,
        }
    }
}

impl Journal {
    /// The entries of an earlier run, if there are any.
    pub fn read(root: &Root) -> Result<Option<Entries>> {
        Ok(files::read(&root.path(PATH), LIMIT)?.as_deref().and_then(Entries::parse))
    }

    /// Goes on with `entries`, or begins with them; the first write happens here.
    pub fn begin(root: &Root, entries: Entries) -> Result<Self> {
        let journal = Self { path: root.path(PATH), entries };
        journal.write()?;
        Ok(journal)
    }

    /// What is recorded.
    pub fn entries(&self) -> &Entries {
        &self.entries
    }

    /// Whether `phase` was finished with this very input.
    pub fn is_done(&self, phase: &str, input: &str) -> bool {
        self.entries
            .phases
            .iter()
            .any(|finished| finished.phase == phase && finished.input == input)
    }

    /// Records that `phase` is finished; the last one ends the join.
    pub fn done(&mut self, phase: &str, input: &str, at: u64, is_last: bool) -> Result<()> {
        self.entries.phases.retain(|finished| finished.phase != phase);
        self.entries
            .phases
            .push(Finished { phase: phase.to_owned(), input: input.to_owned(), at });
        self.entries.joined = is_last;
        self.write()
    }

    /// Forgets everything: the machine is as the image made it.
    pub fn erase(root: &Root) -> Result<()> {
        files::remove(&root.path(PATH))
    }

    fn write(&self) -> Result<()> {
        let bytes = serde_json::to_vec_pretty(&self.entries)
            .map_err(|error| Failure::new(ErrorKind::Internal, error.to_string()))?;
        files::write(&self.path, &bytes, files::PRIVATE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(root: &Root) -> Journal {
        Journal::begin(root, Entries::new("m1", "c1", "n1")).unwrap()
    }

    #[test]
    fn remembers_what_is_done() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        assert_eq!(Journal::read(&root).unwrap(), None);
        let mut journal = begun(&root);
        journal.done("files", "i1", 7, false).unwrap();
        journal.done("files", "i2", 8, false).unwrap();
        let again = Journal::begin(&root, Journal::read(&root).unwrap().unwrap()).unwrap();
        assert!(
            again.is_done("files", "i2") && !again.is_done("files", "i1") && !again.is_done("seal", "i2")
        );
        assert_eq!(again.entries().phases.len(), 1);
    }

    #[test]
    fn tells_an_interrupted_join_from_a_clone_and_from_another_config() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        let mut journal = begun(&root);
        assert_eq!(journal.entries().compare("m1", "c1"), Before::Interrupted);
        journal.done("seal", "i1", 9, true).unwrap();
        let read = Journal::read(&root).unwrap().unwrap();
        assert_eq!(read.compare("m1", "c1"), Before::Joined);
        assert_eq!(read.compare("m2", "c1"), Before::Cloned);
        assert_eq!(read.compare("m1", "c2"), Before::Different);
        Journal::erase(&root).unwrap();
        assert_eq!(Journal::read(&root).unwrap(), None);
    }

    #[test]
    fn what_is_no_journal_counts_as_none() {
        for bytes in [
            &b""[..],
            b"{}",
            b"[]",
            b"\xff",
            br#"{"form":2,"machine":"","config":"","node":"","phases":[],"joined":false}"#,
        ] {
            assert_eq!(Entries::parse(bytes), None);
        }
    }
}
