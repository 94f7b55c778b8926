//! An extension as a disk image whose content cannot be changed: the file system, the tree of its hashes, and
//! a signature of the root hash, as partitions (Discoverable Partitions Specification, "Verity").

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};

use contract::partition_type;
use serde_json::json;
use uuid::Uuid;

use contract::gpt::SECTOR;

use crate::definition::plan::Arch;
use crate::determinism;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::format::gpt::{Layout, Partition, Request, flag};
use crate::format::verity;
use crate::part::disk::copy_into;
use crate::sign::Signer;

/// A partition with a signature is padded to whole blocks of this size.
const SIGNATURE_BLOCK: usize = 4096;

/// A file system to be sealed.
#[derive(Debug)]
pub struct Unsealed<'a> {
    /// The file system.
    pub path: &'a Path,
    /// Its digest: every identifier follows from it.
    pub sha256: Digest,
    /// For which machines.
    pub arch: Arch,
}

impl Unsealed<'_> {
    /// Writes the disk image to the folder `folder`, which is empty.
    ///
    /// # Errors
    /// Those of [`verity::format`] and [`Signer`].
    pub fn seal(&self, signer: Option<&Signer>, folder: &Path) -> Result<PathBuf> {
        let hashes = folder.join("hashes");
        let salt = Digest::of(format!("{} verity salt", self.sha256).as_bytes());
        let root = verity::format(self.path, &hashes, &salt, self.identifier("verity superblock"))?;
        let mut parts = vec![self.path.to_owned(), hashes];
        if let Some(signer) = signer {
            let path = folder.join("signature");
            fs::write(&path, signature(&root, signer, folder)?).at("writing", &path)?;
            parts.push(path);
        }
        let layout = Layout::new(self.identifier("disk"), SECTOR, self.requests(&root, &parts)?);
        let path = folder.join("extension.raw");
        write(&layout, &parts, &path)?;
        Ok(path)
    }

    fn identifier(&self, purpose: &str) -> Uuid {
        determinism::uuid(&self.sha256, purpose)
    }

    /// The root hash tells which partitions belong together: its halves are their identifiers.
    fn requests(&self, root: &Digest, parts: &[PathBuf]) -> Result<Vec<Request>> {
        let half =
            |range| Uuid::from_slice(&root.bytes()[range]).map_err(|error| internal(&error.to_string()));
        let (file_system, hashes, signature) = match self.arch {
            Arch::Amd64 => (
                partition_type::ROOT_AMD64,
                partition_type::ROOT_VERITY_AMD64,
                partition_type::ROOT_VERITY_SIGNATURE_AMD64,
            ),
            Arch::Arm64 => (
                partition_type::ROOT_ARM64,
                partition_type::ROOT_VERITY_ARM64,
                partition_type::ROOT_VERITY_SIGNATURE_ARM64,
            ),
        };
        let rows = [
            ("root", file_system, half(0..16)?),
            ("root-verity", hashes, half(16..32)?),
            ("root-verity-sig", signature, self.identifier("signature partition")),
        ];
        let pairs = rows.into_iter().zip(parts);
        pairs
            .map(|((label, kind, guid), path)| {
                let size = path.metadata().at("reading", path)?.len();
                Ok(Request { label, kind, guid, size, flags: flag::READ_ONLY })
            })
            .collect()
    }
}

fn write(layout: &Layout, parts: &[PathBuf], path: &Path) -> Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.read(true).write(true).create_new(true).open(path).at("creating", path)?;
    file.set_len(layout.size).at("enlarging", path)?;
    layout.write(&mut file)?;
    for (Partition { offset, .. }, part) in layout.partitions.iter().zip(parts) {
        let mut from = File::open(part).at("opening", part)?;
        copy_into(&mut from, &mut file, *offset).at("writing", path)?;
    }
    Ok(())
}

/// The content of the signature's partition: JSON, padded with zeros.
fn signature(root: &Digest, signer: &Signer, scratch: &Path) -> Result<Vec<u8>> {
    let document = json!({
        "rootHash": root.hex(),
        "certificateFingerprint": signer.fingerprint()?.hex(),
        "signature": signer.pkcs7(&root.hex(), scratch)?,
    });
    let mut bytes = document.to_string().into_bytes();
    bytes.resize(bytes.len().next_multiple_of(SIGNATURE_BLOCK), 0);
    Ok(bytes)
}

fn internal(why: &str) -> Error {
    Error::new(ErrorKind::Internal, format!("sealing an extension: {why}"))
}
