//! What the machine has to share out.

use nix::sys::statfs::{TMPFS_MAGIC, statfs};

use super::kernel;
use super::root::Root;
use crate::paths;

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
        memory: kernel::text(root, paths::MEMORY).as_deref().and_then(total).unwrap_or(0),
        files_in_memory: files_in_memory(root),
    }
}

/// `MemTotal` of /proc/meminfo, in bytes.
fn total(meminfo: &str) -> Option<u64> {
    let value = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Where `/var` is in memory, the root is too.
fn files_in_memory(root: &Root) -> u64 {
    let Ok(var) = statfs(&root.path(paths::VAR)) else { return 0 };
    if !root.is_machine() || var.filesystem_type() != TMPFS_MAGIC {
        return 0;
    }
    let bytes = |about: nix::sys::statfs::Statfs| about.blocks().saturating_mul(about.block_size() as u64);
    bytes(var).saturating_add(statfs("/").map_or(0, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_bytes() {
        assert_eq!(total("MemFree: 1 kB\nMemTotal:        2048 kB\n"), Some(2 << 20));
        for wrong in ["", "MemTotal: x kB", "MemTotal: 2048", "MemTotal: 18446744073709551615 kB"] {
            assert_eq!(total(wrong), None, "{wrong}");
        }
    }
}
