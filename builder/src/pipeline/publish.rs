//! Outputs appear under their final names only when all of them are complete.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::thread;

use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::provenance::MANIFEST;
use crate::scratch::{self, Scratch};
use crate::store::flush;

/// An output folder that one build writes at a time.
///
/// The manifest is removed before the first file is replaced and appears last, so a folder with a manifest is
/// a complete build.
#[derive(Debug)]
pub struct Publication {
    output_dir: PathBuf,
    scratch: Scratch,
    folder: PathBuf,
    _lock: File,
}

impl Publication {
    /// Creates `output_dir`, waits for another build that writes there, and removes the scratch folder of a
    /// killed one.
    pub fn begin(output_dir: &Path) -> Result<Self> {
        fs::create_dir_all(output_dir).at("creating", output_dir)?;
        let lock = scratch::lock(&output_dir.join(".kiln-output-lock"))?;
        scratch::sweep(output_dir)?;
        let scratch = Scratch::new(output_dir)?;
        let folder = scratch.path().join("outputs");
        fs::create_dir(&folder).at("creating", &folder)?;
        Ok(Self { output_dir: output_dir.to_owned(), scratch, folder, _lock: lock })
    }

    /// Where the outputs are written.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Flushes everything and gives it its final name; returns the names in order.
    pub fn finish(self) -> Result<Vec<PathBuf>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.folder).at("reading", &self.folder)? {
            names.push(entry.at("reading", &self.folder)?.file_name());
        }
        // The manifest last: it says that the rest is there.
        names.sort_by_key(|name| (name == MANIFEST, name.clone()));
        if !names.iter().any(|name| name == MANIFEST) {
            return Err(Error::new(ErrorKind::Internal, "the build wrote no manifest"));
        }
        // The outputs are on the disk already; this is the folders, the manifest, and the promise.
        for name in &names {
            flush(&self.folder.join(name))?;
        }
        let retired = self.scratch.path().join("retired");
        fs::create_dir(&retired).at("creating", &retired)?;
        retire(&self.output_dir.join(MANIFEST), &retired)?;
        let mut published = Vec::new();
        for name in &names {
            let target = self.output_dir.join(name);
            retire(&target, &retired)?;
            fs::rename(self.folder.join(name), &target).at("renaming to", &target)?;
            published.push(target);
        }
        File::open(&self.output_dir)
            .and_then(|folder| folder.sync_all())
            .at("flushing", &self.output_dir)?;
        remove_all(&retired);
        Ok(published)
    }
}

/// Removes files of an earlier build in parallel, because freeing hundreds of megabytes takes a while. The
/// next build removes the rest.
fn remove_all(retired: &Path) {
    thread::scope(|scope| {
        for entry in fs::read_dir(retired).into_iter().flatten().flatten() {
            scope.spawn(move || fs::remove_file(entry.path()).or_else(|_| fs::remove_dir_all(entry.path())));
        }
    });
}

/// Moves an earlier build's file or folder out of the way; it vanishes with the scratch folder.
fn retire(path: &Path, retired: &Path) -> Result<()> {
    let Some(name) = path.file_name().filter(|_| path.exists()) else { return Ok(()) };
    fs::rename(path, retired.join(name)).at("moving away", path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(output_dir: &Path, content: &str) -> Vec<PathBuf> {
        let publication = Publication::begin(output_dir).unwrap();
        fs::write(publication.folder().join("a.raw"), content).unwrap();
        fs::create_dir(publication.folder().join("a-oci")).unwrap();
        fs::write(publication.folder().join("a-oci/index.json"), content).unwrap();
        fs::write(publication.folder().join(MANIFEST), content).unwrap();
        publication.finish().unwrap()
    }

    #[test]
    fn replaces_an_earlier_build_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        build(folder.path(), "old");
        let published = build(folder.path(), "new");
        assert!(published.last().unwrap().ends_with(MANIFEST));
        assert_eq!(fs::read_to_string(folder.path().join("a-oci/index.json")).unwrap(), "new");
        let mut names: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, [".kiln-output-lock", "a-oci", "a.raw", MANIFEST]);
    }

    #[test]
    fn an_unfinished_build_shows_nothing() {
        let folder = tempfile::tempdir().unwrap();
        build(folder.path(), "old");
        let publication = Publication::begin(folder.path()).unwrap();
        fs::write(publication.folder().join("a.raw"), "half").unwrap();
        drop(publication);
        assert_eq!(fs::read_to_string(folder.path().join("a.raw")).unwrap(), "old");
    }
}
