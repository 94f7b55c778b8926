//! Private folders for unfinished work. If a process is killed, the next command removes its folder.
//!
//! Beside each folder `NAME` is a file `NAME.lock`, which its owner locks (flock). The lock ends with the
//! process.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::geteuid;
use tempfile::Builder;

use crate::error::{Error, ErrorKind, IoContext, Result};

/// Opens or creates a file of Kiln's own, to read and write it, and leaves its bytes as they are. In a folder
/// where others can write, a link may lead to another file of this user, so none is followed.
pub(crate) fn open_own(path: &Path) -> Result<File> {
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false);
    options.custom_flags(OFlag::O_NOFOLLOW.bits());
    options.open(path).map_err(|error| {
        if error.raw_os_error() == Some(Errno::ELOOP as i32) {
            return Error::new(ErrorKind::Io, format!("{} is a symbolic link", path.display()))
                .help("find out who made it, and remove it: Kiln follows no link to a file of its own");
        }
        Error::io("opening", path, &error)
    })
}

/// Opens the lock file that another process has left. Whoever may write to the folder may put anything in
/// its place: no link is followed, and a pipe does not wait for a writer.
pub(crate) fn open_left(path: &Path) -> std::io::Result<File> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    File::options().read(true).custom_flags(flags.bits()).open(path)
}

/// Takes the lock that is the file `path`, and waits while another process has it.
pub(crate) fn lock(path: &Path) -> Result<File> {
    let file = open_own(path)?;
    file.lock().at("locking", path)?;
    Ok(file)
}

/// The prefix of every scratch folder's name.
const PREFIX: &str = ".kiln-";

/// A private folder, removed when dropped.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    lock_path: PathBuf,
    _lock: File,
}

impl Scratch {
    /// A new empty folder in `parent`.
    pub fn new(parent: &Path) -> Result<Self> {
        Self::with_mode(parent, 0o777)
    }

    /// A new empty folder for temporary files, which no other user reads. Those of this user whose owners are
    /// gone are removed.
    pub(crate) fn temporary() -> Result<Self> {
        let parent = std::env::temp_dir();
        sweep_own(&parent);
        Self::with_mode(&parent, 0o700)
    }

    fn with_mode(parent: &Path, mode: u32) -> Result<Self> {
        loop {
            let lock = Builder::new()
                .prefix(PREFIX)
                .suffix(".lock")
                .tempfile_in(parent)
                .at("creating a file in", parent)?;
            let (file, lock_path) = lock
                .keep()
                .map_err(|error| crate::error::Error::io("creating a file in", parent, &error.error))?;
            file.lock().at("locking", &lock_path)?;
            // Before the lock was taken, another process may have removed the file as a leftover.
            if file.metadata().at("reading", &lock_path)?.nlink() == 0 {
                continue;
            }
            let path = lock_path.with_extension("");
            DirBuilder::new().mode(mode).create(&path).at("creating", &path)?;
            return Ok(Self { path, lock_path, _lock: file });
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // If this fails, the next command removes it.
        let _ = remove(&self.path);
        let _ = fs::remove_file(&self.lock_path);
    }
}

/// Removes the scratch folders in `parent` whose owners are gone.
pub fn sweep(parent: &Path) -> Result<()> {
    for entry in fs::read_dir(parent).at("reading", parent)? {
        let lock_path = entry.at("reading", parent)?.path();
        if let Some(_lock) = lock_of_dead(&lock_path) {
            remove_dead(&lock_path)?;
        }
    }
    Ok(())
}

/// The same in a folder where others put theirs: those of this user alone, as far as it is possible.
fn sweep_own(parent: &Path) {
    let is_own = |lock: &File| lock.metadata().is_ok_and(|it| it.uid() == geteuid().as_raw());
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let lock_path = entry.path();
        if let Some(_lock) = lock_of_dead(&lock_path).filter(is_own) {
            // What another process of this user removes at the same time needs no message.
            let _ = remove_dead(&lock_path);
        }
    }
}

/// The lock at `path`, taken, if it is that of a scratch folder whose owner is gone.
fn lock_of_dead(path: &Path) -> Option<File> {
    let name = path.file_name()?.to_str()?;
    if !name.starts_with(PREFIX) || !name.ends_with(".lock") {
        return None;
    }
    open_left(path).ok().filter(|file| file.try_lock().is_ok())
}

fn remove_dead(lock_path: &Path) -> Result<()> {
    let path = lock_path.with_extension("");
    remove(&path).at("removing", &path)?;
    fs::remove_file(lock_path).at("removing", lock_path)
}

fn remove(path: &Path) -> std::io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_link_is_followed_to_a_lock_and_nothing_is_truncated() {
        let folder = tempfile::tempdir().unwrap();
        let (victim, link) = (folder.path().join("victim"), folder.path().join("link"));
        fs::write(&victim, "of another program").unwrap();
        std::os::unix::fs::symlink(&victim, &link).unwrap();
        let error = lock(&link).unwrap_err();
        assert!(error.message().contains("link is a symbolic link"), "{error}");
        std::os::unix::fs::symlink("absent", folder.path().join("dangling")).unwrap();
        assert!(lock(&folder.path().join("dangling")).is_err() && !folder.path().join("absent").exists());
        lock(&victim).unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "of another program");
    }

    #[test]
    fn a_pipe_in_place_of_a_lock_holds_nothing_up() {
        let parent = tempfile::tempdir().unwrap();
        let pipe = parent.path().join(".kiln-pipe.lock");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let (done, finished) = std::sync::mpsc::channel();
        let folder = parent.path().to_owned();
        std::thread::spawn(move || done.send(sweep(&folder).is_ok()));
        assert_eq!(finished.recv_timeout(std::time::Duration::from_secs(20)), Ok(true));
    }

    #[test]
    fn a_temporary_folder_is_for_its_user_alone_and_does_not_stay() {
        let left = Scratch::temporary().unwrap();
        assert_eq!(left.path().metadata().unwrap().mode() & 0o777, 0o700);
        let (path, lock_path) = (left.path().to_owned(), left.lock_path.clone());
        // As a killed process leaves it: the lock is gone, the files are there.
        left._lock.unlock().unwrap();
        std::mem::forget(left);
        drop(Scratch::temporary().unwrap());
        assert!(!path.exists() && !lock_path.exists());
    }

    #[test]
    fn sweep_takes_the_dead_and_leaves_the_living() {
        let parent = tempfile::tempdir().unwrap();
        let living = Scratch::new(parent.path()).unwrap();
        let dead = parent.path().join(".kiln-dead");
        fs::create_dir(&dead).unwrap();
        fs::write(parent.path().join(".kiln-dead.lock"), b"").unwrap();
        sweep(parent.path()).unwrap();
        assert!(living.path().exists() && !dead.exists());
        let path = living.path().to_owned();
        drop(living);
        assert!(!path.exists() && fs::read_dir(parent.path()).unwrap().count() == 0);
    }
}
