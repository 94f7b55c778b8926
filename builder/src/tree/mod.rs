//! 5. The file tree of an image: paths and metadata in memory, contents in files on disk.
//!
//! Memory grows with the number of files (about 200 bytes each), never with their size.

pub mod contents;
pub mod merge;
pub mod near;
pub(crate) mod overlay;
pub mod units;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

/// A path inside an image: relative, `/` between components, no `.` or `..`, never empty.
/// The order of entries is the byte order of these strings.
pub type TreePath = String;

/// The largest os-release that is read, in bytes.
const OS_RELEASE: u64 = 64 << 10;

/// A sorted file tree. The root folder itself is implied (0755, owner 0:0).
#[derive(Debug, Clone, Default)]
pub struct Tree {
    /// All entries. A layer's tree contains only what the layer declares; [`Tree::complete`] adds the parent
    /// folders.
    pub entries: BTreeMap<TreePath, Entry>,
}

/// A file, folder or link with its metadata. It has no time, because everything gets the build's epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The kind of entry, with its content.
    pub node: Node,
    /// Permission bits with setuid, setgid and sticky: 0 to 0o7777. 0o777 for links.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Extended attributes by full name ("security.capability").
    pub xattrs: BTreeMap<String, Vec<u8>>,
}

/// The kinds of entries. Hard links are read as separate files; an image contains no devices, sockets or
/// pipes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A folder.
    Directory,
    /// A regular file.
    File(Body),
    /// A symbolic link with its target as written.
    Symlink(String),
}

/// The content of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Small content in memory.
    Inline(Arc<[u8]>),
    /// `len` bytes from `offset` of a file that stays unchanged while the tree lives (a layer's tar, a blob
    /// of the store).
    Slice {
        /// The file.
        file: Arc<Path>,
        /// First byte.
        offset: u64,
        /// Number of bytes.
        len: u64,
    },
}

impl Body {
    /// Content from memory.
    pub fn inline(bytes: impl Into<Arc<[u8]>>) -> Self {
        Self::Inline(bytes.into())
    }

    /// The content of a whole file, which stays unchanged while the tree lives.
    ///
    /// # Errors
    /// If its length cannot be read.
    pub fn whole(path: &Path) -> io::Result<Self> {
        Ok(Self::Slice { file: Arc::from(path), offset: 0, len: path.metadata()?.len() })
    }

    /// So many bytes of it from `start`, or as many as there are.
    pub(crate) fn part(&self, start: u64, count: u64) -> Self {
        let start = start.min(self.len());
        let count = count.min(self.len() - start);
        match self {
            // Both are less than the length of a slice.
            Self::Inline(bytes) => Self::inline(&bytes[start as usize..(start + count) as usize]),
            Self::Slice { file, offset, .. } => {
                Self::Slice { file: Arc::clone(file), offset: offset + start, len: count }
            }
        }
    }

    /// Length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::Inline(bytes) => bytes.len() as u64,
            Self::Slice { len, .. } => *len,
        }
    }

    /// Whether the content has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Opens the content.
    pub fn open(&self) -> io::Result<Box<dyn Read + Send>> {
        Ok(match self {
            Self::Inline(bytes) => Box::new(Cursor::new(Arc::clone(bytes))),
            Self::Slice { file, offset, len } => {
                let mut file = File::open(file)?;
                file.seek(SeekFrom::Start(*offset))?;
                Box::new(file.take(*len))
            }
        })
    }

    /// Reads the whole content. For small files: configuration, kernel modules.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.open()?.read_to_end(&mut bytes)?;
        if bytes.len() as u64 == self.len() { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

impl Entry {
    /// A folder owned by root.
    pub fn directory(mode: u32) -> Self {
        Self::new(Node::Directory, mode)
    }

    /// A file owned by root.
    pub fn file(body: Body, mode: u32) -> Self {
        Self::new(Node::File(body), mode)
    }

    /// A symbolic link owned by root.
    pub fn symlink(target: impl Into<String>) -> Self {
        Self::new(Node::Symlink(target.into()), 0o777)
    }

    fn new(node: Node, mode: u32) -> Self {
        Self { node, mode, uid: 0, gid: 0, xattrs: BTreeMap::new() }
    }
}

impl Tree {
    /// Adds an entry without its parents. Returns the previous entry.
    pub fn insert(&mut self, path: impl Into<TreePath>, entry: Entry) -> Option<Entry> {
        self.entries.insert(path.into(), entry)
    }

    /// Adds the parent folders that are missing (0755, owner 0:0).
    pub fn complete(&mut self) {
        let parents: Vec<TreePath> = self
            .entries
            .keys()
            .flat_map(|path| path.match_indices('/').map(|(slash, _)| path[..slash].to_owned()))
            .collect();
        for parent in parents {
            self.entries.entry(parent).or_insert_with(|| Entry::directory(0o755));
        }
    }

    /// The entry at `path`, as written: links are not followed.
    pub fn get(&self, path: &str) -> Option<&Entry> {
        self.entries.get(path)
    }

    /// The content of the regular file at `path`; links are not followed.
    pub fn file(&self, path: &str) -> Option<&Body> {
        match &self.get(path)?.node {
            Node::File(body) => Some(body),
            _ => None,
        }
    }

    /// The value of a key in the operating system's os-release(5).
    pub fn os_release(&self, key: &str) -> Option<String> {
        let body = ["usr/lib/os-release", "etc/os-release"].iter().find_map(|path| self.file(path))?;
        let bytes = Some(body).filter(|body| body.len() <= OS_RELEASE)?.read().ok()?;
        let text = String::from_utf8_lossy(&bytes);
        let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
        Some(value.trim_matches(['"', '\'']).to_owned())
    }

    /// Removes an entry and everything below it.
    pub fn remove(&mut self, path: &str) {
        self.remove_below(path);
        self.entries.remove(path);
    }

    /// Removes everything below an entry.
    pub fn remove_below(&mut self, path: &str) {
        let below: Vec<TreePath> = self.below(path).map(|(path, _)| path.clone()).collect();
        for path in below {
            self.entries.remove(&path);
        }
    }

    /// Everything below the folder `path`, in order, without the folder itself.
    pub fn below<'a>(&'a self, path: &str) -> impl Iterator<Item = (&'a TreePath, &'a Entry)> + use<'a> {
        let prefix = format!("{path}/");
        self.entries
            .range(prefix.clone()..)
            .take_while(move |(name, _)| name.starts_with(&prefix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complete_makes_parents_and_remove_takes_children() {
        let mut tree = Tree::default();
        tree.insert("usr/bin/runc", Entry::file(Body::inline(*b"x"), 0o755));
        tree.insert("usr/bin-other", Entry::symlink("bin"));
        tree.complete();
        assert_eq!(
            tree.entries.keys().collect::<Vec<_>>(),
            ["usr", "usr/bin", "usr/bin-other", "usr/bin/runc"]
        );
        assert_eq!(tree.below("usr/bin").count(), 1);
        tree.remove("usr/bin");
        assert_eq!(tree.entries.keys().collect::<Vec<_>>(), ["usr", "usr/bin-other"]);
    }
}
