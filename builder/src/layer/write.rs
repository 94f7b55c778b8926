//! The deterministic tar writer: the same tree always gives the same bytes, on any machine.
//!
//! It writes ustar headers (POSIX.1-1988), and pax records (POSIX.1-2001) only for what ustar cannot
//! represent: long or non-ASCII names, ids above 2097151, files of 8 GiB and more, extended attributes.
//! Entries are sorted by path, all have the same time and no owner names, and two zero blocks end the tar.

use std::io::Write;
use std::path::Path;

use tar::{EntryType, Header};

use crate::archive::members::BLOCK;
use crate::archive::pax::XATTR_PREFIX;
use crate::error::{IoContext, Result};
use crate::tree::contents::Contents;
use crate::tree::{Entry, Node, Tree};

/// Largest value of the 8-byte octal fields (ids).
const SMALL_OCTAL: u64 = 0o777_7777;
/// Largest value of the 12-byte octal fields (size, time).
const LARGE_OCTAL: u64 = 0o777_7777_7777;
const NAME_FIELD: usize = 100;
const PREFIX_FIELD: usize = 155;
const ZEROS: [u8; BLOCK as usize] = [0; BLOCK as usize];

/// How a link's target is written that a header has no room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LongLinks {
    /// As a pax record.
    Pax,
    /// As a member of GNU tar's own, before the link.
    Gnu,
}

/// Writes `tree` as a tar in which everything carries the time `epoch` (seconds since 1970).
///
/// # Errors
/// [`crate::error::ErrorKind::Io`] if a body cannot be read or `to` cannot be written.
pub fn write_tar(tree: &Tree, epoch: u64, to: impl Write) -> Result<()> {
    write(tree, epoch, LongLinks::Pax, to)
}

/// The same for mksquashfs, which takes the slash from the beginning of a link's target in a pax record (seen
/// with 4.5.1).
///
/// # Errors
/// Those of [`write_tar`].
pub fn write_tar_for_squashfs(tree: &Tree, epoch: u64, to: impl Write) -> Result<()> {
    write(tree, epoch, LongLinks::Gnu, to)
}

fn write(tree: &Tree, epoch: u64, long_links: LongLinks, to: impl Write) -> Result<()> {
    let mut writer = Writer { to, epoch, long_links, contents: Contents::default() };
    for (path, entry) in &tree.entries {
        writer.entry(path, entry)?;
    }
    writer.write("the end mark", &[ZEROS, ZEROS].concat())?;
    writer.to.flush().at("writing", "the end of the tar")
}

struct Writer<W> {
    to: W,
    epoch: u64,
    long_links: LongLinks,
    contents: Contents,
}

impl<W: Write> Writer<W> {
    fn entry(&mut self, path: &str, entry: &Entry) -> Result<()> {
        let (kind, name, link, size) = match &entry.node {
            Node::Directory => (EntryType::Directory, format!("{path}/"), "", 0),
            Node::File(body) => (EntryType::Regular, path.to_owned(), "", body.len()),
            Node::Symlink(target) => (EntryType::Symlink, path.to_owned(), target.as_str(), 0),
        };
        let mut header = self.header(kind, entry.mode, size);
        let mut records = Records::default();
        set_name(&mut header, &name, &mut records);
        self.link(path, &mut header, link, &mut records)?;
        let narrow = |value: u64, largest: u64, key: &str, records: &mut Records| {
            if value > largest {
                records.add(key, value.to_string().as_bytes());
                return 0;
            }
            value
        };
        header.set_uid(narrow(u64::from(entry.uid), SMALL_OCTAL, "uid", &mut records));
        header.set_gid(narrow(u64::from(entry.gid), SMALL_OCTAL, "gid", &mut records));
        header.set_size(narrow(size, LARGE_OCTAL, "size", &mut records));
        header.set_mtime(narrow(self.epoch, LARGE_OCTAL, "mtime", &mut records));
        for (name, value) in &entry.xattrs {
            records.add(&format!("{XATTR_PREFIX}{name}"), value);
        }
        self.records(path, records)?;
        self.finish_header(path, header)?;
        if let Node::File(body) = &entry.node {
            self.contents.copy(body, &mut self.to, &|| format!("{path} into the layer"))?;
            self.pad(path, body.len())?;
        }
        Ok(())
    }

    fn header(&self, kind: EntryType, mode: u32, size: u64) -> Header {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(size.min(LARGE_OCTAL));
        header.set_mtime(self.epoch.min(LARGE_OCTAL));
        header
    }

    fn link(&mut self, path: &str, header: &mut Header, target: &str, records: &mut Records) -> Result<()> {
        if target.len() <= NAME_FIELD && target.is_ascii() {
            set_bytes(&mut header.as_old_mut().linkname, target.as_bytes());
            return Ok(());
        }
        set_bytes(&mut header.as_old_mut().linkname, b"long");
        match self.long_links {
            LongLinks::Pax => records.add("linkpath", target.as_bytes()),
            LongLinks::Gnu => self.gnu_link(path, target)?,
        }
        Ok(())
    }

    /// GNU tar's "././@LongLink": the target and a NUL.
    fn gnu_link(&mut self, path: &str, target: &str) -> Result<()> {
        let body = [target.as_bytes(), b"\0"].concat();
        let size = body.len() as u64;
        let mut header = self.header(EntryType::GNULongLink, 0o644, size);
        set_bytes(&mut header.as_old_mut().name, b"././@LongLink");
        self.finish_header(path, header)?;
        self.write(path, &body)?;
        self.pad(path, size)
    }

    fn records(&mut self, path: &str, records: Records) -> Result<()> {
        if records.0.is_empty() {
            return Ok(());
        }
        let size = records.0.len() as u64;
        let mut header = self.header(EntryType::XHeader, 0o644, size);
        // Only readers without pax support show this name.
        set_bytes(&mut header.as_old_mut().name, b"PaxHeaders");
        self.finish_header(path, header)?;
        self.write(path, &records.0)?;
        self.pad(path, size)
    }

    fn finish_header(&mut self, path: &str, mut header: Header) -> Result<()> {
        header.set_cksum();
        self.write(path, header.as_bytes())
    }

    fn pad(&mut self, path: &str, size: u64) -> Result<()> {
        let padding = size.next_multiple_of(BLOCK) - size;
        self.write(path, &ZEROS[..padding as usize])
    }

    fn write(&mut self, path: &str, bytes: &[u8]) -> Result<()> {
        self.to.write_all(bytes).at("writing", Path::new(&format!("{path} into the layer")))
    }
}

/// pax records: `LENGTH KEY=VALUE\n`, where LENGTH counts itself.
#[derive(Default)]
struct Records(Vec<u8>);

impl Records {
    fn add(&mut self, key: &str, value: &[u8]) {
        // A space, an equals sign and a line end, plus the digits of the length itself, which may need one
        // digit more.
        let rest = key.len() + value.len() + 3;
        let mut length = rest + rest.to_string().len();
        if length.to_string().len() > rest.to_string().len() {
            length = rest + length.to_string().len();
        }
        self.0.extend_from_slice(format!("{length} {key}=").as_bytes());
        self.0.extend_from_slice(value);
        self.0.push(b'\n');
    }
}

fn set_name(header: &mut Header, name: &str, records: &mut Records) {
    let Some(split) = split(name) else {
        records.add("path", name.as_bytes());
        return set_bytes(&mut header.as_old_mut().name, b"long");
    };
    let Some(ustar) = header.as_ustar_mut() else { return };
    let (prefix, rest) = split;
    set_bytes(&mut ustar.prefix, prefix.as_bytes());
    set_bytes(&mut ustar.name, rest.as_bytes());
}

/// Prefix and name as ustar stores them, if they fit. ASCII only, because ustar does not define other
/// characters.
fn split(name: &str) -> Option<(&str, &str)> {
    if !name.is_ascii() {
        return None;
    }
    if name.len() <= NAME_FIELD {
        return Some(("", name));
    }
    let fits = |slash: &usize| {
        *slash <= PREFIX_FIELD && name.len() - slash - 1 <= NAME_FIELD && slash + 1 < name.len()
    };
    let slash = name.match_indices('/').map(|(slash, _)| slash).find(fits)?;
    Some((&name[..slash], &name[slash + 1..]))
}

fn set_bytes(field: &mut [u8], value: &[u8]) {
    field[..value.len()].copy_from_slice(value);
    field[value.len()..].fill(0);
}
