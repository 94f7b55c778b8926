//! A zip archive (APPNOTE.TXT) as a tar, so that all rules for archives hold for it too.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use tar::{Builder, EntryType, Header};
use zip::ZipArchive;
use zip::read::ZipFile;
use zip::result::ZipError;

use super::{ENTRIES, bomb, path, refuse, unpack_limit};
use crate::error::{Error, ErrorKind, IoContext, Result};

/// The modes of members that have none: those of zip programs on Windows.
const FILE_MODE: u32 = 0o644;
const FOLDER_MODE: u32 = 0o755;
/// The longest target of a link.
const LINK: u64 = 4096;

/// Writes the members of the zip archive `path` to the tar `to`, each with the checksum that it says. Returns
/// the length of the tar.
pub(super) fn to_tar(path: &Path, title: &str, to: &mut File) -> Result<u64> {
    let file = File::open(path).at("opening", path)?;
    let length = file.metadata().at("reading", path)?.len();
    let limit = unpack_limit(length);
    let broken = |error: ZipError| broken(title, &error.into());
    let mut zip = ZipArchive::new(BufReader::new(file)).map_err(broken)?;
    if zip.len() > ENTRIES {
        let message = format!("archive {title}: it has more than {ENTRIES} entries");
        return Err(Error::new(ErrorKind::Archive, message).help("check where it comes from"));
    }
    let mut tar = Builder::new(Counted { inner: to, written: 0 });
    let mut content = 0_u64;
    for index in 0..zip.len() {
        let member = zip.by_index(index).map_err(broken)?;
        content = content.saturating_add(member.size());
        if content > limit {
            return Err(bomb(title, length, limit));
        }
        add(&mut tar, member, title)?;
    }
    let counted = tar.into_inner().map_err(|error| Error::io("writing", path, &error))?;
    Ok(counted.written)
}

fn add<W: Write>(tar: &mut Builder<W>, mut member: ZipFile<'_, BufReader<File>>, title: &str) -> Result<()> {
    let name = member.name_raw().to_vec();
    let fail = |reason: &str| refuse(title, &name, reason);
    if member.encrypted() {
        return Err(fail("it is encrypted"));
    }
    // Windows takes it for a separator, others for a character of the name.
    if name.contains(&b'\\') {
        return Err(fail("its name has a \"\\\""));
    }
    let path = path::clean(&name).map_err(|reason| fail(&reason))?;
    if path.is_empty() {
        return Ok(());
    }
    let size = member.size();
    let mut header = Header::new_gnu();
    let (kind, mode) = match () {
        () if member.is_dir() => (EntryType::Directory, FOLDER_MODE),
        () if member.is_symlink() => (EntryType::Symlink, 0o777),
        () => (EntryType::Regular, FILE_MODE),
    };
    header.set_entry_type(kind);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mode(member.unix_mode().map_or(mode, |mode| mode & 0o7777));
    header.set_size(if kind == EntryType::Regular { size } else { 0 });
    let unreadable = |error: &io::Error| broken(title, error);
    if kind == EntryType::Symlink {
        let mut target = String::new();
        let read = member.by_ref().take(LINK).read_to_string(&mut target);
        read.map_err(|error| unreadable(&error))?;
        return tar.append_link(&mut header, &path, &target).map_err(|error| unreadable(&error));
    }
    let mut body = Exactly { inner: member.by_ref(), left: header.size().unwrap_or_default() };
    tar.append_data(&mut header, &path, &mut body).map_err(|error| fail(&error.to_string()))?;
    match body.left {
        0 => Ok(()),
        _ => Err(fail("it is shorter than the archive says")),
    }
}

/// A body that may not be longer than it was said to be: a tar's header stands before it.
struct Exactly<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Exactly<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        match self.left.checked_sub(count as u64) {
            Some(left) => self.left = left,
            None => return Err(io::Error::other("it is longer than the archive says")),
        }
        Ok(count)
    }
}

struct Counted<'a> {
    inner: &'a mut File,
    written: u64,
}

impl Write for Counted<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(buffer)?;
        self.written += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn broken(title: &str, error: &io::Error) -> Error {
    Error::new(ErrorKind::Archive, format!("archive {title}: it cannot be unpacked: {error}"))
        .help("fetch it again: it was cut off or damaged")
}
