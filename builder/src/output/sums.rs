//! Sizes and digests of output files.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::OutputFile;
use crate::definition::value::check_components;
use crate::digest::Digest;
use crate::error::{IoContext, Result};

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

/// Sizes and digests of `files` in `folder`; only files whose digest is not known yet are read.
///
/// # Errors
/// When a file cannot be read.
pub fn of(files: &[OutputFile], folder: &Path) -> Result<Vec<Sum>> {
    files.iter().map(|written| sum(written, folder)).collect()
}

fn sum(written: &OutputFile, folder: &Path) -> Result<Sum> {
    let path = folder.join(&written.file);
    let size = fs::metadata(&path).at("reading", &path)?.len();
    let sha256 = written.digest.map_or_else(|| Digest::of_file(&path), Ok)?;
    Ok(Sum { file: written.file.clone(), size, sha256 })
}

/// The list as `sha256sum -c` reads it.
pub fn list(sums: &[Sum]) -> String {
    sums.iter().fold(String::new(), |mut text, sum| {
        writeln!(text, "{}  {}", sum.sha256.hex(), sum.file).expect("writing to a string does not fail");
        text
    })
}

/// Reads such a list: names and digests.
///
/// # Errors
/// The number of the first line that is none, or names a file outside the folder.
pub fn parse(text: &str) -> Result<BTreeMap<&str, Digest>, usize> {
    let lines = text.lines().enumerate();
    lines.map(|(index, line)| parse_line(line).ok_or(index + 1)).collect()
}

fn parse_line(line: &str) -> Option<(&str, Digest)> {
    let (digest, file) = line.split_once("  ")?;
    check_components(file).ok()?;
    Some((file, digest.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_as_it_is_written() {
        let sum = |file: &str| Sum { file: file.to_owned(), size: 1, sha256: Digest::of(file.as_bytes()) };
        let (one, other) = (sum("a.raw"), sum("oci/blobs/x"));
        let text = list(&[one.clone(), other.clone()]);
        let expected = BTreeMap::from([("a.raw", one.sha256), ("oci/blobs/x", other.sha256)]);
        assert_eq!(parse(&text), Ok(expected));
        let digest = Digest::of(b"").hex();
        for wrong in [
            "x".to_owned(),
            format!("{digest} one-blank"),
            format!("{digest}  ../../etc/passwd"),
            format!("{digest}  /etc/passwd"),
        ] {
            assert_eq!(parse(&format!("{text}{wrong}\n")), Err(3), "{wrong}");
        }
    }

    #[test]
    fn only_files_without_a_digest_are_read() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("oci")).unwrap();
        for file in ["b.raw", "oci/blob"] {
            fs::write(folder.path().join(file), file).unwrap();
        }
        let known = OutputFile { file: "oci/blob".to_owned(), digest: Some(Digest::of(b"told")) };
        let sums = of(&["b.raw".to_owned().into(), known], folder.path()).unwrap();
        assert_eq!(sums[0], Sum { file: "b.raw".to_owned(), size: 5, sha256: Digest::of(b"b.raw") });
        assert_eq!(sums[1], Sum { file: "oci/blob".to_owned(), size: 8, sha256: Digest::of(b"told") });
        assert!(list(&sums).starts_with(&format!("{}  b.raw\n", Digest::of(b"b.raw").hex())));
    }

    #[test]
    fn a_missing_output_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(of(&["gone".to_owned().into()], folder.path()).unwrap_err().message().contains("gone"));
    }
}
