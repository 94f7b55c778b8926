//! A disk with Windows: raw, qcow2, VHD or VHDX. Its NTFS volume is sliced out into a plain file, which
//! wimlib reads.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use contract::gpt;
use serde::Deserialize;

use crate::base::rootfs::check_qcow2_header;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::format::ntfs;
use crate::process::{Run, tool};
use crate::sparse;

/// The package of the tool that reads disks of hypervisors.
const PACKAGE: &str = "qemu-utils";

/// The largest disk, in bytes.
const LARGEST_DISK: u64 = 256 << 30;

const SECTOR: u64 = 512;
/// The type of a partition with NTFS in a master boot record.
const NTFS_IN_MBR: u8 = 7;
/// The type of a partition in a master boot record that says that a GPT is there.
const PROTECTIVE: u8 = 0xee;

/// How a disk is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Raw,
    Qcow2,
    /// Fixed or dynamic.
    Vhd,
    Vhdx,
}

/// Whether a file that begins with these bytes may be a disk.
pub(super) fn may_be(head: &[u8]) -> bool {
    let begins = [b"QFI\xfb".as_slice(), b"conectix", b"vhdxfile", b"KDMV"];
    head.get(510..512) == Some(&[0x55, 0xaa]) || begins.iter().any(|magic| head.starts_with(magic))
}

/// A volume on a disk, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    offset: u64,
    length: u64,
}

/// The NTFS volume with Windows, in a file of its own in the folder `scratch`; nothing if no partition has
/// NTFS.
///
/// # Errors
/// [`ErrorKind::Archive`] if the disk is broken, or names other files.
pub(super) fn volume(path: &Path, title: &str, scratch: &Path) -> Result<Option<PathBuf>> {
    let form = form(path, title)?;
    let disk = if form == Form::Raw { path.to_owned() } else { to_raw(form, path, title, scratch)? };
    let mut file = File::open(&disk).at("opening", &disk)?;
    let Some(place) = place(&mut file, form == Form::Vhd, title)? else { return Ok(None) };
    let volume = scratch.join("volume.ntfs");
    let range = place.offset..place.offset.saturating_add(place.length);
    sparse::cut(&file, range, &volume).at("copying the volume to", &volume)?;
    if disk != path {
        std::fs::remove_file(&disk).at("removing", &disk)?;
    }
    ntfs::check(&volume, title)?;
    Ok(Some(volume))
}

/// The error where there must be an NTFS volume.
pub(super) fn lacks_ntfs(title: &str) -> Error {
    refuse(title, "no partition has NTFS, or BitLocker has encrypted it")
}

/// Reads what [`volume`] reads without other programs: the form, and of a raw disk the place of the volume.
///
/// # Errors
/// Those of `volume`.
pub fn look_at(path: &Path, title: &str) -> Result<()> {
    let form = form(path, title)?;
    let mut file = File::open(path).at("opening", path)?;
    place(&mut file, form == Form::Vhd, title).map(drop)
}

fn refuse(title: &str, why: &str) -> Error {
    Error::new(ErrorKind::Archive, format!("{title}: {why}"))
        .help("nothing of it was used; these are read: WIM, and disks in the forms raw, qcow2, VHD and VHDX")
}

fn form(path: &Path, title: &str) -> Result<Form> {
    let file = File::open(path).at("opening", path)?;
    let length = file.metadata().at("reading", path)?.len();
    let mut head = vec![0; 1024.min(usize::try_from(length).unwrap_or(1024))];
    file.read_exact_at(&mut head, 0).at("reading", path)?;
    let mut foot = [0; 512];
    let has_foot = length >= 512 && file.read_exact_at(&mut foot, length - 512).is_ok();
    if head.starts_with(b"QFI\xfb") {
        check_qcow2_header(&head).map_err(|why| refuse(title, &format!("the qcow2 image: {why}")))?;
        return Ok(Form::Qcow2);
    }
    if head.starts_with(b"vhdxfile") {
        return Ok(Form::Vhdx);
    }
    if has_foot && foot.starts_with(b"conectix") {
        // The type of a disk, in the footer ("Virtual Hard Disk Image Format Specification", Microsoft, 1.0).
        return match u32::from_be_bytes([foot[60], foot[61], foot[62], foot[63]]) {
            2 | 3 => Ok(Form::Vhd),
            4 => Err(refuse(title, "it holds only the differences to another VHD, which is never opened")),
            other => Err(refuse(title, &format!("it is a VHD of the unknown type {other}"))),
        };
    }
    match head.as_slice() {
        [] => Err(refuse(title, "it is empty")),
        _ if head.starts_with(b"conectix") => Err(refuse(title, "it is a VHD whose end is missing")),
        _ if head.starts_with(b"KDMV") => {
            Err(refuse(title, "it is a VMDK; qemu-img convert -O qcow2 converts it"))
        }
        _ if head.get(510..512) == Some(&[0x55, 0xaa]) => Ok(Form::Raw),
        _ => Err(refuse(title, "it is neither a WIM nor a disk")),
    }
}

/// The part of `qemu-img info` that is read.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Info {
    virtual_size: u64,
    backing_filename: Option<String>,
    full_backing_filename: Option<String>,
}

fn to_raw(form: Form, path: &Path, title: &str, scratch: &Path) -> Result<PathBuf> {
    let name = match form {
        Form::Raw => "raw",
        Form::Qcow2 => "qcow2",
        Form::Vhd => "vpc",
        Form::Vhdx => "vhdx",
    };
    let image = |arguments: &[&str]| {
        let mut command = tool("qemu-img");
        command.args(arguments).args(["-f", name]).arg(path);
        command
    };
    let broken = |error: Error| {
        if error.hint().is_some() {
            return error;
        }
        let said = error.message().lines().nth(1).unwrap_or_default().to_owned();
        refuse(title, &format!("qemu-img cannot read it: {said}"))
    };
    let info = image(&["info", "--output=json"]).run(PACKAGE).map_err(broken)?;
    let info: Info = serde_json::from_slice(&info.stdout)
        .map_err(|error| refuse(title, &format!("qemu-img info: {error}")))?;
    if info.backing_filename.or(info.full_backing_filename).is_some() {
        return Err(refuse(title, "it names another file, which is never opened"));
    }
    if info.virtual_size == 0 || info.virtual_size > LARGEST_DISK {
        let message = format!("its disk has {} bytes; up to {LARGEST_DISK} are read", info.virtual_size);
        return Err(refuse(title, &message));
    }
    let raw = scratch.join("windows.raw");
    image(&["convert", "-q", "-O", "raw"]).arg(&raw).run(PACKAGE).map_err(broken)?;
    Ok(raw)
}

/// The largest NTFS volume: the others are for recovery.
fn place(disk: &mut File, is_vhd: bool, title: &str) -> Result<Option<Place>> {
    let read = |error: std::io::Error| refuse(title, &format!("its disk cannot be read: {error}"));
    let length = disk.metadata().map_err(read)?.len();
    let mut sector = [0; SECTOR as usize];
    disk.read_exact_at(&mut sector, 0).map_err(read)?;
    if is_ntfs(&sector) {
        return Ok(Some(Place { offset: 0, length }));
    }
    let places = if sector[450] == PROTECTIVE {
        let table = gpt::read(disk, SECTOR, length / SECTOR)
            .map_err(|why| refuse(title, &format!("its partition table: {why}")))?;
        // The end of a VHD's disk is rounded to a geometry, so its second table may be elsewhere.
        if table.side == gpt::Side::Backup && !is_vhd {
            return Err(refuse(title, "its primary partition table is damaged"));
        }
        let one = |partition: &gpt::Partition| Place {
            offset: partition.first * SECTOR,
            length: (partition.last - partition.first + 1) * SECTOR,
        };
        table.partitions.iter().map(one).collect()
    } else {
        primary_partitions(&sector)
    };
    let mut found = Vec::new();
    for place in places {
        let mut sector = [0; SECTOR as usize];
        let fits = place.offset.checked_add(place.length).is_some_and(|end| end <= length);
        if !fits {
            return Err(refuse(title, "a partition ends behind its disk"));
        }
        if place.length >= SECTOR && disk.read_exact_at(&mut sector, place.offset).is_ok() && is_ntfs(&sector)
        {
            found.push(place);
        }
    }
    Ok(found.into_iter().max_by_key(|place| place.length))
}

fn is_ntfs(sector: &[u8]) -> bool {
    sector.get(3..11) == Some(b"NTFS    ")
}

/// The partitions with NTFS in a master boot record.
fn primary_partitions(sector: &[u8]) -> Vec<Place> {
    let number = |entry: &[u8], at: usize| {
        entry[at..at + 4].iter().rev().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte))
    };
    sector[446..510]
        .chunks_exact(16)
        .filter(|entry| entry[4] == NTFS_IN_MBR)
        .map(|entry| Place { offset: number(entry, 8) * SECTOR, length: number(entry, 12) * SECTOR })
        .collect()
}

#[cfg(test)]
#[path = "disk_tests.rs"]
mod tests;
