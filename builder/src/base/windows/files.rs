//! The files of an image of Windows, wherever they are: in a WIM, or on the NTFS volume of a disk.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use indicatif::DecimalBytes;

use super::{By, HEAD, Spellings, choose, disk, hives};
use crate::definition::windows::names::folded;
use crate::disk_space;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::format::hive::Hive;
use crate::format::ntfs;
use crate::format::wim::{self, Wim};
use crate::format::wim_list::{Entry, Kind, Names, is_stream};
use crate::image_source::first_bytes;

/// The files of an image.
#[derive(Debug)]
pub struct Files {
    title: String,
    place: Place,
    /// A folder for what is read of them.
    spool: PathBuf,
    /// All paths as they are, `\` between their parts, by the form in which paths are compared.
    paths: BTreeMap<String, String>,
    spellings: Spellings,
    /// How many lines the list of paths has.
    count: usize,
}

#[derive(Debug)]
enum Place {
    /// An image of a WIM, by its number.
    Wim(PathBuf, u32),
    /// A volume in a plain file.
    Volume(PathBuf),
}

/// Whether the file at `path` may hold an image of Windows: whether it is a WIM or a disk.
///
/// # Errors
/// [`ErrorKind::Io`] if it cannot be read.
pub fn may_be_windows(path: &Path) -> Result<bool> {
    let head = first_bytes(path, HEAD)?;
    Ok(wim::is_wim(&head) || disk::may_be(&head))
}

impl Files {
    /// Those of the image at `path`, if it is one; of several in a WIM that which `edition` means. `spool` is
    /// a folder that must outlive them.
    ///
    /// # Errors
    /// [`ErrorKind::Archive`] if it is broken; [`ErrorKind::Usage`] if it holds several and none is meant.
    pub fn open(path: &Path, title: &str, edition: Option<&str>, spool: &Path) -> Result<Option<Self>> {
        let (place, list) = if wim::is_wim(&first_bytes(path, HEAD)?) {
            let file = Wim { path, title };
            let index = match file.images(spool)?.as_slice() {
                [one] => one.index,
                images => choose(images, edition, By::CommandLine, title)?.index,
            };
            (Place::Wim(path.to_owned(), index), file.paths(index)?)
        } else {
            let Some(volume) = disk::volume(path, title, spool)? else { return Ok(None) };
            let list = ntfs::paths(&volume)?;
            (Place::Volume(volume), list)
        };
        let count = list.len();
        let spellings = Spellings::of(list.iter().map(String::as_str));
        let paths = list.into_iter().map(|path| path.trim_start_matches('\\').to_owned());
        let paths = paths.map(|path| (folded(&path), path)).collect();
        Ok(Some(Self { title: title.to_owned(), place, spool: spool.to_owned(), paths, spellings, count }))
    }

    /// How many files and folders there are.
    pub fn count(&self) -> usize {
        self.paths.len()
    }

    /// Whether there is such a file or folder.
    pub fn has(&self, path: &str) -> bool {
        self.paths.contains_key(&folded(path))
    }

    /// Whether there is something below a folder.
    pub fn has_below(&self, path: &str) -> bool {
        let prefix = format!("{}\\", folded(path));
        self.paths
            .range(prefix.clone()..)
            .next()
            .is_some_and(|(path, _)| path.starts_with(&prefix))
    }

    /// The content of a file, if it is there.
    ///
    /// # Errors
    /// [`ErrorKind::Archive`] if it is broken, or there in two spellings.
    pub fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        self.spellings.check(&self.title, path)?;
        let Some(path) = self.paths.get(&folded(path)) else { return Ok(None) };
        match &self.place {
            Place::Volume(volume) => ntfs::read(volume, path).map(Some),
            Place::Wim(file, index) => Wim { path: file, title: &self.title }.read(*index, path, &self.spool),
        }
    }

    /// All of them, with digests of their contents: of a WIM those that it has, of a volume those of all that
    /// is read on it.
    ///
    /// # Errors
    /// [`ErrorKind::Archive`] if it is broken; [`ErrorKind::Io`] if the spool has no room for a volume.
    pub fn list(&self) -> Result<Vec<Entry>> {
        match &self.place {
            Place::Wim(file, index) => {
                let wim = Wim { path: file, title: &self.title };
                let entries = wim.list(*index)?;
                // Both lists are text: a name with a line end can forge lines of one, but not as many of
                // the other.
                let count = entries.iter().filter(|entry| !is_stream(&entry.path)).count();
                if count == self.count { Ok(entries) } else { Err(wim.torn()) }
            }
            Place::Volume(volume) => {
                self.check_room()?;
                let path = self.spool.join("all.wim");
                let wim = Wim { path: &path, title: &self.title };
                wim.capture_all(volume, &self.spool)?;
                let entries = wim.list(1)?;
                fs::remove_file(&path).at("removing", &path)?;
                Ok(entries)
            }
        }
    }

    /// A small volume can have files of any length, if these are holes.
    fn check_room(&self) -> Result<()> {
        let size = self.sizes()?.iter().fold(0_u64, |sum, (_, size)| sum.saturating_add(*size));
        match disk_space::free(&self.spool).filter(|free| size > *free) {
            None => Ok(()),
            Some(free) => {
                let (size, free) = (DecimalBytes(size), DecimalBytes(free));
                let message = format!(
                    "{} has files of {size}, and {} has room for {free}",
                    self.title,
                    self.spool.display()
                );
                Err(Error::new(ErrorKind::Io, message).help("name a folder with more room in TMPDIR"))
            }
        }
    }

    /// Paths and sizes of the files; one with several names has its size at the first alone.
    ///
    /// # Errors
    /// [`ErrorKind::Archive`] if it is broken.
    pub fn sizes(&self) -> Result<Vec<(String, u64)>> {
        let mut files: Vec<(String, u64, u64)> = match &self.place {
            Place::Volume(volume) => ntfs::sizes(volume)?,
            Place::Wim(file, index) => {
                let entries = Wim { path: file, title: &self.title }.list(*index)?;
                let files = entries.into_iter().filter(|entry| entry.kind == Kind::File);
                files.map(|entry| (entry.path, entry.size, entry.link_group)).collect()
            }
        };
        files.sort();
        let mut names = Names::default();
        files.retain(|(path, _, link)| names.is_first(path, *link));
        Ok(files.into_iter().map(|(path, size, _)| (path, size)).collect())
    }

    /// A hive of the registry.
    ///
    /// # Errors
    /// [`ErrorKind::Archive`] if it is missing or broken, or its changes are not in its log files.
    pub fn hive(&self, name: &str) -> Result<Hive> {
        hives::hive(name, &self.title, |path| self.read(path), 0)
    }

    /// Files without content.
    #[cfg(test)]
    pub fn named(paths: &[&str]) -> Self {
        let paths = paths.iter().map(|path| (folded(path), (*path).to_owned())).collect();
        let (place, spool) = (Place::Volume(PathBuf::new()), PathBuf::new());
        Self { title: String::new(), place, spool, paths, spellings: Spellings::default(), count: 0 }
    }
}
