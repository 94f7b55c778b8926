//! Reads the members of a tar (POSIX.1-2001 pax, ustar, GNU long names) in a file, without reading their
//! bodies.
//!
//! The `tar` crate decodes the headers. This module walks them, because extension headers must not be read
//! into memory without a limit, and because a member that two readers could understand differently must be an
//! error.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use tar::{EntryType, Header};

use super::pax::Extensions;
use super::refuse;
use crate::error::{Error, ErrorKind, IoContext, Result};

/// Bytes in a block of a tar.
pub(crate) const BLOCK: u64 = 512;
/// Largest extension header (long name, pax records) in bytes. The longest legal path takes 4 KiB, an
/// extended attribute 64 KiB.
const EXTENSION_BYTES: u64 = 1 << 20;

/// The kinds of members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    Symlink(Vec<u8>),
    Hardlink(Vec<u8>),
    /// Character or block device.
    Device,
    Fifo,
}

/// A member as the tar describes it. The only check is that the body is inside the file.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) path: Vec<u8>,
    pub(crate) kind: Kind,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Where the body starts in the file.
    pub(crate) offset: u64,
    /// Length of the body in bytes.
    pub(crate) size: u64,
    pub(crate) xattrs: Vec<(String, Vec<u8>)>,
}

/// A tar in a file, or in a part of it.
#[derive(Debug)]
pub(crate) struct Members<'a> {
    file: File,
    path: PathBuf,
    title: &'a str,
    position: u64,
    end: u64,
}

impl<'a> Members<'a> {
    /// The members of the tar that occupies bytes `start` to `end` of the file `path`; `title` names it in
    /// errors.
    pub(crate) fn open(path: &Path, start: u64, end: u64, title: &'a str) -> Result<Self> {
        Ok(Self {
            file: File::open(path).at("opening", path)?,
            path: path.to_owned(),
            title,
            position: start,
            end,
        })
    }

    /// The next member; `None` after the end mark.
    pub(crate) fn next(&mut self) -> Result<Option<Member>> {
        let mut extensions = Extensions::default();
        loop {
            let Some(header) = self.header()? else {
                return if extensions.is_empty() {
                    Ok(None)
                } else {
                    Err(self.broken("it ends after an extension header"))
                };
            };
            let size = header.entry_size().map_err(|_| self.refuse(&header, "its size is not a number"))?;
            let kind = header.entry_type();
            if !is_extension(kind) {
                return self.member(&header, extensions).map(Some);
            }
            let body = self.extension(&header, size)?;
            let accepted = match kind {
                EntryType::GNULongName => extensions.long_name(body),
                EntryType::GNULongLink => extensions.long_link(body),
                EntryType::XGlobalHeader => Extensions::check_global(&body),
                _ => extensions.pax(&body),
            };
            accepted.map_err(|reason| self.refuse(&header, &reason))?;
        }
    }

    fn header(&mut self) -> Result<Option<Header>> {
        let mut block = [0; BLOCK as usize];
        match self.end - self.position {
            0 => return Err(self.broken("it ends without the end mark: it was cut off")),
            left if left < BLOCK => {
                return Err(self.broken("it ends in the middle of a header: it was cut off"));
            }
            _ => self.file.read_exact_at(&mut block, self.position).at("reading", &self.path)?,
        }
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        self.position += BLOCK;
        let header = Header::from_byte_slice(&block).clone();
        match header.cksum() {
            Ok(stated) if stated == checksum(&block) => Ok(Some(header)),
            _ => {
                Err(self.broken(&format!("no tar header at byte {}: wrong checksum", self.position - BLOCK)))
            }
        }
    }

    fn extension(&mut self, header: &Header, size: u64) -> Result<Vec<u8>> {
        if size > EXTENSION_BYTES {
            return Err(self.refuse(
                header,
                &format!("an extension header of {size} bytes; {EXTENSION_BYTES} are allowed"),
            ));
        }
        let offset = self.body(size).map_err(|reason| self.refuse(header, &reason))?;
        let mut body = vec![0; size as usize];
        self.file.read_exact_at(&mut body, offset).at("reading", &self.path)?;
        Ok(body)
    }

    /// Skips a body of `size` bytes and returns its start.
    fn body(&mut self, size: u64) -> Result<u64, String> {
        let left = self.end - self.position;
        let padded = size.checked_next_multiple_of(BLOCK).filter(|padded| *padded <= left);
        let Some(padded) = padded else {
            return Err(format!("it says that it has {size} bytes, but the archive ends after {left}"));
        };
        let offset = self.position;
        self.position += padded;
        Ok(offset)
    }

    fn member(&mut self, header: &Header, extensions: Extensions) -> Result<Member> {
        let stated = |value: std::io::Result<u64>, what: &str| {
            value.map_err(|_| self.refuse(header, &format!("its {what} is not a number")))
        };
        let size = extensions.size.map_or_else(|| stated(header.entry_size(), "size"), Ok)?;
        let uid = extensions.uid.map_or_else(|| stated(header.uid(), "owner"), Ok)?;
        let gid = extensions.gid.map_or_else(|| stated(header.gid(), "group"), Ok)?;
        let mode = stated(header.mode().map(u64::from), "mode")? as u32 & 0o7777;
        let path = extensions.path.unwrap_or_else(|| header.path_bytes().into_owned());
        let link = extensions
            .link
            .or_else(|| header.link_name_bytes().map(|link| link.into_owned()))
            .unwrap_or_default();
        let fail = |reason: &str| refuse(self.title, &path, reason);
        let kind = kind(header.entry_type(), &path, link).map_err(|reason| fail(&reason))?;
        if kind != Kind::File && size != 0 {
            return Err(fail(&format!("it has a body of {size} bytes, but it is not a file")));
        }
        let narrow = |id: u64| u32::try_from(id).map_err(|_| fail(&format!("owner {id} is out of range")));
        let (uid, gid) = (narrow(uid)?, narrow(gid)?);
        let offset = self.body(size).map_err(|reason| refuse(self.title, &path, &reason))?;
        Ok(Member { path, kind, mode, uid, gid, offset, size, xattrs: extensions.xattrs })
    }

    fn refuse(&self, header: &Header, reason: &str) -> Error {
        refuse(self.title, &header.path_bytes(), reason)
    }

    fn broken(&self, reason: &str) -> Error {
        Error::new(ErrorKind::Archive, format!("archive {}: {reason}", self.title))
            .help("fetch it again; when it stays so, upstream's file is broken")
    }
}

const fn is_extension(kind: EntryType) -> bool {
    matches!(
        kind,
        EntryType::GNULongName | EntryType::GNULongLink | EntryType::XHeader | EntryType::XGlobalHeader
    )
}

fn kind(stated: EntryType, path: &[u8], link: Vec<u8>) -> Result<Kind, String> {
    let folder = path.ends_with(b"/");
    Ok(match stated {
        EntryType::Directory => Kind::Directory,
        // Readers disagree here: some create a folder, as Unix version 7 did.
        EntryType::Regular | EntryType::Continuous if folder => {
            return Err("it is a file whose name ends in a slash".into());
        }
        EntryType::Regular | EntryType::Continuous => Kind::File,
        EntryType::Symlink => Kind::Symlink(link),
        EntryType::Link => Kind::Hardlink(link),
        EntryType::Char | EntryType::Block => Kind::Device,
        EntryType::Fifo => Kind::Fifo,
        EntryType::GNUSparse => return Err("it is a sparse file, which is not supported".into()),
        other => return Err(format!("its type {:?} is unknown", char::from(other.as_byte()))),
    })
}

/// The sum of all bytes with the checksum field itself read as spaces (POSIX ustar).
fn checksum(block: &[u8; BLOCK as usize]) -> u32 {
    block
        .iter()
        .enumerate()
        .map(|(index, byte)| if (148..156).contains(&index) { u32::from(b' ') } else { u32::from(*byte) })
        .sum()
}

/// Whether `block` is a tar header by its checksum: tars from before ustar have no magic.
pub(super) fn has_checksum(block: &[u8]) -> bool {
    let Ok(block) = <&[u8; BLOCK as usize]>::try_from(block) else { return false };
    Header::from_byte_slice(block)
        .cksum()
        .is_ok_and(|stated| stated != 0 && stated == checksum(block))
}
