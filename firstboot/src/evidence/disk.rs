//! A disk that may carry configuration.

use std::path::PathBuf;

use super::labels::FileSystem;

/// A block device with a file system that has a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// `/dev/vdb`, below the root.
    pub device: PathBuf,
    /// Its file system.
    pub kind: FileSystem,
    /// Its labels: a FAT file system may have two.
    pub labels: Vec<String>,
    /// What tells it from another disk with this label.
    pub identity: String,
}

impl Disk {
    /// The label that is `name` in lower or upper case.
    pub fn label(&self, name: &str) -> Option<&str> {
        let cases = [name.to_ascii_lowercase(), name.to_ascii_uppercase()];
        self.labels.iter().find(|label| cases.contains(label)).map(String::as_str)
    }
}
