//! What the targets share: files that cost nothing to write, and the checkout's own definitions.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A folder in memory where there is one: each input is written to a file there.
pub fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    TempDir::with_prefix_in("kiln-fuzz-", parent).expect("the folder is writable")
}

/// The path of a file or folder of the checkout.
pub fn checkout(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// Writes a file, and the folders above it.
pub fn write(path: &Path, bytes: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().expect("a path in a folder")).expect("the folder is writable");
    fs::write(path, bytes).expect("the folder is writable");
}
