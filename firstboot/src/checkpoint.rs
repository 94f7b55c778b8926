//! The checkpoint: the finished phases of a join, in `/var/lib/firstboot/journal.json`.
//!
//! It is written by rename and flushed before the next phase begins, so after a power cut the last finished
//! phase is known. It holds hashes, names and times, never a secret. The file is still called a journal:
//! agents of older images read and write it too.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::{ErrorKind, Failure, Result};
use crate::host::files;
use crate::host::root::Root;
use crate::paths;

/// The path of the file on a node.
pub const PATH: &str = paths::CHECKPOINT;

/// Limit on a checkpoint, in bytes.
const LIMIT: u64 = 64 * 1024;

/// The version of the file's format. A file with another version is not read.
const FORM: u32 = 1;

/// The content of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Checkpoint {
    /// Always 1.
    form: u32,
    /// The identity of the machine, a hash, see `host::identity`.
    pub machine: String,
    /// The hash of the node config, without its credentials.
    pub config: String,
    /// The name under which the machine joins.
    pub node: String,
    /// The finished phases, each with the hash of its input.
    pub phases: Vec<Finished>,
    /// Whether the join is over.
    pub joined: bool,
}

/// A finished phase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finished {
    pub(crate) phase: String,
    /// The hash of its input.
    pub input: String,
    /// When it ended, in seconds since 1970.
    pub at: u64,
}

/// How an earlier run relates to this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Before {
    /// This join is over.
    Joined,
    /// This join was interrupted.
    Interrupted,
    /// Another machine wrote the checkpoint, so the disk was cloned.
    Cloned,
    /// The machine joined, or began to, with another config.
    Different,
}

/// The checkpoint of the running join.
#[derive(Debug)]
pub struct CheckpointFile {
    /// None if nothing may be written.
    path: Option<PathBuf>,
    checkpoint: Checkpoint,
}

impl Checkpoint {
    /// A checkpoint before the first phase.
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

    /// Reads the checkpoint of an earlier run, if there is one.
    pub fn read(root: &Root) -> Result<Option<Self>> {
        Ok(files::read(&root.path(PATH), LIMIT)?.as_deref().and_then(Self::parse))
    }

    /// The machine that wrote the checkpoint. It is known also where an agent of another version wrote the
    /// rest, so that a copied disk is recognised by agents older and newer than the one that joined it.
    pub fn machine(root: &Root) -> Result<Option<String>> {
        #[derive(Deserialize)]
        struct Written {
            machine: String,
        }
        let bytes = files::read(&root.path(PATH), LIMIT)?;
        Ok(bytes
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .map(|written: Written| written.machine))
    }

    /// Parses a checkpoint; none for anything else, which counts as never written.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok().filter(|checkpoint: &Self| checkpoint.form == FORM)
    }

    /// Whether the machine has had a certificate of its cluster.
    pub fn has_identity(&self) -> bool {
        self.joined
            || self
                .phases
                .iter()
                .any(|finished| matches!(finished.phase.as_str(), "identity" | "kubeadm"))
    }

    /// How the run that wrote this checkpoint relates to a machine and a config.
    pub fn compare(&self, machine: &str, config: &str) -> Before {
        match () {
            () if self.machine != machine => Before::Cloned,
            () if self.config != config => Before::Different,
            () if self.joined => Before::Joined,
            () => Before::Interrupted,
        }
    }
}

impl CheckpointFile {
    /// Resumes from `checkpoint`. Writes it at once.
    pub fn begin(root: &Root, checkpoint: Checkpoint) -> Result<Self> {
        let file = Self { path: Some(root.entry(PATH)), checkpoint };
        file.write()?;
        Ok(file)
    }

    /// Resumes from `checkpoint`, and writes nothing.
    pub fn in_memory(checkpoint: Checkpoint) -> Self {
        Self { path: None, checkpoint }
    }

    /// The current content of the file.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Whether `phase` was finished with this input.
    pub fn is_done(&self, phase: &str, input: &str) -> bool {
        self.checkpoint
            .phases
            .iter()
            .any(|finished| finished.phase == phase && finished.input == input)
    }

    /// Records that `phase` is finished. The last phase ends the join.
    pub fn done(&mut self, phase: &str, input: &str, at: u64, is_last: bool) -> Result<()> {
        self.checkpoint.phases.retain(|finished| finished.phase != phase);
        self.checkpoint
            .phases
            .push(Finished { phase: phase.to_owned(), input: input.to_owned(), at });
        self.checkpoint.joined = is_last;
        self.write()
    }

    fn write(&self) -> Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let bytes = serde_json::to_vec_pretty(&self.checkpoint)
            .map_err(|error| Failure::new(ErrorKind::Internal, error.to_string()))?;
        files::write(path, &bytes, files::PRIVATE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(root: &Root) -> CheckpointFile {
        CheckpointFile::begin(root, Checkpoint::new("m1", "c1", "n1")).unwrap()
    }

    #[test]
    fn remembers_what_is_done() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        assert_eq!(Checkpoint::read(&root).unwrap(), None);
        let mut file = begun(&root);
        file.done("files", "i1", 7, false).unwrap();
        file.done("files", "i2", 8, false).unwrap();
        let again = CheckpointFile::begin(&root, Checkpoint::read(&root).unwrap().unwrap()).unwrap();
        assert!(
            again.is_done("files", "i2") && !again.is_done("files", "i1") && !again.is_done("cleanup", "i2")
        );
        assert_eq!(again.checkpoint().phases.len(), 1);
    }

    #[test]
    fn tells_an_interrupted_join_from_a_clone_and_from_another_config() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        let mut file = begun(&root);
        assert_eq!(file.checkpoint().compare("m1", "c1"), Before::Interrupted);
        file.done("cleanup", "i1", 9, true).unwrap();
        let read = Checkpoint::read(&root).unwrap().unwrap();
        assert_eq!(read.compare("m1", "c1"), Before::Joined);
        assert_eq!(read.compare("m2", "c1"), Before::Cloned);
        assert_eq!(read.compare("m1", "c2"), Before::Different);
    }

    #[test]
    fn the_machine_is_known_whoever_wrote_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        assert_eq!(Checkpoint::machine(&root).unwrap(), None);
        drop(begun(&root));
        assert_eq!(Checkpoint::machine(&root).unwrap().as_deref(), Some("m1"));
        let newer = br#"{"form":2,"machine":"m2","more":{}}"#;
        files::write(&root.entry(PATH), newer, files::PRIVATE).unwrap();
        assert_eq!(Checkpoint::read(&root).unwrap(), None);
        assert_eq!(Checkpoint::machine(&root).unwrap().as_deref(), Some("m2"));
    }

    #[test]
    fn anything_else_counts_as_no_checkpoint() {
        for bytes in [
            &b""[..],
            b"{}",
            b"[]",
            b"\xff",
            br#"{"form":2,"machine":"","config":"","node":"","phases":[],"joined":false}"#,
        ] {
            assert_eq!(Checkpoint::parse(bytes), None);
        }
    }
}
