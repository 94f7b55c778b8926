//! The folder in which a root is put together.
//!
//! It cannot lie in the store: in a user namespace the owner of the root is another user, who cannot enter a home that is closed to others.
//! dpkg flushes its database after every package; on a tmpfs that costs nothing, on a busy disk half of the whole time.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::sys::statvfs::{FsFlags, statvfs};
use tempfile::TempDir;

use crate::error::{Class, Error, IoContext, Result};
use crate::process::{Run, tool};

const PREFIX: &str = "kiln-base-";

/// A private, empty folder that every user can enter, on a file system that can hold a root of `size` bytes. The first that will do of:
/// TMPDIR, memory (`/dev/shm`), `/tmp`, `/var/tmp`. Removed when dropped.
///
/// # Errors
/// [`Class::Io`] when none will do; says why for each.
pub(super) fn create(size: u64) -> Result<TempDir> {
    let chosen = std::env::var_os("TMPDIR").filter(|path| !path.is_empty()).map(PathBuf::from);
    let mut reasons = String::new();
    for folder in chosen.into_iter().chain(["/dev/shm", "/tmp", "/var/tmp"].map(PathBuf::from)) {
        match usable(&folder, size) {
            Ok(()) => return make(&folder),
            Err(reason) => reasons.push_str(&format!("\n  {}: {reason}", folder.display())),
        }
    }
    Err(Error::new(Class::Io, format!("no folder to put a root of {} MB together:{reasons}", size >> 20))
        .help("name one with TMPDIR that every user may enter and write, as /tmp; or free some space"))
}

/// Removes what builds have left that were killed. Never fails: what cannot be removed stays.
pub(super) fn sweep(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(PREFIX)).and_then(|rest| rest.split('-').next());
        if owner.is_some_and(|pid| pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists()) {
            remove(&entry.path());
        }
    }
}

/// Files of a namespace belong to other users: only a namespace of the same kind can remove them.
fn remove(path: &Path) {
    let gone = fs::remove_dir_all(path).is_ok();
    if !gone && tool("mmdebstrap").args(["--unshare-helper", "rm", "-rf", "--"]).arg(path).run("mmdebstrap").is_ok() {
        // The folder itself is this user's.
        fs::remove_dir_all(path).ok();
    }
}

fn make(folder: &Path) -> Result<TempDir> {
    sweep(folder);
    let made = TempDir::with_prefix_in(format!("{PREFIX}{}-", std::process::id()), folder).at("creating a folder in", folder)?;
    fs::set_permissions(made.path(), Permissions::from_mode(0o1777)).at("changing the mode of", made.path())?;
    Ok(made)
}

fn usable(folder: &Path, size: u64) -> Result<(), String> {
    let folder = folder.canonicalize().map_err(|error| error.to_string())?;
    if nix::unistd::access(&folder, nix::unistd::AccessFlags::W_OK).is_err() {
        return Err("not writable".into());
    }
    let closed = folder.ancestors().find(|path| !path.metadata().is_ok_and(|data| data.permissions().mode() & 0o001 != 0));
    if let Some(path) = closed {
        return Err(format!("other users cannot enter {}", path.display()));
    }
    let system = statvfs(&folder).map_err(|error| error.to_string())?;
    if system.flags().contains(FsFlags::ST_NOEXEC) {
        return Err("mounted noexec".into());
    }
    let free = system.blocks_available() as u64 * system.fragment_size() as u64;
    if free < size {
        return Err(format!("{} MB free", free >> 20));
    }
    if folder.starts_with("/dev/shm") {
        let memory = available_memory(&fs::read_to_string("/proc/meminfo").unwrap_or_default());
        if memory < size.saturating_mul(3) {
            return Err(format!("{} MB of memory available", memory >> 20));
        }
    }
    Ok(())
}

/// MemAvailable of proc_meminfo(5) in bytes; 0 when it is not there.
fn available_memory(text: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    line.and_then(|value| value.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()).map_or(0, |kib| kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_parent_or_a_full_disk_will_not_do() {
        let folder = TempDir::new().unwrap();
        let inner = folder.path().join("inner");
        fs::create_dir(&inner).unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
        assert!(usable(&inner, 1).unwrap_err().contains("cannot enter"));
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        assert_eq!(usable(&inner, 1), Ok(()));
        assert!(usable(&inner, u64::MAX).unwrap_err().contains("MB free"));
        assert!(usable(Path::new("/nonexistent"), 1).is_err());
    }

    #[test]
    fn sweeps_only_what_the_dead_have_left() {
        let folder = TempDir::new().unwrap();
        let dead = folder.path().join("kiln-base-4194305-x");
        let other = folder.path().join("kiln-base-x");
        let alive = folder.path().join(format!("kiln-base-{}-x", std::process::id()));
        for path in [&dead, &other, &alive] {
            fs::create_dir_all(path.join("below")).unwrap();
        }
        sweep(folder.path());
        assert!(!dead.exists() && other.exists() && alive.exists());
    }

    #[test]
    fn reads_the_available_memory() {
        assert_eq!(available_memory("MemTotal: 9 kB\nMemAvailable:   2048 kB\n"), 2 << 20);
        assert_eq!(available_memory(""), 0);
    }
}
