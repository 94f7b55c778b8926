//! In which format a disk image is.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::process::{Run, tool};

/// The length of a VHD's footer, and of a sector.
const SECTOR: u64 = 512;
const LARGE_SECTOR: usize = 4096;
/// Where a disc says what it is: ECMA-119, 8.1.
const DISC: usize = 0x8001;

/// The format of a disk image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Its bytes are the disk's.
    Raw,
    /// QEMU's.
    Qcow2,
    /// Azure's and older Hyper-V's.
    Vhd,
    /// Hyper-V's.
    Vhdx,
    /// VMware's.
    Vmdk,
    /// No disk: a program for UEFI.
    Program,
    /// A disc (ISO 9660), which nothing is written to.
    Disc,
}

impl Form {
    /// QEMU's name for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
            Self::Vhd => "vpc",
            Self::Vhdx => "vhdx",
            Self::Vmdk => "vmdk",
            Self::Program => "efi",
            Self::Disc => "iso",
        }
    }
}

/// How files begin that hold a disk image in a package: the name, and what opens it.
const PACKAGES: &[(&[u8], &str, &str)] = &[
    (b"\x1f\x8b", "gzip", "gunzip --keep, and for GCE's archive: tar -xSf"),
    (b"\x28\xb5\x2f\xfd", "zstd", "unzstd"),
    (b"\xfd7zXZ\0", "xz", "unxz --keep"),
    (b"BZh", "bzip2", "bunzip2 --keep"),
];

/// The format of the image at `path`, by its bytes.
///
/// # Errors
/// [`ErrorKind::Usage`] when it is none; [`ErrorKind::Io`].
pub fn recognise(path: &Path) -> Result<Form> {
    let mut file = File::open(path).at("opening", path)?;
    let (head, footer, length) = ends(&mut file).at("reading", path)?;
    let formats: [(&[u8], Form); 4] =
        [(b"QFI\xfb", Form::Qcow2), (b"KDMV", Form::Vmdk), (b"vhdxfile", Form::Vhdx), (b"MZ", Form::Program)];
    if let Some((_, form)) = formats.iter().find(|(magic, _)| head.starts_with(magic)) {
        return Ok(*form);
    }
    // A disc may have a partition table too.
    if head.get(DISC..DISC + 5) == Some(b"CD001") {
        return Ok(Form::Disc);
    }
    if footer.starts_with(b"conectix") {
        return Ok(Form::Vhd);
    }
    let refused = |what: &str, help: &str| {
        Err(Error::new(ErrorKind::Usage, format!("{} is {what}", path.display())).help(help))
    };
    if let Some((_, name, opener)) = PACKAGES.iter().find(|(magic, ..)| head.starts_with(magic)) {
        return refused(&format!("compressed with {name}"), &format!("unpack it first: {opener} FILE"));
    }
    if head.get(257..262) == Some(b"ustar") {
        return refused("an archive", "unpack it first (tar -xf FILE), and name the disk in it");
    }
    if length.is_multiple_of(SECTOR) && (has_table(&head, 512) || has_table(&head, LARGE_SECTOR)) {
        return Ok(Form::Raw);
    }
    refused(
        "no disk image with a partition table",
        "name a raw, qcow2, VHD, VHDX or VMDK image, an ISO, an .efi file, an output folder, or a folder NAME-pxe",
    )
}

/// Whether there is a partition table for sectors of `sector` bytes.
fn has_table(head: &[u8], sector: usize) -> bool {
    head.get(sector..sector + 8) == Some(b"EFI PART")
}

/// Whether the disk at `path`, in QEMU's format qcow2, is made for sectors of 4096 bytes. Files are made in
/// `folder`.
///
/// # Errors
/// [`ErrorKind::Tool`].
pub fn has_large_sectors(path: &Path, folder: &Path) -> Result<bool> {
    let to = folder.join("head");
    let mut command = tool("qemu-img");
    command.args(["dd", "-f", "qcow2", "-O", "raw", "bs=8192", "count=1"]);
    command.args([("if=", path), ("of=", &to)].map(|(name, path)| {
        let mut word = OsString::from(name);
        word.push(path);
        word
    }));
    command.run("qemu-utils")?;
    let head = fs::read(&to).at("reading", &to)?;
    Ok(!has_table(&head, 512) && has_table(&head, LARGE_SECTOR))
}

/// The first bytes, the last sector, and the length.
fn ends(file: &mut File) -> io::Result<(Vec<u8>, Vec<u8>, u64)> {
    let (mut head, mut footer) = (Vec::new(), Vec::new());
    file.take(DISC as u64 + 8).read_to_end(&mut head)?;
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(length.saturating_sub(SECTOR)))?;
    file.take(SECTOR).read_to_end(&mut footer)?;
    Ok((head, footer, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_known_by_its_bytes_and_what_is_none_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image");
        let padded = |at: usize, text: &[u8]| {
            let mut bytes = vec![0; 65536];
            bytes[at..at + text.len()].copy_from_slice(text);
            bytes
        };
        for (at, text, expected) in [
            (0, &b"QFI\xfb"[..], Ok(Form::Qcow2)),
            (0, b"KDMV", Ok(Form::Vmdk)),
            (0, b"vhdxfile", Ok(Form::Vhdx)),
            (0, b"MZ", Ok(Form::Program)),
            (65536 - 512, b"conectix", Ok(Form::Vhd)),
            (DISC, b"CD001", Ok(Form::Disc)),
            (512, b"EFI PART", Ok(Form::Raw)),
            (4096, b"EFI PART", Ok(Form::Raw)),
            (0, b"\x1f\x8b", Err("compressed with gzip")),
            (257, b"ustar", Err("an archive")),
            (0, b"", Err("no disk image")),
        ] {
            std::fs::write(&path, padded(at, text)).unwrap();
            let found = recognise(&path);
            match expected {
                Ok(form) => assert_eq!(found.unwrap(), form),
                Err(part) => assert!(found.unwrap_err().message().contains(part), "{part}"),
            }
        }
        std::fs::write(&path, "").unwrap();
        assert_eq!(recognise(&path).unwrap_err().kind(), ErrorKind::Usage);
    }
}
