//! The base block, the bins and the cells in them.

use crate::error::{Error, ErrorKind, Result};

/// Length of the base block, and the unit of a bin's length.
pub(super) const PAGE: usize = 4096;
/// Where the checksum of a base block is; it is that of all before it.
const CHECKSUM: usize = 508;
/// Length of a bin's header.
const BIN_HEADER: usize = 32;
/// No cell.
pub(super) const NONE: u32 = u32::MAX;
/// The largest hive: offsets have 31 bits. Windows itself stops at 2 GiB as well.
pub(super) const LARGEST: usize = 0x7fff_f000;

/// A hive's file. Offsets of cells count from the end of the base block.
#[derive(Debug, Clone)]
pub(super) struct Cells {
    bytes: Vec<u8>,
    /// A bit for each 8 bytes: whether an allocated cell begins there.
    allocated: Vec<u64>,
    /// The free cell at the end of the last bin that was added here: offset and length.
    room: Option<(usize, usize)>,
}

pub(super) fn broken(what: impl Into<String>) -> Error {
    Error::new(ErrorKind::Archive, format!("the registry hive is broken: {}", what.into()))
        .help("take the hive from an intact Windows image")
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_le_bytes)
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)
}

pub(super) fn put_u32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

impl Cells {
    /// Checks the base block, every bin and every cell; gives the offset of the root key too.
    pub fn read(mut bytes: Vec<u8>) -> Result<(Self, u32)> {
        if bytes.is_empty() {
            return Err(broken("it is empty"));
        }
        if !bytes.starts_with(b"regf") {
            return Err(broken("it does not begin with \"regf\""));
        }
        if bytes.len() < PAGE || bytes.len() > LARGEST {
            return Err(broken(format!("a file of {} bytes cannot be one", bytes.len())));
        }
        let field = |at: usize| u32_at(&bytes, at).unwrap_or_default();
        if field(4) != field(8) {
            return Err(Error::new(
                ErrorKind::Archive,
                "the registry hive is dirty: its sequence numbers differ, and its .LOG1 and .LOG2 files do not \
                 hold the changes that follow",
            )
            .help(
                "shut Windows down cleanly (not by fast startup or hibernation) before its image is taken",
            ));
        }
        if !is_sealed(&bytes) {
            return Err(broken("the checksum of its base block is wrong"));
        }
        let (major, minor) = (field(20), field(24));
        if major != 1 || !(3..=6).contains(&minor) {
            return Err(broken(format!("its version is {major}.{minor}, and 1.3 to 1.6 are known")));
        }
        if field(28) != 0 || field(32) != 1 {
            return Err(broken("it is not a primary file that was loaded into memory"));
        }
        let (root, length) = (field(36), field(40) as usize);
        if length == 0 || !length.is_multiple_of(PAGE) || length > bytes.len() - PAGE {
            return Err(broken(format!("its bins have {length} bytes, and its file {}", bytes.len())));
        }
        bytes.truncate(PAGE + length);
        let allocated = vec![0; (length / 8).div_ceil(64)];
        let mut cells = Self { bytes, allocated, room: None };
        cells.walk()?;
        Ok((cells, root))
    }

    /// An empty hive of version 1.5.
    pub fn new(time: u64) -> Self {
        let mut bytes = vec![0; PAGE];
        bytes[..4].copy_from_slice(b"regf");
        for (at, value) in [(4, 1), (8, 1), (20, 1), (24, 5), (32, 1), (44, 1)] {
            put_u32(&mut bytes, at, value);
        }
        bytes[12..20].copy_from_slice(&time.to_le_bytes());
        Self { bytes, allocated: Vec::new(), room: None }
    }

    /// The minor version of the format.
    pub fn minor(&self) -> u32 {
        u32_at(&self.bytes, 24).unwrap_or_default()
    }

    /// The length of the file.
    pub fn length(&self) -> usize {
        self.bytes.len()
    }

    pub fn set_root(&mut self, root: u32) {
        put_u32(&mut self.bytes, 36, root);
    }

    /// The whole file, its base block sealed.
    pub fn finish(mut self, time: u64) -> Vec<u8> {
        let length = (self.bytes.len() - PAGE) as u32;
        put_u32(&mut self.bytes, 40, length);
        self.bytes[12..20].copy_from_slice(&time.to_le_bytes());
        seal(&mut self.bytes);
        self.bytes
    }

    fn walk(&mut self) -> Result<()> {
        let mut bin = PAGE;
        while bin < self.bytes.len() {
            let offset = bin - PAGE;
            let header = &self.bytes[bin..];
            let (written, length) =
                (u32_at(header, 4).unwrap_or_default(), u32_at(header, 8).unwrap_or_default() as usize);
            if !header.starts_with(b"hbin") || written as usize != offset {
                return Err(broken(format!("there is no bin at {offset:#x}")));
            }
            if length == 0 || !length.is_multiple_of(PAGE) || length > header.len() {
                return Err(broken(format!("the bin at {offset:#x} has {length} bytes")));
            }
            self.walk_bin(bin, bin + length)?;
            bin += length;
        }
        Ok(())
    }

    fn walk_bin(&mut self, bin: usize, end: usize) -> Result<()> {
        let mut at = bin + BIN_HEADER;
        while at < end {
            let size = u32_at(&self.bytes, at).unwrap_or_default().cast_signed();
            let length = size.unsigned_abs() as usize;
            if length == 0 || !length.is_multiple_of(8) || length > end - at {
                return Err(broken(format!("the cell at {:#x} has {length} bytes", at - PAGE)));
            }
            if size < 0 {
                self.mark(at - PAGE, true);
            }
            at += length;
        }
        Ok(())
    }

    fn mark(&mut self, offset: usize, used: bool) {
        let (word, bit) = (offset / 8 / 64, offset / 8 % 64);
        if word >= self.allocated.len() {
            self.allocated.resize(word + 1, 0);
        }
        if used {
            self.allocated[word] |= 1 << bit;
        } else {
            self.allocated[word] &= !(1 << bit);
        }
    }

    fn is_allocated(&self, offset: usize) -> bool {
        let word = self.allocated.get(offset / 8 / 64).copied().unwrap_or_default();
        offset.is_multiple_of(8) && word & (1 << (offset / 8 % 64)) != 0
    }

    /// Where the content of a cell is in the file.
    fn place(&self, offset: u32) -> Result<std::ops::Range<usize>> {
        if !self.is_allocated(offset as usize) {
            return Err(broken(format!("no cell begins at {offset:#x}, where one is said to be")));
        }
        let at = offset as usize + PAGE;
        let size = u32_at(&self.bytes, at).unwrap_or_default().cast_signed();
        Ok(at + 4..at + size.unsigned_abs() as usize)
    }

    /// The content of a cell, with the bytes that fill it up.
    pub fn get(&self, offset: u32) -> Result<&[u8]> {
        self.place(offset).map(|place| &self.bytes[place])
    }

    pub fn get_mut(&mut self, offset: u32) -> Result<&mut [u8]> {
        let place = self.place(offset)?;
        Ok(&mut self.bytes[place])
    }

    /// Frees a cell, and overwrites it: what was replaced is not to be found in the file.
    pub fn free(&mut self, offset: u32) -> Result<()> {
        let place = self.place(offset)?;
        let (start, length) = (place.start - 4, place.end - place.start + 4);
        self.bytes[place].fill(0);
        put_u32(&mut self.bytes, start, length as u32);
        self.mark(offset as usize, false);
        Ok(())
    }

    /// A new cell with this content.
    pub fn add(&mut self, content: &[u8]) -> Result<u32> {
        let length = (content.len() + 4).next_multiple_of(8);
        let (offset, room) = match self.room {
            Some((offset, room)) if room >= length => (offset, room),
            _ => self.add_bin(length)?,
        };
        let at = offset + PAGE;
        put_u32(&mut self.bytes, at, (length as u32).cast_signed().wrapping_neg().cast_unsigned());
        self.bytes[at + 4..at + 4 + content.len()].copy_from_slice(content);
        self.mark(offset, true);
        self.room = (room > length).then_some((offset + length, room - length));
        if let Some((offset, room)) = self.room {
            put_u32(&mut self.bytes, offset + PAGE, room as u32);
        }
        Ok(offset as u32)
    }

    /// Adds a bin with room for a cell of `length` bytes; where that is, and how long.
    fn add_bin(&mut self, length: usize) -> Result<(usize, usize)> {
        let (bin, size) = (self.bytes.len(), (length + BIN_HEADER).next_multiple_of(PAGE));
        if bin + size > LARGEST {
            return Err(Error::new(ErrorKind::Archive, "the registry hive would be larger than 2 GiB"));
        }
        self.bytes.resize(bin + size, 0);
        self.bytes[bin..bin + 4].copy_from_slice(b"hbin");
        put_u32(&mut self.bytes, bin + 4, (bin - PAGE) as u32);
        put_u32(&mut self.bytes, bin + 8, size as u32);
        Ok((bin + BIN_HEADER - PAGE, size - BIN_HEADER))
    }
}

/// Writes the checksum of a base block, that of a hive or of its log file.
pub fn seal(bytes: &mut [u8]) {
    let sum = checksum(bytes);
    put_u32(bytes, CHECKSUM, sum);
}

/// Whether the checksum of a base block is right.
pub(super) fn is_sealed(bytes: &[u8]) -> bool {
    u32_at(bytes, CHECKSUM) == Some(checksum(bytes))
}

fn checksum(bytes: &[u8]) -> u32 {
    let words = bytes[..CHECKSUM].chunks_exact(4).filter_map(|word| u32_at(word, 0));
    match words.fold(0, |sum, word| sum ^ word) {
        0 => 1,
        u32::MAX => u32::MAX - 1,
        sum => sum,
    }
}
