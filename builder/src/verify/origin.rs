//! Whether files are those of their packages and of the image's artifacts, by their contents.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use md5::{Digest as _, Md5};

use super::text::name_of;
use super::{Findings, Subject};
use crate::base::installed::{self, FILE_LISTS};
use crate::digest::{Digest, DigestReader};
use crate::tree::merge::real_path;
use crate::tree::{Body, Node};

/// The largest list of a package's files, and the most of all lists, in bytes. A desktop has 30 MB.
const LARGEST_LIST: u64 = 8 << 20;
const ALL_LISTS: u64 = 128 << 20;

/// Files that differ from what their packages say. One that is missing is none: images leave documentation
/// out.
pub(super) fn packages(subject: &Subject, findings: &mut Findings<'_>) {
    let mut digests = Digests::new(md5);
    each_packaged(subject, |real, sum, package| {
        let Some(body) = subject.tree.file(real) else { return };
        if digests.of(body).is_some_and(|own| own != sum) {
            findings.at(real, format!("it is not the file of the package {package}"));
        }
    });
}

/// The files of packages; whether they are unchanged, the check of packages tells.
pub(super) fn packaged(subject: &Subject) -> &BTreeSet<String> {
    subject.packaged.get_or_init(|| {
        let mut paths = BTreeSet::new();
        each_packaged(subject, |path, _, _| {
            paths.insert(path.to_owned());
        });
        paths
    })
}

/// Calls `found` with the path, the digest and the package of each file of a package, where the image has it.
fn each_packaged(subject: &Subject, mut found: impl FnMut(&str, &str, &str)) {
    let moved = installed::diversions(&subject.tree);
    let mut left = ALL_LISTS;
    for (list, _) in subject.below(FILE_LISTS).filter(|(path, _)| path.ends_with(".md5sums")) {
        let name = list[FILE_LISTS.len() + 1..].trim_end_matches(".md5sums");
        let package = name.split(':').next().unwrap_or(name);
        let Some(text) = subject.text_of_at_most(list, LARGEST_LIST.min(left)) else { continue };
        left = left.saturating_sub(text.len() as u64);
        for line in text.lines() {
            let Some((sum, path)) = line.split_once("  ") else { continue };
            let path = match moved.get(path) {
                Some(moved) if moved.by != package => moved.to.as_str(),
                _ => path,
            };
            if let Some(real) = real_path(&subject.tree, path) {
                found(&real, sum, name);
            }
        }
    }
}

/// Digests of contents. Each is made once: a content may have any number of paths, and a path of lines.
struct Digests<Of> {
    digest: fn(&Body) -> io::Result<Of>,
    known: BTreeMap<(Arc<Path>, u64, u64), Option<Of>>,
}

impl<Of: Clone> Digests<Of> {
    const fn new(digest: fn(&Body) -> io::Result<Of>) -> Self {
        Self { digest, known: BTreeMap::new() }
    }

    fn of(&mut self, body: &Body) -> Option<Of> {
        let make = || (self.digest)(body).ok();
        match body {
            Body::Inline(_) => make(),
            Body::Slice { file, offset, len } => {
                self.known.entry((Arc::clone(file), *offset, *len)).or_insert_with(make).clone()
            }
        }
    }
}

fn md5(body: &Body) -> io::Result<String> {
    let (mut from, mut hasher, mut buffer) = (body.open()?, Md5::new(), vec![0; 256 << 10]);
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(hex::encode(hasher.finalize())),
            count => hasher.update(&buffer[..count]),
        }
    }
}

fn sha256(body: &Body) -> io::Result<Digest> {
    let mut from = DigestReader::new(body.open()?);
    io::copy(&mut from, &mut io::sink())?;
    Ok(from.finish())
}

/// Artifacts that are one file must be in the image, under whatever name.
pub(super) fn artifacts(subject: &Subject, findings: &mut Findings<'_>) {
    if subject.vouched.is_empty() {
        return;
    }
    let mut digests = Digests::new(sha256);
    let names: BTreeSet<&str> = subject.vouched.iter().map(|(name, _)| name.as_str()).collect();
    for (path, entry) in &subject.tree.entries {
        let name = name_of(path);
        let Node::File(body) = &entry.node else { continue };
        if !names.contains(name) || entry.mode & 0o111 == 0 {
            continue;
        }
        let digest = digests.of(body);
        if !subject.vouched.iter().any(|(vouched, wanted)| vouched == name && digest == Some(*wanted)) {
            findings.at(path, format!("it is not the {name} of the manifest"));
        }
    }
}
