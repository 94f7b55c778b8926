//! Compares a mirror with its index.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::folder::{Entry, entries};
use super::index::{Index, is_signed, text_within};
use super::{INDEX, read_index};
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::signature::{Keys, read_keys};
use crate::store::Content;

/// How a mirror stands.
#[derive(Debug, Serialize)]
pub struct Verified {
    /// The images whose files it has.
    pub images: Vec<String>,
    /// How many files the index has.
    pub files: usize,
    /// Their length in bytes.
    pub bytes: u64,
    /// Whether the index has a signature.
    pub signed: bool,
    /// Whether a key that was named has made it.
    pub signature_checked: bool,
    /// Everything that is wrong.
    pub findings: Vec<Finding>,
}

/// A file that is not as the index says.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Its path below the mirror's folder.
    pub file: String,
    /// What is wrong with it.
    pub problem: String,
}

/// Reads every file of the mirror in `folder` once. With `keys`, a file of OpenPGP keys, one of them must
/// have signed the index. Writes nothing to the mirror; `scratch` is a private folder.
///
/// # Errors
/// [`ErrorKind::Verification`] if there is no index, or a wrong one; [`ErrorKind::Io`].
pub fn verify(folder: &Path, keys: Option<&Path>, scratch: &Path) -> Result<Verified> {
    let path = folder.join(INDEX);
    let bytes = read_index(folder)?.ok_or_else(|| {
        let message = format!("{} is no complete mirror: it has no {INDEX}", folder.display());
        Error::new(ErrorKind::Verification, message).help("finish it with kiln mirror create")
    })?;
    let signed = is_signed(&bytes);
    let index = match keys {
        Some(keys) => signed_index(&bytes, keys, scratch),
        None => parse(&bytes),
    };
    let index = index.map_err(|error| error.context(path.display()))?;
    Ok(Verified {
        files: index.files.len(),
        bytes: index.files.values().map(|content| content.size).sum(),
        signed,
        signature_checked: keys.is_some(),
        findings: findings(folder, &index)?,
        images: index.images,
    })
}

fn signed_index(bytes: &[u8], keys: &Path, scratch: &Path) -> Result<Index> {
    if !is_signed(bytes) {
        return Err(Error::new(ErrorKind::Verification, "nobody has signed it")
            .help("leave --key out to compare the files alone, or sign with kiln mirror create --sign-key"));
    }
    let keys = Keys::new(&read_keys(keys)?, &[], scratch).map_err(|error| error.context(keys.display()))?;
    parse(&keys.signed_text(bytes)?)
}

/// The index in these bytes, whoever has signed it.
pub(super) fn parse(bytes: &[u8]) -> Result<Index> {
    let wrong = |why: String| {
        Error::new(ErrorKind::Verification, why)
            .help("copy the mirror again, or make it anew with kiln mirror create")
    };
    let text = std::str::from_utf8(bytes).map_err(|_| wrong("it is no text".to_owned()))?;
    let text = text_within(text).ok_or_else(|| wrong("its signature is cut off".to_owned()))?;
    Index::parse(text).map_err(|(line, why)| wrong(format!("line {line}: {why}")))
}

fn findings(folder: &Path, index: &Index) -> Result<Vec<Finding>> {
    let present = entries(folder)?;
    let owners: BTreeMap<Digest, &str> =
        index.files.iter().map(|(path, content)| (content.sha256, path.as_str())).collect();
    let mut findings = Vec::new();
    let mut add = |file: &str, problem: String| findings.push(Finding { file: file.to_owned(), problem });
    for (path, content) in &index.files {
        match present.get(path) {
            None => add(path, "it is missing".to_owned()),
            Some(Entry::Other) => add(path, "it is no regular file".to_owned()),
            Some(Entry::File(size)) => {
                if let Some(problem) = compare(&folder.join(path), *size, content, &owners)? {
                    add(path, problem);
                }
            }
        }
    }
    for path in present.keys().filter(|path| !index.files.contains_key(*path)) {
        add(path, "it is not in the index".to_owned());
    }
    Ok(findings)
}

fn compare(
    file: &Path,
    size: u64,
    expected: &Content,
    owners: &BTreeMap<Digest, &str>,
) -> Result<Option<String>> {
    // A file of another length is read too: it may be another file of the mirror.
    let found = Digest::of_file(file)?;
    if found == expected.sha256 && size == expected.size {
        return Ok(None);
    }
    Ok(Some(match owners.get(&found) {
        Some(owner) => format!("it has the content of {owner}"),
        None if size != expected.size => format!("it has {size} bytes instead of {}", expected.size),
        None => format!("its digest is {found} instead of {}", expected.sha256),
    }))
}
