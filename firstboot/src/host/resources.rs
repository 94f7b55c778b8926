//! What the machine has to share out.

use super::root::Root;
use super::system;
pub use crate::os::{Space, space};

/// Processors and memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Resources {
    /// How many processors are online.
    pub processors: u64,
    /// All memory, in bytes.
    pub memory: u64,
    /// The part of it that file systems may take: the root and `/var` after a network boot. 0 on a disk.
    pub files_in_memory: u64,
}

/// Reads them; zeros where the kernel does not say.
pub fn resources(root: &Root) -> Resources {
    Resources {
        processors: std::thread::available_parallelism().map_or(1, |count| count.get() as u64),
        memory: system::memory(root),
        files_in_memory: system::files_in_memory(root),
    }
}
