//! Which release the files of a release are of, by what is in them.

use std::fs::{self, File};
use std::io::{self, BufReader, Cursor, Read};
use std::path::Path;

use bzip2::bufread::MultiBzDecoder;
use contract::gpt::{self, SECTOR, Side};
use flate2::bufread::MultiGzDecoder;

use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::process::{Run, tool};
use crate::sparse;
use crate::tree::{Body, Entry, Tree};

/// The beginning of a disk, where its partition table is.
const HEAD: u64 = 1 << 20;

/// The partition with `/usr`: it has this identifier on every disk.
const USR_A: &str = "7130c94a-213a-4e5a-8e26-6cce9662f132";

/// The file with `/usr` in the initrd for the network.
const USR: &str = "usr.squashfs";

const OS_RELEASE: &str = "lib/os-release";

/// How long a file's name in an initrd may be.
const LONGEST_NAME: u64 = 4096;

/// The os-release in the disk `path`, which is compressed with bzip2. It is unpacked as far as `/usr` goes.
///
/// # Errors
/// [`ErrorKind::Archive`] if this is no disk of Flatcar; [`ErrorKind::Tool`].
pub(super) fn of_disk(path: &Path, scratch: &Path) -> Result<Tree> {
    let file = File::open(path).at("opening", path)?;
    let mut disk = MultiBzDecoder::new(BufReader::new(file));
    let mut head = Vec::new();
    (&mut disk).take(HEAD).read_to_end(&mut head).map_err(|error| broken(&error))?;
    let (first, length) = usr(&head)?;
    let skipped = first.checked_sub(head.len() as u64).ok_or_else(|| refuse("USR-A lies in its table"))?;
    let skip = io::copy(&mut (&mut disk).take(skipped), &mut io::sink());
    if skip.map_err(|error| broken(&error))? < skipped {
        return Err(refuse("it ends before USR-A"));
    }
    let usr = scratch.join("usr.btrfs");
    let mut file = File::create(&usr).at("creating", &usr)?;
    let copied = sparse::copy(&mut (&mut disk).take(length), &mut file).map_err(|error| broken(&error))?;
    if copied < length {
        return Err(refuse("it ends within USR-A"));
    }
    file.set_len(length).at("enlarging", &usr)?;
    let out = scratch.join("usr");
    fs::create_dir(&out).at("creating", &out)?;
    // Reads the file system without mounting it.
    let mut command = tool("btrfs");
    command.args(["restore", "--path-regex", "^/(|lib(|/os-release))$"]).arg(&usr).arg(&out);
    command
        .run("btrfs-progs")
        .map_err(|error| refuse(&format!("its /usr cannot be read: {}", error.message())))?;
    let release = fs::read(out.join(OS_RELEASE)).map_err(|_| refuse("its /usr has no os-release"))?;
    fs::remove_file(&usr).at("removing", &usr)?;
    Ok(tree(release))
}

/// First byte and length of USR-A, by the beginning of a disk.
fn usr(head: &[u8]) -> Result<(u64, u64)> {
    let backup = head.get(544..552).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes);
    let sectors = backup.and_then(|last| last.checked_add(1)).ok_or_else(|| refuse("it is too short"))?;
    // Of a damaged primary table the other one would be far behind the bytes that are here.
    let table = gpt::read(&mut Cursor::new(head), SECTOR, sectors);
    let table = table.map_err(|why| refuse(&format!("its partition table: {why}")))?;
    let usr = table.partitions.iter().find(|partition| partition.id == USR_A);
    let usr = usr.filter(|_| table.side == Side::Primary).ok_or_else(|| refuse("it has no USR-A"))?;
    Ok((usr.first * SECTOR, (usr.last + 1 - usr.first) * SECTOR))
}

/// The os-release in the initrd `path`, which is a cpio archive compressed with gzip.
///
/// # Errors
/// As [`of_disk`].
pub(super) fn of_initrd(path: &Path, scratch: &Path) -> Result<Tree> {
    let file = File::open(path).at("opening", path)?;
    let mut archive = MultiGzDecoder::new(BufReader::new(file));
    let usr = scratch.join(USR);
    let mut to = File::create(&usr).at("creating", &usr)?;
    if !find(&mut archive, USR, &mut to).map_err(|error| broken(&error))? {
        return Err(refuse("it has no usr.squashfs"));
    }
    let mut command = tool("unsquashfs");
    command.arg("-cat").arg(&usr).arg(OS_RELEASE);
    let output = command
        .run("squashfs-tools")
        .map_err(|error| refuse(&format!("its /usr cannot be read: {}", error.message())))?;
    fs::remove_file(&usr).at("removing", &usr)?;
    Ok(tree(output.stdout))
}

/// Copies the file `name` of a cpio archive ("newc") to `to`; false if there is none.
///
/// # Errors
/// Those of reading and writing, and what is wrong with the archive.
pub fn find(archive: &mut dyn Read, name: &str, to: &mut File) -> io::Result<bool> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what);
    loop {
        let mut header = [0; 110];
        archive.read_exact(&mut header)?;
        if !header.starts_with(b"07070") {
            return Err(invalid("not a cpio archive"));
        }
        let field = |index: usize| {
            let digits = std::str::from_utf8(&header[6 + 8 * index..14 + 8 * index]).ok();
            let number = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
            number.map(u64::from).ok_or_else(|| invalid("a damaged cpio header"))
        };
        let (length, name_length) = (field(6)?, field(11)?);
        if name_length > LONGEST_NAME {
            return Err(invalid("a name is too long"));
        }
        let mut found = vec![0; (110 + name_length).next_multiple_of(4) as usize - 110];
        archive.read_exact(&mut found)?;
        let found = found.split(|byte| *byte == 0).next().unwrap_or_default();
        if found == b"TRAILER!!!" {
            return Ok(false);
        }
        if found.strip_prefix(b"./").unwrap_or(found) == name.as_bytes() {
            let copied = sparse::copy(&mut archive.take(length), to)?;
            to.set_len(length)?;
            return if copied == length { Ok(true) } else { Err(invalid("it is cut off")) };
        }
        let padded = length.next_multiple_of(4);
        if io::copy(&mut archive.take(padded), &mut io::sink())? < padded {
            return Err(invalid("it is cut off"));
        }
    }
}

/// Refuses another release than the one that was asked for.
///
/// # Errors
/// [`ErrorKind::Verification`], naming both.
pub(super) fn check(found: &Tree, version: &str, board: &str) -> Result<()> {
    let value = |key: &str| found.os_release(key).unwrap_or_default();
    let (id, has, on) = (value("ID"), value("VERSION_ID"), value("FLATCAR_BOARD"));
    if (id.as_str(), has.as_str(), on.as_str()) == (super::NAME, version, board) {
        return Ok(());
    }
    let message = format!("this is {id} {has} for {on}, not {} {version} for {board}", super::NAME);
    Err(Error::new(ErrorKind::Verification, message)
        .help("the server gives another release under this address: take the files from Flatcar's own"))
}

fn tree(release: Vec<u8>) -> Tree {
    let mut tree = Tree::default();
    tree.insert("usr/lib/os-release", Entry::file(Body::inline(release), 0o644));
    tree
}

fn refuse(why: &str) -> Error {
    Error::new(ErrorKind::Archive, format!("this is no release of Flatcar: {why}"))
}

fn broken(error: &io::Error) -> Error {
    refuse(&format!("it cannot be unpacked: {error}"))
}
