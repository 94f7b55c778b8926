//! The content store: verified bytes and built layers, shared by all builds of a user.
//!
//! ```text
//! blobs/<64 hex>            verified artifacts and packages, read-only, named by SHA-256
//! partial/<64 hex>          a download under way; its lock is held by the process that writes it
//! built/<kind>/<64 hex>/    a finished file (a packed layer, a root) and the record of its bytes, named by its [`Key`]
//! locks/                    advisory locks (flock): they end with their process, so kill -9 leaves nothing behind
//! scratch/                  unfinished work ([`crate::scratch`])
//! ```
//!
//! Everything gets its final name by rename, after it was verified and flushed. Nothing is used on the
//! strength of its name: a process hashes each file of the store before it uses it for the first time, and
//! takes only regular files that no other user can change afterwards.

mod key;

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, Metadata, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};

use crate::digest::{Digest, DigestWriter};
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::scratch::{self, Scratch};

pub use key::Key;

/// A content store in one folder. Cheap to share by reference between threads.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    /// Blobs that this process has hashed.
    hashed: Mutex<BTreeSet<Digest>>,
}

/// A download under way: an exclusive lock, and the bytes that an earlier attempt left.
#[derive(Debug)]
pub struct Partial {
    /// Open for reading and writing, positioned anywhere.
    pub file: File,
    path: PathBuf,
    _lock: File,
}

/// A finished file in the store.
#[derive(Debug)]
pub struct BuiltFile {
    /// The file.
    pub path: PathBuf,
    /// Digest and length of its bytes.
    pub content: Content,
    /// Whether it was there already.
    pub cached: bool,
}

/// Digest and length of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// SHA-256 of all bytes.
    pub sha256: Digest,
    /// The number of bytes.
    pub size: u64,
}

impl Content {
    /// Reads a whole file.
    pub fn of_file(path: &Path) -> Result<Self> {
        let sha256 = Digest::of_file(path)?;
        Ok(Self { sha256, size: path.metadata().at("reading", path)?.len() })
    }
}

/// What is known of a built file.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    /// The digest of its key; absent in records from before it was kept.
    key: Option<Digest>,
    #[serde(flatten)]
    content: Content,
}

/// The name of the record beside a built file.
const RECORD: &str = "record.json";

impl Store {
    /// Opens or creates the store in `root`, and removes scratch folders of killed processes.
    ///
    /// # Errors
    /// [`ErrorKind::Io`]; also if another user can write to it.
    pub fn open(root: &Path) -> Result<Self> {
        let root = std::path::absolute(root).at("resolving", root)?;
        for folder in ["", "blobs", "partial", "built", "locks", "scratch"] {
            let path = root.join(folder);
            create_folder(&path)?;
            check_owner(&path, &path.metadata().at("reading", &path)?)?;
        }
        scratch::sweep(&root.join("scratch"))?;
        Ok(Self { root, hashed: Mutex::default() })
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

    /// Whether the blob is in the store. Every blob was verified before it entered; [`Store::verified`] tells
    /// whether it still is what it was.
    pub fn contains(&self, digest: &Digest) -> bool {
        self.blob(digest).symlink_metadata().is_ok()
    }

    /// The file of a blob whose bytes are those of its name.
    ///
    /// # Errors
    /// [`ErrorKind::Verification`] if somebody has changed it; [`ErrorKind::Io`] if it is not there.
    pub fn verified(&self, digest: &Digest) -> Result<PathBuf> {
        let path = self.blob(digest);
        if self.hashed().contains(digest) {
            return Ok(path);
        }
        let changed = |error: Error| {
            error
                .context(format!("{} of the store was changed", path.display()))
                .help("find out who writes to the store; then delete that file and run kiln fetch")
        };
        check_file(&path).map_err(changed)?;
        let found = Digest::of_file(&path)?;
        if found != *digest {
            return Err(changed(mismatch(digest, &found)));
        }
        self.hashed().insert(*digest);
        Ok(path)
    }

    fn hashed(&self) -> MutexGuard<'_, BTreeSet<Digest>> {
        self.hashed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts or resumes the download of `digest`, waiting while another process writes the same blob.
    /// The caller looks at [`Store::contains`] again afterwards: the other one may have finished it.
    pub fn partial(&self, digest: &Digest) -> Result<Partial> {
        let lock = self.lock(&format!("blob-{}", digest.hex()))?;
        let path = self.root.join("partial").join(digest.hex());
        let file = scratch::open_own(&path)?;
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

    /// The file `name` of `key`, if [`Store::built`] has kept it.
    ///
    /// # Errors
    /// [`ErrorKind::Verification`] if it is not as it was kept.
    pub fn find(&self, key: &Key, name: &str) -> Result<Option<BuiltFile>> {
        let folder = self.folder(key);
        if folder.is_dir() { kept(&folder, name, key).map(Some) } else { Ok(None) }
    }

    /// The file `name` of `key`. If it does not exist, `build` writes it to the path that it is given and
    /// says what it has written. The file gets its final name once it is complete and on the disk. Concurrent
    /// builds of one key wait for each other.
    ///
    /// # Errors
    /// The errors of `build`; [`ErrorKind::Verification`] if the file is not as it was kept.
    pub fn built(
        &self,
        key: &Key,
        name: &str,
        build: impl FnOnce(&Path) -> Result<Content>,
    ) -> Result<BuiltFile> {
        if let Some(file) = self.find(key, name)? {
            return Ok(file);
        }
        let _lock = self.lock(&format!("{}-{}", key.kind, key.digest.hex()))?;
        if let Some(file) = self.find(key, name)? {
            return Ok(file);
        }
        let folder = self.folder(key);
        let parent = self.root.join("built").join(key.kind);
        create_folder(&parent)?;
        let scratch = self.scratch()?;
        let work = scratch.path().join("work");
        create_folder(&work)?;
        let content = build(&work.join(name))?;
        write_record(&work.join(RECORD), &Record { key: Some(key.digest), content })?;
        for file in [name, RECORD].map(|name| work.join(name)) {
            fs::set_permissions(&file, Permissions::from_mode(0o644)).at("changing the mode of", &file)?;
        }
        flush(&work)?;
        fs::rename(&work, &folder).at("renaming", &folder)?;
        sync_folder(&parent)?;
        Ok(BuiltFile { path: folder.join(name), content, cached: false })
    }

    fn folder(&self, key: &Key) -> PathBuf {
        self.root.join("built").join(key.kind).join(key.digest.hex())
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
        self.hashed().insert(*digest);
        sync_folder(&self.root.join("blobs"))
    }

    fn lock(&self, name: &str) -> Result<File> {
        scratch::lock(&self.root.join("locks").join(name))
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

/// Creates a folder, and those above it, that only this user can write, whatever the umask is.
fn create_folder(path: &Path) -> Result<()> {
    DirBuilder::new().recursive(true).mode(0o755).create(path).at("creating", path)
}

/// What is in the store comes into images, so no other user may write there.
fn check_owner(path: &Path, metadata: &Metadata) -> Result<()> {
    let why = if metadata.mode() & 0o002 != 0 {
        "every user can write to it".to_owned()
    } else if ![0, geteuid().as_raw()].contains(&metadata.uid()) {
        format!("it belongs to another user ({})", metadata.uid())
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::Io, format!("{} cannot belong to the store: {why}", path.display()))
        .help("name a folder of your own with --cache-dir, or change owner and mode of this one"))
}

/// The same for a file of the store. A link would lead out of the store, and a pipe or a device has no end. A
/// missing file is left to the reader.
fn check_file(path: &Path) -> Result<()> {
    let Ok(metadata) = path.symlink_metadata() else { return Ok(()) };
    if metadata.is_file() {
        return check_owner(path, &metadata);
    }
    Err(Error::new(ErrorKind::Verification, "it is no regular file"))
}

/// A built file from an earlier build, compared with its record.
fn kept(folder: &Path, name: &str, key: &Key) -> Result<BuiltFile> {
    let (path, record) = (folder.join(name), folder.join(RECORD));
    let changed = |why: String| {
        Error::new(ErrorKind::Verification, format!("{} of the store was changed: {why}", path.display()))
            .help(format!(
                "find out who writes to the store; then delete the folder {} and build again",
                folder.display()
            ))
    };
    for folder in [folder].into_iter().chain(folder.parent()) {
        check_owner(folder, &folder.symlink_metadata().at("reading", folder)?)?;
    }
    for file in [&record, &path] {
        check_file(file).map_err(|error| changed(error.message().to_owned()))?;
    }
    let Record { key: kept_for, content } = fs::read(&record)
        .map_err(|error| changed(format!("{RECORD} cannot be read: {error}")))
        .and_then(|json| {
            serde_json::from_slice(&json).map_err(|error| changed(format!("{RECORD}: {error}")))
        })?;
    if kept_for.is_some_and(|kept_for| kept_for != key.digest) {
        return Err(changed(format!("{RECORD} is that of another part")));
    }
    let found = Content::of_file(&path)?;
    if found.size != content.size {
        return Err(changed(format!("it has {} bytes instead of {}", found.size, content.size)));
    }
    if found.sha256 != content.sha256 {
        return Err(changed(mismatch(&content.sha256, &found.sha256).message().to_owned()));
    }
    Ok(BuiltFile { path, content, cached: true })
}

fn write_record(path: &Path, record: &Record) -> Result<()> {
    let json = serde_json::to_vec(record)
        .map_err(|error| Error::new(ErrorKind::Internal, format!("writing {RECORD}: {error}")))?;
    fs::write(path, json).at("writing", path)
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

    fn key() -> Key {
        Key::new("layer", 1, &"key", &[]).unwrap()
    }

    fn keep(store: &Store, bytes: &[u8]) -> Result<BuiltFile> {
        store.built(&key(), "file", |path| {
            fs::write(path, bytes).at("writing", path)?;
            Content::of_file(path)
        })
    }

    #[test]
    fn a_failed_build_leaves_nothing_and_can_be_repeated() {
        let (_folder, store) = store();
        let failed = store.built(&key(), "file", |path| {
            fs::write(path, b"half").unwrap();
            Err(Error::new(ErrorKind::Internal, "stopped"))
        });
        assert!(failed.is_err() && store.find(&key(), "file").unwrap().is_none());
        let built = keep(&store, b"whole").unwrap();
        assert!(!built.cached && fs::read(&built.path).unwrap() == b"whole");
        assert!(keep(&store, b"never written").unwrap().cached);
    }

    #[test]
    fn a_store_that_others_can_write_is_refused() {
        use std::os::unix::fs::chown;
        let (folder, _) = store();
        for name in ["", "blobs", "built"] {
            let path = folder.path().join(name);
            let before = fs::metadata(&path).unwrap().permissions();
            fs::set_permissions(&path, Permissions::from_mode(0o777)).unwrap();
            let error = Store::open(folder.path()).unwrap_err();
            assert!(error.message().contains("every user can write to it"), "{error}");
            fs::set_permissions(&path, before).unwrap();
        }
        Store::open(folder.path()).unwrap();
        if !geteuid().is_root() {
            return testkit::not_run(
                "a_store_of_another_user_is_refused",
                "only root can give a folder away",
            );
        }
        chown(folder.path().join("built"), Some(12_345), None).unwrap();
        let error = Store::open(folder.path()).unwrap_err();
        assert!(error.message().contains("it belongs to another user (12345)"), "{error}");
    }

    #[test]
    fn links_in_place_of_locks_and_downloads_lead_nowhere() {
        let (folder, store) = store();
        let (digest, victim) = (Digest::of(b"promised"), folder.path().join("victim"));
        fs::write(&victim, "of another program").unwrap();
        for place in [format!("locks/blob-{}", digest.hex()), format!("partial/{}", digest.hex())] {
            let link = folder.path().join(place);
            std::os::unix::fs::symlink(&victim, &link).unwrap();
            assert!(store.partial(&digest).unwrap_err().message().contains("is a symbolic link"));
            fs::remove_file(link).unwrap();
        }
        assert_eq!(fs::read_to_string(victim).unwrap(), "of another program");
    }

    /// The bytes of another file, of the same length, under the name of the promised ones.
    #[test]
    fn a_blob_under_the_name_of_another_is_refused() {
        let (folder, store) = store();
        let (digest, _) = store.insert(&mut &b"good bytes"[..], None).unwrap();
        let path = store.verified(&digest).unwrap();
        let permissions = fs::metadata(&path).unwrap().permissions();
        fs::remove_file(&path).unwrap();
        fs::write(&path, b"EVIL BYTES").unwrap();
        fs::set_permissions(&path, permissions).unwrap();
        let later = Store::open(folder.path()).unwrap();
        assert!(later.contains(&digest));
        let error = later.verified(&digest).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Verification);
        assert!(error.message().contains(&path.display().to_string()), "{error}");
        assert!(error.hint().unwrap().contains("delete that file and run kiln fetch"), "{error}");
    }

    /// A link, a pipe and a folder under the name of the promised bytes, and a file that others can change.
    #[test]
    fn what_stands_in_the_place_of_a_file_is_refused_at_once() {
        use std::os::unix::fs::symlink;
        type Maker = fn(&Path);
        let makers: [(&str, Maker); 5] = [
            ("is no regular file", |path| symlink("/dev/zero", path).unwrap()),
            ("is no regular file", |path| symlink("same-bytes", path).unwrap()),
            ("is no regular file", |path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap()),
            ("is no regular file", |path| fs::create_dir(path).unwrap()),
            ("every user can write to it", |path| {
                fs::write(path, b"good bytes").unwrap();
                fs::set_permissions(path, Permissions::from_mode(0o666)).unwrap();
            }),
        ];
        for (why, make) in makers {
            let (folder, store) = store();
            let (digest, _) = store.insert(&mut &b"good bytes"[..], None).unwrap();
            let blob = store.blob(&digest);
            fs::rename(&blob, blob.with_file_name("same-bytes")).unwrap();
            make(&blob);
            let later = Store::open(folder.path()).unwrap();
            let error = later.verified(&digest).unwrap_err();
            assert!(later.contains(&digest) && error.message().contains(why), "{error}");
            let built = keep(&store, b"good bytes").unwrap().path;
            for name in ["file", RECORD] {
                let place = built.with_file_name(name);
                fs::rename(&place, place.with_file_name("same-bytes")).unwrap();
                make(&place);
                let error = keep(&store, b"").unwrap_err();
                assert!(error.message().contains(why), "{name}: {error}");
                let _ = fs::remove_file(&place).or_else(|_| fs::remove_dir(&place));
                fs::rename(place.with_file_name("same-bytes"), place).unwrap();
            }
        }
    }

    /// As programs make files where the umask is 0, which some build services set.
    #[test]
    fn a_part_that_all_could_write_is_kept_for_this_user_alone() {
        let (_folder, store) = store();
        let build = |path: &Path| {
            fs::write(path, b"good bytes").at("writing", path)?;
            fs::set_permissions(path, Permissions::from_mode(0o666)).at("changing the mode of", path)?;
            Content::of_file(path)
        };
        store.built(&key(), "file", build).unwrap();
        assert!(keep(&store, b"").unwrap().cached);
    }

    #[test]
    fn a_part_under_the_name_of_another_is_refused() {
        let (_folder, store) = store();
        let other = Key::new("layer", 1, &"other", &[]).unwrap();
        let build = |path: &Path| {
            fs::write(path, b"other bytes").at("writing", path)?;
            Content::of_file(path)
        };
        let (one, two) = (keep(&store, b"good bytes").unwrap(), store.built(&other, "file", build).unwrap());
        let (one, two) = (one.path.parent().unwrap().to_owned(), two.path.parent().unwrap().to_owned());
        fs::remove_dir_all(&one).unwrap();
        fs::rename(&two, &one).unwrap();
        let error = keep(&store, b"").unwrap_err();
        assert!(error.message().contains("record.json is that of another part"), "{error}");
    }

    #[test]
    fn a_built_file_is_compared_with_its_record() {
        let (_folder, store) = store();
        let built = keep(&store, b"good bytes").unwrap();
        for (name, bytes, why) in [
            ("file", &b"EVIL BYTES"[..], "wrong content"),
            ("file", b"longer than the good bytes", "26 bytes instead of 10"),
            (RECORD, b"no JSON", "record.json: "),
        ] {
            let path = built.path.with_file_name(name);
            let before = fs::read(&path).unwrap();
            fs::write(&path, bytes).unwrap();
            let error = keep(&store, b"").unwrap_err();
            assert!(error.kind() == ErrorKind::Verification && error.message().contains(why), "{error}");
            assert!(error.message().contains(&built.path.display().to_string()), "{error}");
            fs::write(&path, before).unwrap();
        }
        fs::remove_file(built.path.with_file_name(RECORD)).unwrap();
        assert!(store.find(&key(), "file").unwrap_err().message().contains("record.json cannot be read"));
    }
}
