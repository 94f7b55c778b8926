//! qcow2, made raw by qemu-img (QEMU's docs/interop/qcow2.rst).
//!
//! A header can name other files of this machine, which qemu-img would read: so the header is read here
//! first, and an image that needs any is refused. qemu-img and not a library, because imago cannot read
//! clusters that zstd has compressed.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;

use serde::Deserialize;

use super::Source;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::process::{Run, tool};

/// The package of the tool.
const PACKAGE: &str = "qemu-utils";

/// The largest disk, in bytes: vendors' have up to 30 GiB, mostly empty.
const LARGEST_DISK: u64 = 128 << 30;

/// The most bytes that are in use on a disk.
const LARGEST_CONTENT: u64 = 16 << 30;

/// The length of the part of a header that is read.
const HEADER: usize = 104;

/// Features that a reader must know (version 3).
const DIRTY: u64 = 1 << 0;
const CORRUPT: u64 = 1 << 1;
const EXTERNAL_DATA: u64 = 1 << 2;
/// Compression by zstd, and subclusters.
const KNOWN: u64 = DIRTY | CORRUPT | EXTERNAL_DATA | 1 << 3 | 1 << 4;

/// Whether a file that begins with `head` is a qcow2.
pub(super) fn is(head: &[u8]) -> bool {
    head.starts_with(b"QFI\xfb")
}

/// Why an image with this header cannot be read on its own.
///
/// # Errors
/// The reason, in words.
pub fn check_header(header: &[u8]) -> Result<(), String> {
    let cut_off = || "its header is cut off".to_owned();
    let bytes = |at: usize, count: usize| header.get(at..at + count).ok_or_else(cut_off);
    let number = |at: usize, count: usize| {
        bytes(at, count).map(|bytes| bytes.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte)))
    };
    if !is(header) {
        return Err("it is no qcow2".to_owned());
    }
    let version = number(4, 4)?;
    if !(2..=3).contains(&version) {
        return Err(format!("version {version} of qcow2 is not known"));
    }
    if number(8, 8)? != 0 {
        return Err(
            "it names a backing file, which is never opened: name an image that is complete".to_owned()
        );
    }
    if number(32, 4)? != 0 {
        return Err("it is encrypted".to_owned());
    }
    let size = number(24, 8)?;
    if size == 0 || size > LARGEST_DISK {
        return Err(format!("it says that its disk has {size} bytes; up to {LARGEST_DISK} are read"));
    }
    let features = if version == 3 { number(72, 8)? } else { 0 };
    match features {
        _ if features & EXTERNAL_DATA != 0 => {
            Err("its data is in another file, which is never opened".to_owned())
        }
        _ if features & CORRUPT != 0 => Err("it is marked as corrupt".to_owned()),
        _ if features & DIRTY != 0 => Err("it was not closed: qemu-img check -r all repairs it".to_owned()),
        _ if features & !KNOWN != 0 => Err(format!("it has features that are not known ({features:#x})")),
        _ => Ok(()),
    }
}

/// The part of `qemu-img measure` that is read.
#[derive(Deserialize)]
struct Measure {
    required: u64,
}

/// The disk as a new raw file.
pub(super) fn to_raw(source: &Source<'_>) -> Result<PathBuf> {
    let fail = |why: &str| {
        Error::new(ErrorKind::Archive, format!("{}: the qcow2 image: {why}", source.title))
            .help("nothing of it was used; check where it comes from")
    };
    let mut header = vec![0; HEADER];
    let file = File::open(source.path).at("opening", source.path)?;
    let count = file.read_at(&mut header, 0).at("reading", source.path)?;
    check_header(&header[..count]).map_err(|why| fail(&why))?;
    let image = |arguments: &[&str]| {
        let mut command = tool("qemu-img");
        command.args(arguments).args(["-f", "qcow2"]).arg(source.path);
        command
    };
    // 3: clusters that nothing uses, which are harmless.
    let checked = output(image(&["check", "-q"]))?;
    if !matches!(checked.status.code(), Some(0 | 3)) {
        let said = String::from_utf8_lossy(&checked.stderr);
        return Err(fail(&format!("it is damaged: {}", said.lines().next().unwrap_or_default())));
    }
    let measured = image(&["measure", "--output=json", "-O", "raw"]).run(PACKAGE)?;
    let Measure { required } = serde_json::from_slice(&measured.stdout)
        .map_err(|error| fail(&format!("qemu-img measure: {error}")))?;
    if required > LARGEST_CONTENT {
        return Err(fail(&format!("it unpacks to {required} bytes; up to {LARGEST_CONTENT} are read")));
    }
    let raw = source.spool.join("disk.raw");
    image(&["convert", "-q", "-O", "raw"]).arg(&raw).run(PACKAGE)?;
    Ok(raw)
}

/// Runs to the end, whatever the exit code is.
fn output(mut command: Command) -> Result<std::process::Output> {
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let child = command.start(PACKAGE)?;
    child
        .wait_with_output()
        .map_err(|error| Error::new(ErrorKind::Tool, format!("waiting for qemu-img: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header of version 3 with a disk of 1 GiB, and changes: position and bytes.
    fn header(changes: &[(usize, &[u8])]) -> Vec<u8> {
        let mut header = vec![0; HEADER];
        let fields: [(usize, &[u8]); 3] =
            [(0, b"QFI\xfb\0\0\0\x03"), (20, &[0, 0, 0, 16]), (28, &[0x40, 0, 0, 0])];
        for (at, bytes) in fields.iter().chain(changes) {
            header[*at..at + bytes.len()].copy_from_slice(bytes);
        }
        header
    }

    #[test]
    fn a_header_that_needs_another_file_or_is_unsound_is_refused() {
        assert_eq!(check_header(&header(&[])), Ok(()));
        assert_eq!(check_header(&header(&[(79, &[1 << 3 | 1 << 4])])), Ok(()));
        let table: [((usize, &[u8]), &str); 9] = [
            ((8, &[0, 0, 0, 0, 0, 0, 1, 0]), "backing file"),
            ((79, &[1 << 2]), "another file"),
            ((35, &[1]), "encrypted"),
            ((35, &[2]), "encrypted"),
            ((79, &[1]), "not closed"),
            ((79, &[2]), "corrupt"),
            ((78, &[1]), "not known"),
            ((7, &[4]), "version 4"),
            ((24, &[0x7f]), "up to"),
        ];
        for (change, why) in table {
            let error = check_header(&header(&[change])).unwrap_err();
            assert!(error.contains(why), "{why}: {error}");
        }
        assert!(check_header(&header(&[])[..40]).unwrap_err().contains("cut off"));
        assert!(check_header(b"QFI\xfb").is_err() && check_header(b"").is_err());
    }
}
