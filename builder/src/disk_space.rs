//! Whether something failed because a file system of this machine is full, and not because of what it read.

use std::path::Path;

use nix::sys::statvfs::statvfs;

/// What to do then, where nobody can tell which file system it is.
pub const HELP: &str = "free some space where the cache, the outputs and temporary files are, or choose other folders \
                        with --cache-dir, --output-dir and TMPDIR";

/// What programs say of it, in the neutral locale (strerror(3)).
const SIGNS: [&str; 2] = ["No space left on device", "Disk quota exceeded"];

/// A program that fails may leave as much as this free, in bytes: what it did not write.
const MARGIN: u64 = 16 << 20;

/// Whether a program said that there is no space.
pub fn is_missed_in(said: &str) -> bool {
    SIGNS.iter().any(|sign| said.contains(sign))
}

/// Whether the file system that holds `path` is as good as full. One that cannot be asked is not.
pub fn is_missed_at(path: &Path) -> bool {
    free(path).is_some_and(|free| free < MARGIN)
}

/// How many bytes the file system that holds `path` has room for, if it can be asked.
pub fn free(path: &Path) -> Option<u64> {
    let system = statvfs(path).ok()?;
    Some(system.blocks_available().saturating_mul(system.fragment_size()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_known_by_its_text() {
        assert!(is_missed_in("mke2fs: No space left on device while writing out and closing file system"));
        assert!(!is_missed_in("the image has no space"));
    }

    #[test]
    fn a_place_that_is_not_there_is_not_full() {
        assert!(!is_missed_at(Path::new("/no/such/folder")));
        assert!(!is_missed_at(&std::env::temp_dir()));
    }
}
