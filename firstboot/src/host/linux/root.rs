//! The root of the machine's file system.

use std::path::{Path, PathBuf};

/// The root: `/` on a node, another folder in tests and with `--rootfs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root(PathBuf);

impl Root {
    /// The file system below `folder`.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    /// The real path of the node's absolute path `path`.
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.0.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Whether this is the machine's own file system.
    pub fn is_machine(&self) -> bool {
        self.0 == Path::new("/")
    }
}

impl Default for Root {
    fn default() -> Self {
        Self::at("/")
    }
}
