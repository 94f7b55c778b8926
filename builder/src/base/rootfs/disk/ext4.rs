//! Reads an ext4 file system as a tree, by `ext4-view`: Google's read-only library without unsafe code, which
//! verifies checksums. It reads no extended attributes; [`super::attributes`] does.
//!
//! A file system with a journal to replay is refused: vendors do not ship one, and debugfs would read it as
//! it was before.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use ext4_view::{Ext4, Ext4Error, Ext4Read, FileType};

use super::{Place, Source, attributes};
use crate::archive::{self, path};
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::tree::overlay::WHITEOUT;
use crate::tree::{Body, Entry, Tree, TreePath};

/// Bytes copied at once.
const BUFFER: usize = 1 << 20;

/// The feature that says that the journal must be replayed, in `s_feature_incompat` of the superblock.
const RECOVER: u32 = 4;
const FEATURES_AT: u64 = 1024 + 0x60;

/// A file system on a disk.
pub(super) struct Volume<'a> {
    pub(super) place: Place,
    path: &'a Path,
    source: &'a Source<'a>,
    fs: Ext4,
}

impl<'a> Volume<'a> {
    /// Opens the file system at `place` of the disk `path`.
    pub(super) fn open(path: &'a Path, place: Place, source: &'a Source<'a>) -> Result<Self> {
        let fail = |why: &str| failed(source.title, place, why);
        let mut disk = Window { file: File::open(path).at("opening", path)?, place };
        let mut features = [0; 4];
        disk.read(FEATURES_AT, &mut features).map_err(|error| fail(&error.to_string()))?;
        if u32::from_le_bytes(features) & RECOVER != 0 {
            return Err(fail("it was not unmounted, so its journal must be replayed")
                .help("run e2fsck -p on the partition, or take an image of a machine that was shut down"));
        }
        let fs = Ext4::load(Box::new(disk)).map_err(|error| fail(&error.to_string()))?;
        Ok(Self { place, path, source, fs })
    }

    /// Whether the root folder has an entry of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.names().iter().any(|other| other == name)
    }

    /// The names in the root folder.
    pub(super) fn names(&self) -> Vec<String> {
        let entries = self.fs.read_dir("/").into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().as_str().ok().map(str::to_owned)).collect()
    }

    /// Everything in it, without what belongs to a running system. Bodies are in a new file.
    pub(super) fn tree(&self) -> Result<Tree> {
        self.tree_with(None)
    }

    /// The same of a file system with upper sides of overlays below the folder `overlays`. A character device
    /// there says that a file is not there; in the tree an attribute does.
    pub(super) fn tree_with(&self, overlays: Option<&str>) -> Result<Tree> {
        let spool = self.source.spool.join(format!("partition-{}", self.place.number));
        let mut walk = Walk {
            volume: self,
            overlays,
            to: BufWriter::with_capacity(BUFFER, File::create(&spool).at("creating", &spool)?),
            spool: Arc::from(spool.as_path()),
            written: 0,
            entries: BTreeMap::new(),
        };
        walk.run()?;
        walk.to.flush().at("writing", &spool)?;
        let mut tree = Tree { entries: walk.entries };
        attributes::add(&mut tree, self.path, self.place.offset, overlays)
            .map_err(|error| error.context(self.source.title))?;
        Ok(tree)
    }
}

struct Walk<'a> {
    volume: &'a Volume<'a>,
    overlays: Option<&'a str>,
    to: BufWriter<File>,
    spool: Arc<Path>,
    written: u64,
    entries: BTreeMap<TreePath, Entry>,
}

impl Walk<'_> {
    fn run(&mut self) -> Result<()> {
        let mut folders = vec![TreePath::new()];
        while let Some(folder) = folders.pop() {
            let from = format!("/{folder}");
            let entries = self.volume.fs.read_dir(&from).map_err(|error| self.broken(&folder, &error))?;
            for entry in entries {
                let entry = entry.map_err(|error| self.broken(&folder, &error))?;
                let name = entry.file_name();
                if matches!(name.as_ref(), b"." | b"..") {
                    continue;
                }
                let raw = [folder.as_bytes(), b"/", name.as_ref()].concat();
                let path = path::clean(raw.strip_prefix(b"/").unwrap_or(&raw))
                    .map_err(|why| self.refuse(&name.display().to_string(), &why))?;
                if archive::is_of_a_running_system(&path) {
                    continue;
                }
                if self.entries.len() == archive::ENTRIES {
                    return Err(self.refuse(&path, "there are too many files"));
                }
                let metadata = entry.metadata().map_err(|error| self.broken(&path, &error))?;
                let made = match metadata.file_type() {
                    FileType::Directory => {
                        folders.push(path.clone());
                        Entry::directory(0)
                    }
                    FileType::Regular => Entry::file(self.body(&path, metadata.len())?, 0),
                    FileType::Symlink => self.link(&path)?,
                    FileType::CharacterDevice if self.is_of_overlay(&path) => whiteout(),
                    FileType::CharacterDevice | FileType::BlockDevice => {
                        return Err(self.refuse(&path, "it is a device node"));
                    }
                    FileType::Fifo => return Err(self.refuse(&path, "it is a named pipe")),
                    FileType::Socket => return Err(self.refuse(&path, "it is a socket")),
                };
                let mode = if metadata.is_symlink() { made.mode } else { u32::from(metadata.mode()) };
                let made = Entry { mode, uid: metadata.uid(), gid: metadata.gid(), ..made };
                if self.entries.insert(path.clone(), made).is_some() {
                    return Err(self.refuse(&path, "it is there twice"));
                }
            }
        }
        Ok(())
    }

    fn is_of_overlay(&self, path: &str) -> bool {
        self.overlays.is_some_and(|folder| path.starts_with(folder))
    }

    fn link(&self, path: &str) -> Result<Entry> {
        let target =
            self.volume.fs.read_link(&format!("/{path}")).map_err(|error| self.broken(path, &error))?;
        path::target(target.as_ref()).map(Entry::symlink).map_err(|why| self.refuse(path, &why))
    }

    /// Copies a file into the spool.
    fn body(&mut self, path: &str, len: u64) -> Result<Body> {
        if self.written.saturating_add(len) > archive::UNPACKED_BYTES {
            return Err(
                self.refuse(path, &format!("the files have more than {} bytes", archive::UNPACKED_BYTES))
            );
        }
        let mut file = self.volume.fs.open(&format!("/{path}")).map_err(|error| self.broken(path, &error))?;
        let mut buffer = vec![0; BUFFER.min(usize::try_from(len).unwrap_or(BUFFER))];
        let offset = self.written;
        loop {
            let count = file.read(&mut buffer).map_err(|error| self.refuse(path, &error.to_string()))?;
            if count == 0 {
                break;
            }
            self.to.write_all(&buffer[..count]).at("writing", &*self.spool)?;
            self.written += count as u64;
        }
        if self.written - offset != len {
            return Err(self.refuse(path, "it is shorter than the file system says"));
        }
        Ok(Body::Slice { file: Arc::clone(&self.spool), offset, len })
    }

    fn broken(&self, path: &str, error: &Ext4Error) -> Error {
        self.refuse(path, &error.to_string())
    }

    fn refuse(&self, path: &str, why: &str) -> Error {
        let volume = self.volume;
        failed(volume.source.title, volume.place, &format!("\"{}\": {why}", path.escape_debug()))
    }
}

/// What says in an upper side that a file is not there.
fn whiteout() -> Entry {
    let mut entry = Entry::file(Body::inline([]), 0);
    entry.xattrs.insert(format!("trusted.{WHITEOUT}"), b"y".to_vec());
    entry
}

fn failed(title: &str, place: Place, why: &str) -> Error {
    let which = if place.number == 0 { String::new() } else { format!(" of partition {}", place.number) };
    Error::new(ErrorKind::Archive, format!("{title}: the file system{which} cannot be read: {why}"))
        .help("nothing of it was used; check where the image comes from, or make a tar archive of the system")
}

/// A part of a disk.
struct Window {
    file: File,
    place: Place,
}

impl Ext4Read for Window {
    fn read(&mut self, start: u64, to: &mut [u8]) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let end = start.checked_add(to.len() as u64);
        if end.is_none_or(|end| end > self.place.length) {
            return Err("it is larger than its partition".into());
        }
        Ok(self.file.read_exact_at(to, self.place.offset + start)?)
    }
}
