//! Whether files are those of their packages and of the image's artifacts, by their contents.

use std::collections::BTreeSet;
use std::io::{self, Read};

use md5::{Digest as _, Md5};

use super::{Findings, Subject};
use crate::base::installed::{self, FILE_LISTS};
use crate::digest::{Digest, DigestReader};
use crate::tree::merge::real_path;
use crate::tree::{Body, Node};

/// Files that differ from what their packages say. One that is missing is none: images leave documentation
/// out.
pub(super) fn packages(subject: &Subject, findings: &mut Findings<'_>) {
    each_packaged(subject, |real, sum, package| {
        let Some(body) = subject.tree.file(real) else { return };
        if md5(body).is_ok_and(|own| own != sum) {
            findings.at(real, format!("it is not the file of the package {package}"));
        }
    });
}

/// The files of packages; whether they are unchanged, the check of packages tells.
pub(super) fn packaged(subject: &Subject) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    each_packaged(subject, |path, _, _| {
        paths.insert(path.to_owned());
    });
    paths
}

/// Calls `found` with the path, the digest and the package of each file of a package, where the image has it.
fn each_packaged(subject: &Subject, mut found: impl FnMut(&str, &str, &str)) {
    let moved = installed::diversions(&subject.tree);
    for (list, _) in subject.tree.below(FILE_LISTS).filter(|(path, _)| path.ends_with(".md5sums")) {
        let name = list[FILE_LISTS.len() + 1..].trim_end_matches(".md5sums");
        let package = name.split(':').next().unwrap_or(name);
        let Some(body) = subject.tree.file(list) else { continue };
        let text = body.read().unwrap_or_default();
        for line in String::from_utf8_lossy(&text).lines() {
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
    let names: BTreeSet<&str> = subject.vouched.iter().map(|(name, _)| name.as_str()).collect();
    for (path, entry) in &subject.tree.entries {
        let name = path.rsplit('/').next().unwrap_or_default();
        let Node::File(body) = &entry.node else { continue };
        if !names.contains(name) || entry.mode & 0o111 == 0 {
            continue;
        }
        let digest = sha256(body).ok();
        if !subject.vouched.iter().any(|(vouched, wanted)| vouched == name && digest == Some(*wanted)) {
            findings.at(path, format!("it is not the {name} of the manifest"));
        }
    }
}
