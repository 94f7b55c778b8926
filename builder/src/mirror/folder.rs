//! The folder of a mirror: what is in it, and who writes to it.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::INDEX;
use crate::digest::{Digest, DigestWriter};
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::scratch::{self, Scratch};
use crate::store::{Content, mismatch};

/// The lock of the process that writes. Its presence says that all of the folder is a mirror's.
const WRITER: &str = ".kiln-mirror-lock";

/// Something in the folder that is no folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    /// A regular file of this length.
    File(u64),
    /// A link, a pipe or a device.
    Other,
}

/// A folder that one process writes.
pub(super) struct Folder<'a> {
    pub path: &'a Path,
    scratch: Scratch,
    _lock: File,
}

impl<'a> Folder<'a> {
    /// Creates the folder, or takes it over if it is a mirror; waits for another process that writes there.
    pub fn open(path: &'a Path) -> Result<Self> {
        fs::create_dir_all(path).at("creating", path)?;
        let is_ours = [WRITER, INDEX].iter().any(|name| path.join(name).symlink_metadata().is_ok());
        let is_empty = fs::read_dir(path).at("reading", path)?.next().is_none();
        if !is_ours && !is_empty {
            let message = format!("{} has files that are of no mirror", path.display());
            return Err(Error::new(ErrorKind::Usage, message).help(
                "name an empty folder: kiln mirror create removes what does not belong to the mirror",
            ));
        }
        let lock = scratch::lock(&path.join(WRITER))?;
        scratch::sweep(path)?;
        Ok(Self { path, scratch: Scratch::new(path)?, _lock: lock })
    }

    /// What is in the folder, but for the index and files of this process.
    pub fn entries(&self) -> Result<BTreeMap<String, Entry>> {
        let mut entries = entries(self.path)?;
        let own = self.scratch.path().file_name().and_then(|name| name.to_str()).unwrap_or_default();
        entries.retain(|path, _| !path.starts_with(own));
        Ok(entries)
    }

    /// A private folder on the same file system.
    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// Copies the file `from`, whose digest this must be, to `path` below the folder.
    pub fn copy(&self, from: &Path, digest: &Digest, path: &str) -> Result<Content> {
        let work = self.scratch.path().join("copy");
        let mut source = File::open(from).at("opening", from)?;
        let mut writer = DigestWriter::new(File::create(&work).at("creating", &work)?);
        std::io::copy(&mut source, &mut writer).at("writing", &work)?;
        let (file, found, size) = writer.finish();
        if found != *digest {
            return Err(mismatch(digest, &found).context(from.display()));
        }
        self.place(&work, &file, path)?;
        Ok(Content { sha256: found, size })
    }

    /// Writes a file at `path` below the folder.
    pub fn write(&self, bytes: &[u8], path: &str) -> Result<()> {
        let work = self.scratch.path().join("copy");
        fs::write(&work, bytes).at("writing", &work)?;
        self.place(&work, &File::open(&work).at("opening", &work)?, path)
    }

    /// Gives a complete file its name.
    fn place(&self, work: &Path, file: &File, path: &str) -> Result<()> {
        let to = self.path.join(path);
        file.set_permissions(Permissions::from_mode(0o644)).at("changing the mode of", work)?;
        file.sync_all().at("flushing", work)?;
        let parent = to.parent().unwrap_or(self.path);
        fs::create_dir_all(parent).at("creating", parent)?;
        fs::rename(work, &to).at("renaming to", &to)?;
        sync(parent)
    }

    /// Removes what is at `path`, and the folders that become empty.
    pub fn remove(&self, path: &str) -> Result<()> {
        let path = self.path.join(path);
        fs::remove_file(&path).at("removing", &path)?;
        let mut folders = path.ancestors().skip(1).take_while(|folder| *folder != self.path);
        // A folder that is not empty stays, and those above it.
        while folders.next().is_some_and(|folder| fs::remove_dir(folder).is_ok()) {}
        Ok(())
    }
}

/// Every file below `folder`, without following a link, but for the index and the lock of a writer.
///
/// # Errors
/// [`ErrorKind::Io`]; [`ErrorKind::Verification`] for a name that is no text.
pub(super) fn entries(folder: &Path) -> Result<BTreeMap<String, Entry>> {
    let mut found = BTreeMap::new();
    let mut left = vec![String::new()];
    while let Some(below) = left.pop() {
        let path = folder.join(&below);
        for entry in fs::read_dir(&path).at("reading", &path)? {
            let entry = entry.at("reading", &path)?;
            let name = entry.file_name().into_string().map_err(|name| {
                let shown = path.join(name);
                Error::new(ErrorKind::Verification, format!("the name of {} is no text", shown.display()))
                    .help("remove it: a mirror has no such file")
            })?;
            let name = if below.is_empty() { name } else { format!("{below}/{name}") };
            let metadata = entry.metadata().at("reading", entry.path())?;
            if metadata.is_dir() {
                left.push(name);
            } else if ![INDEX, WRITER].contains(&name.as_str()) {
                let entry = if metadata.is_file() { Entry::File(metadata.len()) } else { Entry::Other };
                found.insert(name, entry);
            }
        }
    }
    Ok(found)
}

/// Returns when the names in a folder are on the disk.
pub(super) fn sync(folder: &Path) -> Result<()> {
    File::open(folder).and_then(|folder| folder.sync_all()).at("flushing", folder)
}
