//! What a machine boots from the network.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::format::cpio::{BLOCK, CpioWriter};
use crate::tree::{Body, Node, Tree};

/// A kernel and an initrd that carries the root.
#[derive(Debug)]
pub struct NetworkSet {
    /// The kernel.
    pub kernel: Body,
    /// The initrd; finished archives can be appended to it.
    pub initrd: PathBuf,
    /// The content of the archive to append: files and folders.
    pub appended: Tree,
    /// Arguments of the kernel besides those of the definition.
    pub arguments: &'static [&'static str],
}

/// The initrd followed by an uncompressed archive: what it carries is compressed already. Zeros between the
/// two are passed over by the kernel.
pub fn write_initrd(set: &NetworkSet, epoch: u64, path: &Path) -> Result<()> {
    let mut file = File::create(path).at("creating", path)?;
    let mut initrd = File::open(&set.initrd).at("opening", &set.initrd)?;
    let len = io::copy(&mut initrd, &mut file).at("writing", path)?;
    let padding = vec![0; (len.next_multiple_of(BLOCK) - len) as usize];
    file.write_all(&padding).at("writing", path)?;
    let mut cpio = CpioWriter::new(file, epoch)?;
    for (path, entry) in &set.appended.entries {
        match &entry.node {
            Node::Directory => cpio.folder(path, entry.mode)?,
            Node::File(body) => {
                let mut content = body.open().at("reading", path)?;
                cpio.file(path, entry.mode, body.len(), &mut content)?;
            }
            Node::Symlink(_) => return Err(Error::new(ErrorKind::Internal, "an initrd has no links")),
        }
    }
    cpio.finish()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Entry;
    use std::fs;

    #[test]
    fn the_archive_follows_the_initrd_on_a_block_boundary() {
        let folder = tempfile::tempdir().unwrap();
        let [initrd, out] = ["initrd", "out"].map(|name| folder.path().join(name));
        for length in [512, 511, 1] {
            fs::write(&initrd, vec![1; length]).unwrap();
            let mut appended = Tree::default();
            appended.insert("root.squashfs", Entry::file(Body::inline([2; 1000]), 0o444));
            let set =
                NetworkSet { kernel: Body::inline(*b"k"), initrd: initrd.clone(), appended, arguments: &[] };
            write_initrd(&set, 0, &out).unwrap();
            let bytes = fs::read(&out).unwrap();
            assert!(bytes[..length] == vec![1; length] && bytes[length..512].iter().all(|byte| *byte == 0));
            assert!(bytes[512..].starts_with(b"070701") && bytes.len() % 512 == 0);
            assert!(bytes.windows(14).any(|window| window == b"root.squashfs\0"));
        }
    }
}
