//! Reads archives from outside, which may be hostile.
//!
//! ```text
//! open: magic ─► [deb: data.tar inside ar] ─► unpack into a spool file (bounded) ─► members ─► path, link and size rules ─► strip, pick ─► tree
//! ```
//!
//! Bodies are not kept in memory: the archive is unpacked once into a tar on disk, and the tree refers to
//! slices of it.

pub mod deb;
mod extract;
pub(crate) mod members;
mod links;
pub(crate) mod path;
pub(crate) mod pax;
pub mod pattern;
mod unpack;
mod zip;
#[cfg(test)]
pub(crate) mod tests;

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

pub(crate) use extract::{check_root, hard_link, is_of_a_running_system};
pub(crate) use unpack::Unpacked;

use crate::definition::plan::ArchiveRules;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::tree::Tree;

/// The most bytes to which any archive may unpack.
pub(crate) const UNPACKED_BYTES: u64 = 8 << 30;
/// The bytes to which an archive of any length may unpack: small archives may be mostly zeros.
const UNPACKED_FREE: u64 = 64 << 20;
/// The highest ratio for larger archives. Real ones stay below 20; a gzip bomb has 1000, nested ones more.
const UNPACKED_RATIO: u64 = 200;
/// The most members in an archive.
pub(crate) const ENTRIES: usize = 1_000_000;

/// How a tar is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packing {
    Plain,
    Bzip2,
    Gzip,
    Xz,
    Zstd,
    /// An archive of its own form, of which a tar is made.
    Zip,
}

/// An archive of a known form.
#[derive(Debug)]
pub struct Archive {
    path: PathBuf,
    title: String,
    packing: Packing,
    /// Whether its root is the system's root (a Debian package). Absolute links then stay inside.
    rooted: bool,
    /// The position of the (compressed) tar in the file.
    start: u64,
    end: u64,
}

/// Extracts from the archive `path` what `rules` ask for; `title` names it in errors. The returned tree
/// refers to a new file in `spool_dir` or to `path` itself. Both must stay unchanged while the tree exists.
///
/// # Errors
/// [`ErrorKind::Archive`] if the archive is broken or hostile; [`ErrorKind::Definition`] if the rules select
/// nothing.
pub fn extract(path: &Path, rules: &ArchiveRules, title: &str, spool_dir: &Path) -> Result<Tree> {
    open(path, title)?.extract(rules, spool_dir)
}

/// Recognises an archive by its first bytes, never by its name.
pub fn open(path: &Path, title: &str) -> Result<Archive> {
    let path = std::path::absolute(path).at("resolving", path)?;
    let file = File::open(&path).at("opening", &path)?;
    let length = file.metadata().at("reading", &path)?.len();
    let head = head(&file, 0).at("reading", &path)?;
    let (start, end, rooted) = if deb::recognise(&head) {
        let data = deb::data(&file, length, title)?;
        (data.start, data.end, true)
    } else {
        (0, length, false)
    };
    let head = self::head(&file, start).at("reading", &path)?;
    let packing = packing(&head).ok_or_else(|| unknown(title, &head))?;
    Ok(Archive { path, title: title.to_owned(), packing, rooted, start, end })
}

/// The tree of a whole root file system in the tar `path`, which is not compressed: with its owners, modes
/// and extended attributes, and without what is below the kernel's own folders, `/run` and `/tmp`. It refers
/// to `path`, which must stay unchanged while the tree exists.
///
/// # Errors
/// [`ErrorKind::Archive`] if the archive is broken or hostile.
pub(crate) fn root(path: &Path, title: &str) -> Result<Tree> {
    let path = std::path::absolute(path).at("resolving", path)?;
    let end = path.metadata().at("reading", &path)?.len();
    Archive { path, title: title.to_owned(), packing: Packing::Plain, rooted: true, start: 0, end }.root()
}

/// The file `path` without compression: a new file in `spool_dir`, or `path` itself if it is not compressed.
///
/// # Errors
/// [`ErrorKind::Archive`] if it is broken, or unpacks to more than is sane.
pub(crate) fn plain(path: &Path, title: &str, spool_dir: &Path) -> Result<PathBuf> {
    let path = std::path::absolute(path).at("resolving", path)?;
    let file = File::open(&path).at("opening", &path)?;
    let end = file.metadata().at("reading", &path)?.len();
    let Some(packing) = compression(&head(&file, 0).at("reading", &path)?) else { return Ok(path) };
    let archive = Archive { path, title: title.to_owned(), packing, rooted: false, start: 0, end };
    let unpacked = unpack::unpack(&archive, spool_dir)?;
    let path = unpacked.path.clone();
    unpacked.keep()?;
    Ok(path)
}

/// The files of the package `path` (deb(5)) as a tar that is not compressed, in a new file in `spool_dir`
/// or in `path` itself.
///
/// # Errors
/// [`ErrorKind::Archive`] if it is broken, or unpacks to more than is sane.
pub(crate) fn package_files(path: &Path, title: &str, spool_dir: &Path) -> Result<Unpacked> {
    unpack::unpack(&open(path, title)?, spool_dir)
}

/// Copies what a tool unpacks from the file `packed` into a new file in `spool_dir`, which is returned.
///
/// # Errors
/// [`ErrorKind::Archive`] if it is more than `packed` may unpack to.
pub(crate) fn spool(from: &mut dyn Read, packed: &Path, title: &str, spool_dir: &Path) -> Result<PathBuf> {
    unpack::spool(from, packed, title, spool_dir)
}

/// Whether a file that begins with `head` is a tar.
pub(crate) fn is_tar(head: &[u8]) -> bool {
    head.get(..512)
        .is_some_and(|head| &head[257..262] == b"ustar" || members::has_checksum(head))
}

/// An error about one entry of an archive.
pub(crate) fn refuse(title: &str, entry: &[u8], reason: &str) -> Error {
    let shown = &entry[..entry.len().min(200)];
    Error::new(
        ErrorKind::Archive,
        format!("archive {title}: entry \"{}\": {reason}", String::from_utf8_lossy(shown).escape_debug()),
    )
    .help("nothing of this archive was used; check where it comes from")
}

/// The most bytes to which an archive of `length` bytes may unpack.
fn unpack_limit(length: u64) -> u64 {
    UNPACKED_BYTES.min(UNPACKED_FREE.max(length.saturating_mul(UNPACKED_RATIO)))
}

/// The error for an archive that unpacks to more than the limit.
fn bomb(title: &str, length: u64, limit: u64) -> Error {
    Error::new(
        ErrorKind::Archive,
        format!("archive {title}: its {length} bytes unpack to more than {limit}: it looks like a decompression bomb"),
    )
    .help("nothing of this archive was used; check where it comes from")
}

fn head(file: &File, start: u64) -> std::io::Result<Vec<u8>> {
    let mut head = vec![0; 512];
    let mut filled = 0;
    while filled < head.len() {
        match file.read_at(&mut head[filled..], start + filled as u64)? {
            0 => break,
            count => filled += count,
        }
    }
    head.truncate(filled);
    Ok(head)
}

fn packing(head: &[u8]) -> Option<Packing> {
    // The first member, or the end of an archive without any.
    if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
        return Some(Packing::Zip);
    }
    compression(head).or_else(|| is_tar(head).then_some(Packing::Plain))
}

fn compression(head: &[u8]) -> Option<Packing> {
    match head {
        [b'B', b'Z', b'h', ..] => Some(Packing::Bzip2),
        [0x1f, 0x8b, ..] => Some(Packing::Gzip),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Packing::Xz),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Packing::Zstd),
        _ => None,
    }
}

fn unknown(title: &str, head: &[u8]) -> Error {
    let looks = match head {
        [] => "it is empty",
        [b'<', ..] => "it looks like a web page",
        _ => "its first bytes are unknown",
    };
    Error::new(ErrorKind::Archive, format!("{title} is no archive that can be read: {looks}")).help(
        "tar, tar.bz2, tar.gz, tar.xz, tar.zst, zip and .deb are read; use a file artifact for anything else",
    )
}
