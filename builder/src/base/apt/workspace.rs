//! The folder in which a root is put together.
//!
//! It cannot lie in the store: in a user namespace the owner of the root is another user, who cannot enter a home that is closed to others.
//! dpkg flushes its database after every package, which costs nothing in memory and half of the whole time on a busy disk: where memory is
//! plenty, a tmpfs is mounted over the folder.
//!
//! A root under construction has the host's /dev/shm, /proc and /sys mounted inside. That tmpfs and these mounts are in a namespace of their
//! own, so that they end with it, also when everything is killed; and nothing here removes a folder in which something is mounted, because
//! that would empty what is mounted. /dev/shm itself is no place for a root: `rm --one-file-system` could not tell the two apart.

use std::fs::{self, File, Permissions};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::statvfs::{FsFlags, statvfs};
use tempfile::TempDir;

use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::process::{Run, tool};

const PREFIX: &str = "kiln-base-";
/// Locked as long as any process of the build lives: mmdebstrap and dpkg inherit it, and go on for a while when kiln is killed. The lock
/// ends with the last of them, however they end, and holds across process namespaces.
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

    /// Options of the tmpfs (tmpfs(5)) that is to hold the root; nothing where it has to be put together on disk.
    pub(super) fn tmpfs(&self, mode: &str) -> Option<String> {
        self.memory.map(|size| format!("size={size},mode={mode}"))
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// A workspace for a root of `size` bytes: in memory when three times as much is available, else on disk. The first of TMPDIR, `/tmp` and
/// `/var/tmp` that will do.
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

/// Removes what builds have left that were killed: the folders whose lock nobody holds. What cannot be removed stays.
fn sweep(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let ours = entry.file_name().to_string_lossy().starts_with(PREFIX)
            && entry.file_type().is_ok_and(|kind| kind.is_dir());
        let lock = ours.then(|| File::open(path.join(LOCK)).ok()).flatten();
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
    // Files of a user namespace belong to other users: only a namespace of the same kind can remove them. The folder itself is this user's.
    tool("mmdebstrap")
        .args(["--unshare-helper", "rm", "-rf", "--one-file-system", "--"])
        .arg(path)
        .run("mmdebstrap")
        .ok();
    fs::remove_dir_all(path).ok();
}

/// Whether a mount point of proc_pid_mountinfo(5) is `path` or below it. Blanks and backslashes are written as octal numbers there.
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
        let alive = make(folder.path(), None).unwrap();
        let unlocked = |name: &str, lock: bool| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.join("below")).unwrap();
            if lock {
                fs::write(path.join(LOCK), "").unwrap();
            }
            path
        };
        let [dead, other, starting] = [("kiln-base-dead", true), ("other", true), ("kiln-base-new", false)]
            .map(|(a, b)| unlocked(a, b));
        sweep(folder.path());
        assert!(!dead.exists() && other.exists() && starting.exists() && alive.path().exists());
        let path = alive.path().to_owned();
        drop(alive);
        assert!(!path.exists());
    }

    #[test]
    fn a_process_that_outlives_the_build_keeps_the_folder() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("kiln-base-orphaned");
        fs::create_dir(&path).unwrap();
        let lock = File::create(path.join(LOCK)).unwrap();
        lock.lock().unwrap();
        let mut heir = lend(&lock, || tool("sleep").arg("100").start("coreutils")).unwrap();
        drop(lock);
        sweep(folder.path());
        assert!(path.exists());
        heir.kill().unwrap();
        heir.wait().unwrap();
        // A program that another test has started in the same moment may have inherited the lock as well.
        for _ in 0..500 {
            sweep(folder.path());
            if !path.exists() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("nobody holds it, and it is still there");
    }

    #[test]
    fn nothing_is_removed_in_which_something_is_mounted() {
        let mounts = b"22 1 0:21 / / rw - ext4 /dev/vda rw\n43 22 0:22 / /dev/shm/kiln-base-a/root/dev/shm rw - tmpfs tmpfs rw\n\
                       44 22 0:22 / /srv/a\\040b rw - tmpfs tmpfs rw\n";
        for inside in ["/", "/dev/shm/kiln-base-a", "/dev/shm/kiln-base-a/root/dev/shm", "/srv/a b"] {
            assert!(mounted_below(mounts, Path::new(inside)), "{inside}");
        }
        for outside in
            ["/dev/shm/kiln-base", "/dev/shm/kiln-base-b", "/srv/a", "/dev/shm/kiln-base-a/root/dev/shm/x"]
        {
            assert!(!mounted_below(mounts, Path::new(outside)), "{outside}");
        }
    }

    /// The accident itself: a folder outside is mounted into a workspace that nobody holds. Needs the right to mount.
    #[test]
    fn a_mounted_folder_survives_the_sweep() {
        let folder = TempDir::new().unwrap();
        let [outside, left] = ["outside", "kiln-base-dead"].map(|name| folder.path().join(name));
        let inside = left.join("dev/shm");
        fs::create_dir_all(&outside).unwrap();
        fs::create_dir_all(&inside).unwrap();
        fs::write(outside.join("precious"), "").unwrap();
        fs::write(left.join(LOCK), "").unwrap();
        if let Err(error) = tool("mount").arg("--bind").args([&outside, &inside]).run("mount") {
            return testkit::not_run("a_mounted_folder_survives_the_sweep", error.message());
        }
        sweep(folder.path());
        let survived = outside.join("precious").exists() && inside.join("precious").exists();
        tool("umount").arg(&inside).run("mount").unwrap();
        assert!(survived);
        sweep(folder.path());
        assert!(outside.join("precious").exists() && !left.exists());
    }

    #[test]
    fn reads_the_available_memory() {
        assert_eq!(available_memory("MemTotal: 9 kB\nMemAvailable:   2048 kB\n"), 2 << 20);
        assert_eq!(available_memory(""), 0);
    }
}
