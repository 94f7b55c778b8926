//! The content store: verified bytes and built layers, shared by all builds of a user.
//!
//! ```text
//! blobs/<64 hex>            verified artifacts and packages, read-only, named by SHA-256
//! partial/<64 hex>          a download under way; its lock is held by the process that writes it
//! built/<kind>/<64 hex>/    a finished folder (a packed layer, a root), named by its [`Key`]
//! locks/                    advisory locks (flock): they end with their process, so kill -9 leaves nothing behind
//! scratch/                  unfinished work ([`crate::scratch`])
//! ```
//!
//! Everything gets its final name by rename, after it was verified and flushed.

mod key;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::digest::{Digest, DigestWriter};
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::scratch::{self, Scratch};

pub use key::Key;

/// A content store in one folder. Cheap to share by reference between threads.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
}

/// A download under way: an exclusive lock, and the bytes that an earlier attempt left.
#[derive(Debug)]
pub struct Partial {
    /// Open for reading and writing, positioned anywhere.
    pub file: File,
    path: PathBuf,
    _lock: File,
}

/// A finished folder in the store.
#[derive(Debug)]
pub struct BuiltFolder {
    /// The finished folder.
    pub path: PathBuf,
    /// Whether it was there already.
    pub cached: bool,
}

impl Store {
    /// Opens or creates the store in `root`, and removes scratch folders of killed processes.
    pub fn open(root: &Path) -> Result<Self> {
        let root = std::path::absolute(root).at("resolving", root)?;
        for folder in ["blobs", "partial", "built", "locks", "scratch"] {
            let path = root.join(folder);
            fs::create_dir_all(&path).at("creating", &path)?;
        }
        scratch::sweep(&root.join("scratch"))?;
        Ok(Self { root })
    }

    /// Where the user's store is: KILN_CACHE, else `kiln` in XDG_CACHE_HOME or `~/.cache`.
    pub fn default_root() -> Result<PathBuf> {
        let from = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        from("KILN_CACHE")
            .or_else(|| from("XDG_CACHE_HOME").map(|folder| folder.join("kiln")))
            .or_else(|| from("HOME").map(|home| home.join(".cache/kiln")))
            .ok_or_else(|| {
                Error::new(ErrorKind::Usage, "no cache folder: neither KILN_CACHE nor HOME is set")
                    .help("name one with --cache-dir")
            })
    }

    /// Where the blob `digest` is, or would be.
    pub fn blob(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs").join(digest.hex())
    }

    /// Whether the blob is in the store. Every blob was verified before it entered.
    pub fn contains(&self, digest: &Digest) -> bool {
        self.blob(digest).is_file()
    }

    /// Opens the blob for reading.
    pub fn read(&self, digest: &Digest) -> Result<File> {
        let path = self.blob(digest);
        File::open(&path).at("opening", &path)
    }

    /// Starts or resumes the download of `digest`, waiting while another process writes the same blob.
    /// The caller looks at [`Store::contains`] again afterwards: the other one may have finished it.
    pub fn partial(&self, digest: &Digest) -> Result<Partial> {
        let lock = self.lock(&format!("blob-{}", digest.hex()))?;
        let path = self.root.join("partial").join(digest.hex());
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .at("opening", &path)?;
        Ok(Partial { file, path, _lock: lock })
    }

    /// Verifies a finished download from its first byte and gives it its final name. Wrong bytes are removed.
    pub fn commit(&self, partial: Partial, digest: &Digest) -> Result<()> {
        let found = Digest::of_file(&partial.path)?;
        if found != *digest {
            partial.discard()?;
            return Err(mismatch(digest, &found));
        }
        self.commit_verified(partial, digest)
    }

    /// Gives a download its final name. The caller has computed its digest over all bytes while they
    /// streamed.
    pub fn commit_verified(&self, partial: Partial, digest: &Digest) -> Result<()> {
        self.enter(&partial.path, &partial.file, digest)
    }

    /// Streams `from` into the store. Without `expected`, any content is accepted and named by its digest.
    pub fn insert(&self, from: &mut dyn Read, expected: Option<&Digest>) -> Result<(Digest, u64)> {
        let scratch = self.scratch()?;
        let path = scratch.path().join("blob");
        let mut writer = DigestWriter::new(File::create(&path).at("creating", &path)?);
        io::copy(from, &mut writer).at("writing", &path)?;
        let (file, found, size) = writer.finish();
        if let Some(expected) = expected.filter(|expected| **expected != found) {
            return Err(mismatch(expected, &found));
        }
        self.enter(&path, &file, &found)?;
        Ok((found, size))
    }

    /// Where [`Store::built`] has put a folder, when it is there.
    pub fn find(&self, key: &Key) -> Option<PathBuf> {
        Some(self.root.join("built").join(key.kind).join(key.digest.hex())).filter(|path| path.is_dir())
    }

    /// The folder of `key`. If it does not exist, `build` fills an empty folder, which gets its final name
    /// once it is complete and on the disk. Concurrent builds of one key wait for each other.
    pub fn built(&self, key: &Key, build: impl FnOnce(&Path) -> Result<()>) -> Result<BuiltFolder> {
        let (kind, key) = (key.kind, key.digest);
        let parent = self.root.join("built").join(kind);
        let path = parent.join(key.hex());
        if path.is_dir() {
            return Ok(BuiltFolder { path, cached: true });
        }
        let _lock = self.lock(&format!("{kind}-{}", key.hex()))?;
        if path.is_dir() {
            return Ok(BuiltFolder { path, cached: true });
        }
        fs::create_dir_all(&parent).at("creating", &parent)?;
        let scratch = self.scratch()?;
        let work = scratch.path().join("work");
        fs::create_dir(&work).at("creating", &work)?;
        build(&work)?;
        flush(&work)?;
        fs::rename(&work, &path).at("renaming", &path)?;
        sync_folder(&parent)?;
        Ok(BuiltFolder { path, cached: false })
    }

    /// A private folder on the store's file system.
    pub fn scratch(&self) -> Result<Scratch> {
        Scratch::new(&self.root.join("scratch"))
    }

    fn enter(&self, path: &Path, file: &File, digest: &Digest) -> Result<()> {
        let mut permissions = file.metadata().at("reading", path)?.permissions();
        permissions.set_readonly(true);
        file.set_permissions(permissions).at("changing the mode of", path)?;
        file.sync_all().at("flushing", path)?;
        let blob = self.blob(digest);
        fs::rename(path, &blob).at("renaming", &blob)?;
        sync_folder(&self.root.join("blobs"))
    }

    fn lock(&self, name: &str) -> Result<File> {
        let path = self.root.join("locks").join(name);
        let file = File::create(&path).at("creating", &path)?;
        file.lock().at("locking", &path)?;
        Ok(file)
    }
}

impl Partial {
    /// Where the bytes are, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Throws the bytes away.
    pub fn discard(self) -> Result<()> {
        fs::remove_file(&self.path).at("removing", &self.path)
    }
}

/// The error for bytes with another digest than expected; shows both.
pub fn mismatch(expected: &Digest, found: &Digest) -> Error {
    Error::new(ErrorKind::Verification, format!("wrong content\n  expected {expected}\n  found    {found}"))
}

/// Returns when the file, or all that is in the folder and its names, is on the disk.
pub fn flush(path: &Path) -> Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path).at("reading", path)? {
            flush(&entry.at("reading", path)?.path())?;
        }
    }
    File::open(path).and_then(|file| file.sync_all()).at("flushing", path)
}

fn sync_folder(path: &Path) -> Result<()> {
    File::open(path).at("opening", path)?.sync_all().at("flushing", path)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn store() -> (TempDir, Store) {
        let folder = TempDir::new().unwrap();
        let store = Store::open(folder.path()).unwrap();
        (folder, store)
    }

    #[test]
    fn wrong_bytes_never_enter() {
        let (_folder, store) = store();
        let promised = Digest::of(b"promised");
        let error = store.insert(&mut &b"other"[..], Some(&promised)).unwrap_err();
        assert!(error.message().contains(&Digest::of(b"other").to_string()), "{error}");
        assert!(!store.contains(&promised) && !store.contains(&Digest::of(b"other")));
    }

    #[test]
    fn a_failed_build_leaves_no_folder_and_can_be_repeated() {
        let (_folder, store) = store();
        let key = Key::new("layer", 1, &"key", &[]).unwrap();
        let failed = store.built(&key, |work| {
            fs::write(work.join("half"), b"").unwrap();
            Err(Error::new(ErrorKind::Internal, "stopped"))
        });
        assert!(failed.is_err());
        let built = store.built(&key, |work| fs::write(work.join("whole"), b"").at("writing", work)).unwrap();
        assert!(!built.cached && built.path.join("whole").exists() && !built.path.join("half").exists());
        assert!(store.built(&key, |_| unreachable!()).unwrap().cached);
    }
}
