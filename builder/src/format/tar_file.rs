//! What archives with one or a few files share: a header without anything of this machine, and their end.

use std::io::{self, Read};

use tar::{EntryType, Header};

/// The unit of the format, in bytes.
pub const RECORD: u64 = 512;

/// A member of an archive.
#[derive(Debug, Clone, Copy)]
pub struct Member<'a> {
    pub kind: EntryType,
    pub name: &'a str,
    pub mode: u32,
    /// Its user and its group.
    pub owner: u64,
    /// Bytes behind the header.
    pub size: u64,
    /// Its time, seconds since 1970.
    pub epoch: u64,
}

impl Member<'_> {
    /// Fills in `header`, an empty one of the wanted kind of tar, with its checksum.
    ///
    /// # Errors
    /// When the name is too long.
    pub fn written_into(&self, mut header: Header) -> io::Result<Header> {
        header.set_path(self.name)?;
        header.set_entry_type(self.kind);
        header.set_mode(self.mode);
        header.set_uid(self.owner);
        header.set_gid(self.owner);
        header.set_mtime(self.epoch);
        header.set_size(self.size);
        header.set_cksum();
        Ok(header)
    }
}

/// What follows the last file, of this many bytes: zeros up to a whole record, and two records of them.
pub fn end(length: u64) -> impl Read {
    io::repeat(0).take(length.next_multiple_of(RECORD) - length + 2 * RECORD)
}
