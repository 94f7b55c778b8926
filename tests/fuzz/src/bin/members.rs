//! The members of a tar whose header checksums are right whatever else is wrong. What is accepted stays
//! inside and has bodies that can be read.
#![no_main]

use std::path::{Component, Path};

use kiln::archive;
use kiln::definition::plan::ArchiveRules;
use kiln::tree::Node;
use kiln_fuzz::{folder, write};
use libfuzzer_sys::fuzz_target;

const BLOCK: usize = 512;

fuzz_target!(|bytes: &[u8]| {
    let Some((&strip, tar)) = bytes.split_first() else { return };
    let folder = folder();
    let path = folder.path().join("archive");
    write(&path, sealed(tar));
    let rules =
        ArchiveRules { strip: usize::from(strip % 3), pick: Vec::new(), into: "opt".into(), mode: None };
    let Ok(tree) = archive::extract(&path, &rules, "fuzz", folder.path()) else { return };
    for (path, entry) in &tree.entries {
        let inside = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
        assert!(inside && path.starts_with("opt"), "{path:?} leads out");
        assert_eq!(entry.mode & 0o6000, 0, "{path:?} is setuid or setgid");
        if let Node::File(body) = &entry.node {
            assert_eq!(body.read().expect("a body lies in its archive").len() as u64, body.len());
        }
    }
});

/// The tar with the checksum of each header made right, and an end mark.
fn sealed(tar: &[u8]) -> Vec<u8> {
    let mut tar = tar.to_vec();
    tar.resize(tar.len().next_multiple_of(BLOCK), 0);
    let mut position = 0;
    while let Some(header) = tar.get_mut(position..position + BLOCK) {
        position += BLOCK + seal(header).next_multiple_of(BLOCK).min(1 << 20);
    }
    tar.resize(tar.len() + 2 * BLOCK, 0);
    tar
}

/// Writes the checksum of a header that is not all zeros and returns the length of the body it states, if
/// that is octal.
fn seal(header: &mut [u8]) -> usize {
    if header.iter().all(|byte| *byte == 0) {
        return 0;
    }
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let size = String::from_utf8_lossy(&header[124..136]);
    usize::from_str_radix(size.trim_matches(['\0', ' ']), 8).unwrap_or_default()
}
