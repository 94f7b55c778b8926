//! Sizes and digests of output files.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::{Class, Error, IoContext, Result};

/// A file of an output.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Sum {
    /// Path below the output folder.
    pub file: String,
    /// Length in bytes.
    pub size: u64,
    /// Its digest.
    pub sha256: Digest,
}

/// The files that `names` stand for, sorted; a name that ends in `/` stands for everything below it.
///
/// # Errors
/// When a file cannot be read, or a folder holds something that is neither file nor folder.
pub fn of(names: &[String], folder: &Path) -> Result<Vec<Sum>> {
    let mut files = Vec::new();
    for name in names {
        match name.strip_suffix('/') {
            Some(below) => walk(below, folder, &mut files)?,
            None => files.push(name.clone()),
        }
    }
    files.sort();
    files.dedup();
    digest_all(&files, folder)
}

/// The list as `sha256sum -c` reads it.
pub fn list(sums: &[Sum]) -> String {
    sums.iter().fold(String::new(), |mut text, sum| {
        writeln!(text, "{}  {}", sum.sha256.hex(), sum.file).expect("writing to a string does not fail");
        text
    })
}

fn walk(below: &str, folder: &Path, files: &mut Vec<String>) -> Result<()> {
    let path = folder.join(below);
    for entry in fs::read_dir(&path).at("reading", &path)? {
        let entry = entry.at("reading", &path)?;
        let name = format!("{below}/{}", entry.file_name().to_string_lossy());
        let kind = entry.file_type().at("reading", entry.path())?;
        match (kind.is_dir(), kind.is_file()) {
            (true, _) => walk(&name, folder, files)?,
            (_, true) => files.push(name),
            _ => return Err(Error::new(Class::Internal, format!("the output {name} is neither a file nor a folder"))),
        }
    }
    Ok(())
}

/// Reads the files on all processors: the digests of a disk image take longer than writing it.
fn digest_all(files: &[String], folder: &Path) -> Result<Vec<Sum>> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(files.len());
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            done.push(digest_one(file, folder)?);
        }
        Ok(done)
    };
    let parts: Vec<Result<Vec<Sum>>> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        handles.into_iter().map(|handle| handle.join().expect("computing a digest does not panic")).collect()
    });
    let mut sums = parts.into_iter().collect::<Result<Vec<_>>>()?.concat();
    sums.sort();
    Ok(sums)
}

fn digest_one(file: &str, folder: &Path) -> Result<Sum> {
    let path = folder.join(file);
    let size = fs::metadata(&path).at("reading", &path)?.len();
    Ok(Sum { file: file.to_owned(), size, sha256: Digest::of_file(&path)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_listed_file_by_file() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("oci/blobs")).unwrap();
        for file in ["b.raw", "oci/index.json", "oci/blobs/x"] {
            fs::write(folder.path().join(file), file).unwrap();
        }
        let sums = of(&["oci/".to_owned(), "b.raw".to_owned()], folder.path()).unwrap();
        let names: Vec<_> = sums.iter().map(|sum| sum.file.as_str()).collect();
        assert_eq!(names, ["b.raw", "oci/blobs/x", "oci/index.json"]);
        assert_eq!(sums[0], Sum { file: "b.raw".to_owned(), size: 5, sha256: Digest::of(b"b.raw") });
        assert!(list(&sums).starts_with(&format!("{}  b.raw\n", Digest::of(b"b.raw").hex())));
    }

    #[test]
    fn a_missing_output_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(of(&["gone".to_owned()], folder.path()).unwrap_err().message().contains("gone"));
    }
}
