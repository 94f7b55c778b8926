//! The files of an image of Windows, wherever they are: in a WIM, or on the NTFS volume of a disk.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{HEAD, disk, hives};
use crate::definition::windows::names::folded;
use crate::error::{Error, ErrorKind, Result};
use crate::format::hive::Hive;
use crate::format::ntfs;
use crate::format::wim::{self, Wim};
use crate::image_source::first_bytes;

/// The files of an image.
#[derive(Debug)]
pub struct Files {
    title: String,
    place: Place,
    /// All paths as they are, `\` between their parts, by the form in which paths are compared.
    paths: BTreeMap<String, String>,
}

#[derive(Debug)]
enum Place {
    /// The only image of a WIM, and a folder for what is read of it.
    Wim(PathBuf, PathBuf),
    /// A volume in a plain file.
    Volume(PathBuf),
}

impl Files {
    /// Those of the image at `path`, if it is one. `spool` is a folder that must outlive them.
    ///
    /// # Errors
    /// [`ErrorKind::Archive`] if it is broken.
    pub fn open(path: &Path, title: &str, spool: &Path) -> Result<Option<Self>> {
        let (place, list) = if wim::is_wim(&first_bytes(path, HEAD)?) {
            let file = Wim { path, title };
            if file.images(spool)?.len() != 1 {
                let message = format!("{title} holds more than one image");
                return Err(Error::new(ErrorKind::Usage, message)
                    .help("take one out of it: wimlib-imagex export FILE NUMBER OTHER"));
            }
            (Place::Wim(path.to_owned(), spool.to_owned()), file.paths(1)?)
        } else {
            let Some(volume) = disk::volume(path, title, spool)? else { return Ok(None) };
            let list = ntfs::paths(&volume)?;
            (Place::Volume(volume), list)
        };
        let paths = list.into_iter().map(|path| path.trim_start_matches('\\').to_owned());
        let paths = paths.map(|path| (folded(&path), path)).collect();
        Ok(Some(Self { title: title.to_owned(), place, paths }))
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
    /// [`ErrorKind::Archive`] if it is broken.
    pub fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        let Some(path) = self.paths.get(&folded(path)) else { return Ok(None) };
        match &self.place {
            Place::Volume(volume) => ntfs::read(volume, path).map(Some),
            Place::Wim(file, spool) => Wim { path: file, title: &self.title }.read(1, path, spool),
        }
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
        Self { title: String::new(), place: Place::Volume(PathBuf::new()), paths }
    }
}
