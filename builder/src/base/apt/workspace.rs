//! The folder in which a root is put together.
//!
//! It cannot be in the store: in a user namespace the root belongs to another user, and that user cannot
//! enter a closed home folder. dpkg flushes its database after every package, which costs nothing in memory
//! and half of the whole time on a busy disk: where memory is plenty, a tmpfs is mounted over the folder.
//!
//! A root under construction has the host's /dev/shm, /proc and /sys mounted inside. That tmpfs and these
//! mounts are in a namespace of their own, so that they end with it, also when everything is killed; and
//! nothing here removes a folder in which something is mounted, because that would empty what is mounted.
//! /dev/shm itself is no place for a root: `rm --one-file-system` could not tell the two apart.

use std::fs::{self, File, Permissions};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::statvfs::{FsFlags, statvfs};
use tempfile::TempDir;

use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::process::{Run, tool};
use crate::scratch;

const PREFIX: &str = "kiln-base-";
/// Locked as long as any process of the build lives: mmdebstrap and dpkg inherit it, and go on for a while
/// when kiln is killed. The lock ends with the last of them, however they end, and holds across process
/// namespaces.
const LOCK: &str = "lock";

/// A private folder that every user can enter. Removed when dropped.
#[derive(Debug)]
pub(super) struct Workspace {
    path: PathBuf,
    memory: Option<u64>,
    lock: File,
}

impl Workspace {
    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `start`, so that what it starts inherits the lock.
    pub(super) fn lend<T>(&self, start: impl FnOnce() -> Result<T>) -> Result<T> {
        lend(&self.lock, start)
    }

    /// Options of the tmpfs (tmpfs(5)) that is to hold the root; nothing where it has to be put together on
    /// disk.
    pub(super) fn tmpfs(&self, mode: &str) -> Option<String> {
        self.memory.map(|size| format!("size={size},mode={mode}"))
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// A workspace for a root of `size` bytes: in memory when three times as much is available, else on disk. The
/// first of TMPDIR, `/tmp` and `/var/tmp` that will do.
///
/// # Errors
/// [`ErrorKind::Io`] when none will do; says why for each.
pub(super) fn create(size: u64) -> Result<Workspace> {
    let available = available_memory(&fs::read_to_string("/proc/meminfo").unwrap_or_default());
    let memory = (available >= size.saturating_mul(3)).then_some(size);
    let on_disk = if memory.is_some() { 1 << 20 } else { size };
    let chosen = std::env::var_os("TMPDIR").filter(|path| !path.is_empty()).map(PathBuf::from);
    let mut reasons = String::new();
    for folder in chosen.into_iter().chain(["/tmp", "/var/tmp"].map(PathBuf::from)) {
        match usable(&folder, on_disk) {
            Ok(()) => return make(&folder, memory),
            Err(reason) => reasons.push_str(&format!("\n  {}: {reason}", folder.display())),
        }
    }
    Err(Error::new(ErrorKind::Io, format!("no folder to put a root of {} MB together:{reasons}", size >> 20))
        .help("name one with TMPDIR that every user may enter and write, as /tmp; or free some space"))
}

fn make(folder: &Path, memory: Option<u64>) -> Result<Workspace> {
    sweep(folder);
    let made = TempDir::with_prefix_in(PREFIX, folder).at("creating a folder in", folder)?;
    let lock_path = made.path().join(LOCK);
    let lock = File::create(&lock_path).at("creating", &lock_path)?;
    lock.lock().at("locking", &lock_path)?;
    fs::set_permissions(made.path(), Permissions::from_mode(0o1777))
        .at("changing the mode of", made.path())?;
    Ok(Workspace { path: made.keep(), memory, lock })
}

fn lend<T>(lock: &File, start: impl FnOnce() -> Result<T>) -> Result<T> {
    let set = |flags| match fcntl(lock, FcntlArg::F_SETFD(flags)) {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::new(ErrorKind::Io, format!("sharing the lock of a build: {error}"))),
    };
    set(FdFlag::empty())?;
    let started = start();
    set(FdFlag::FD_CLOEXEC)?;
    started
}

/// Removes the folders of killed builds: those whose lock is free. A folder that cannot be removed stays.
fn sweep(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let ours = entry.file_name().to_string_lossy().starts_with(PREFIX)
            && entry.file_type().is_ok_and(|kind| kind.is_dir());
        let lock = ours.then(|| scratch::open_left(&path.join(LOCK)).ok()).flatten();
        if lock.as_ref().is_some_and(|lock| lock.try_lock().is_ok()) {
            remove(&path);
        }
    }
}

/// Removes a folder in which nothing is mounted.
fn remove(path: &Path) {
    let mounts = fs::read("/proc/self/mountinfo");
    let free = path
        .canonicalize()
        .ok()
        .zip(mounts.ok())
        .is_some_and(|(path, mounts)| !mounted_below(&mounts, &path));
    if !free || fs::remove_dir_all(path).is_ok() {
        return;
    }
    // Files of a user namespace belong to other users: only a namespace of the same kind can remove them. The
    // folder itself is this user's.
    tool("mmdebstrap")
        .args(["--unshare-helper", "rm", "-rf", "--one-file-system", "--"])
        .arg(path)
        .run("mmdebstrap")
        .ok();
    fs::remove_dir_all(path).ok();
}

/// Whether a mount point of proc_pid_mountinfo(5) is `path` or below it. Blanks and backslashes are written
/// as octal numbers there.
fn mounted_below(mountinfo: &[u8], path: &Path) -> bool {
    mountinfo
        .split(|byte| *byte == b'\n')
        .filter_map(|line| line.split(|byte| *byte == b' ').nth(4))
        .any(|point| {
            let point = PathBuf::from(std::ffi::OsString::from_vec(unescape(point)));
            point.starts_with(path)
        })
}

fn unescape(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        let number = tail
            .get(..3)
            .filter(|_| *first == b'\\')
            .and_then(|digits| std::str::from_utf8(digits).ok());
        match number.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    bytes
}

fn usable(folder: &Path, size: u64) -> Result<(), String> {
    let folder = folder.canonicalize().map_err(|error| error.to_string())?;
    if nix::unistd::access(&folder, nix::unistd::AccessFlags::W_OK).is_err() {
        return Err("not writable".into());
    }
    let closed = folder
        .ancestors()
        .find(|path| !path.metadata().is_ok_and(|data| data.permissions().mode() & 0o001 != 0));
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
    Ok(())
}

/// MemAvailable of proc_meminfo(5) in bytes; 0 when it is not there.
fn available_memory(text: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    line.and_then(|value| value.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok())
        .map_or(0, |kib| kib << 10)
}

#[cfg(test)]
#[path = "workspace_tests.rs"]
mod tests;
