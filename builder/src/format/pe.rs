//! Adds sections to a PE image, as unified kernel images consist of: Microsoft's "PE Format", and the UAPI
//! group's "Unified Kernel Image".

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

/// A section to be added.
pub struct Section<'a> {
    /// At most eight letters.
    pub name: &'static str,
    /// How many bytes `content` gives.
    pub length: u64,
    /// Its bytes.
    pub content: Box<dyn Read + 'a>,
}

/// The machine of a PE image for x86-64.
pub const AMD64: u16 = 0x8664;
/// The machine of a PE image for AArch64.
pub const ARM64: u16 = 0xaa64;

/// Data that is read and not changed (`IMAGE_SCN_CNT_INITIALIZED_DATA | IMAGE_SCN_MEM_READ`).
const READ_ONLY_DATA: u32 = 0x4000_0040;
/// Length of a row of the table of sections.
const ROW: usize = 40;

/// Offsets in the headers.
const START: usize = 0x3c;
const SECTIONS: usize = 6;
const OPTIONAL_LENGTH: usize = 20;
const OPTIONAL: usize = 24;
/// Offsets in the optional header of 64-bit images.
const INITIALIZED: usize = 8;
const SECTION_ALIGNMENT: usize = 32;
const FILE_ALIGNMENT: usize = 36;
const IMAGE_LENGTH: usize = 56;
const HEADERS_LENGTH: usize = 60;
const CHECKSUM: usize = 64;
const PE32_PLUS: u16 = 0x20b;

/// Writes the image `stub` with `sections` behind its own into the empty file `to`.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] when the stub is no PE image, has no room for more sections, or all would
/// be larger than 4 GiB; else `to`'s or a section's.
pub fn extend(stub: &[u8], sections: Vec<Section<'_>>, to: &mut File) -> io::Result<()> {
    let mut headers = Headers::parse(stub).ok_or_else(|| invalid("this is no PE image for 64 bits"))?;
    let mut place = (stub.len() as u64).next_multiple_of(headers.file_alignment);
    to.write_all(stub)?;
    for mut section in sections {
        let on_disk = section.length.next_multiple_of(headers.file_alignment);
        headers.add(section.name, section.length, place, on_disk)?;
        to.seek(SeekFrom::Start(place))?;
        let written = io::copy(&mut section.content, to)?;
        if written != section.length {
            return Err(invalid(&format!("{} has another length than announced", section.name)));
        }
        place += on_disk;
    }
    to.set_len(place)?;
    to.seek(SeekFrom::Start(0))?;
    to.write_all(&headers.bytes)
}

/// The machine that a PE image is for; `None` if it is none.
///
/// # Errors
/// When reading fails.
pub fn machine(image: impl Read) -> io::Result<Option<u16>> {
    const HEAD: u64 = 4 << 10;
    let mut head = Vec::new();
    image.take(HEAD).read_to_end(&mut head)?;
    let find = || {
        let start = head.get(START..START + 4).filter(|_| head.starts_with(b"MZ"))?;
        let start = u32::from_le_bytes(start.try_into().ok()?) as usize;
        let machine = head.get(start..start.checked_add(6)?)?.strip_prefix(b"PE\0\0")?;
        Some(u16::from_le_bytes(machine.try_into().ok()?))
    };
    Ok(find())
}

/// The contents of all sections of this name, of an image of which `read` gives bytes by place and length, at
/// most as many as there are. There are none if it is no PE image at all.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] if one has more than `longest` bytes; else `read`'s.
pub fn sections(
    read: impl Fn(u64, u64) -> io::Result<Vec<u8>>,
    name: &str,
    longest: u64,
) -> io::Result<Vec<Vec<u8>>> {
    const HEAD: u64 = 64 << 10;
    /// In a row: the length in memory and where the bytes are.
    const LENGTH: usize = 8;
    const PLACE: usize = 20;
    let head = read(0, HEAD)?;
    let number = |at: usize, count: usize| -> Option<u64> {
        let bytes = head.get(at..at.checked_add(count)?)?;
        Some(bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    };
    let table = || -> Option<(usize, usize)> {
        let start = usize::try_from(number(START, 4)?).ok()?;
        (head.get(start..start.checked_add(4)?)? == b"PE\0\0").then_some(())?;
        let (count, optional) = (number(start + SECTIONS, 2)?, number(start + OPTIONAL_LENGTH, 2)?);
        Some((start + OPTIONAL + usize::try_from(optional).ok()?, usize::try_from(count).ok()?))
    };
    let place = |row: usize| -> Option<(u64, u64)> {
        let own = head.get(row..row + 8)?.split(|byte| *byte == 0).next()?;
        (own == name.as_bytes()).then_some(())?;
        Some((number(row + PLACE, 4)?, number(row + LENGTH, 4)?))
    };
    let (table, count) = table().unwrap_or_default();
    let mut found = Vec::new();
    for (start, length) in (0..count).filter_map(|row| place(table + row * ROW)) {
        if length > longest {
            return Err(invalid(&format!("{name} has {length} bytes, and {longest} are read")));
        }
        found.push(read(start, length)?);
    }
    Ok(found)
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// The headers of an image, up to its first section.
struct Headers {
    bytes: Vec<u8>,
    /// Where they begin, and the optional ones.
    start: usize,
    optional: usize,
    /// Where the table of sections begins.
    table: usize,
    file_alignment: u64,
    section_alignment: u64,
    /// Where the next section comes in memory.
    next: u64,
}

impl Headers {
    fn parse(stub: &[u8]) -> Option<Self> {
        if !stub.starts_with(b"MZ") {
            return None;
        }
        let start = u32_at(stub, START)? as usize;
        let optional = start.checked_add(OPTIONAL)?;
        let is_pe = stub.get(start..start + 4)? == b"PE\0\0" && u16_at(stub, optional)? == PE32_PLUS;
        let length = u32_at(stub, optional + HEADERS_LENGTH)? as usize;
        let table = optional + usize::from(u16_at(stub, start + OPTIONAL_LENGTH)?);
        let alignment = |at: usize| {
            let value = u64::from(u32_at(stub, optional + at)?);
            value.is_power_of_two().then_some(value)
        };
        let (file_alignment, section_alignment) = (alignment(FILE_ALIGNMENT)?, alignment(SECTION_ALIGNMENT)?);
        let next = u64::from(u32_at(stub, optional + IMAGE_LENGTH)?).next_multiple_of(section_alignment);
        let bytes = stub.get(..length)?.to_vec();
        is_pe.then_some(Self { bytes, start, optional, table, file_alignment, section_alignment, next })
    }

    fn add(&mut self, name: &str, length: u64, place: u64, on_disk: u64) -> io::Result<()> {
        let count = u16_at(&self.bytes, self.start + SECTIONS).unwrap_or(0);
        let at = self.table + ROW * usize::from(count);
        let is_free = self.bytes.get(at..at + ROW).is_some_and(|row| row.iter().all(|byte| *byte == 0));
        if !is_free {
            return Err(invalid("its headers have no room for another section"));
        }
        let small = |value: u64| u32::try_from(value).map_err(|_| invalid("it would be larger than 4 GiB"));
        let fields =
            [small(length)?, small(self.next)?, small(on_disk)?, small(place)?, 0, 0, 0, READ_ONLY_DATA];
        let mut row = [0; ROW];
        row[..name.len()].copy_from_slice(name.as_bytes());
        for (field, value) in row[8..].chunks_mut(4).zip(fields) {
            field.copy_from_slice(&value.to_le_bytes());
        }
        self.bytes[at..at + ROW].copy_from_slice(&row);
        self.bytes[self.start + SECTIONS..][..2].copy_from_slice(&(count + 1).to_le_bytes());
        self.next = (self.next + length).next_multiple_of(self.section_alignment);
        let data = u64::from(u32_at(&self.bytes, self.optional + INITIALIZED).unwrap_or(0)) + on_disk;
        for (at, value) in [(INITIALIZED, small(data)?), (IMAGE_LENGTH, small(self.next)?), (CHECKSUM, 0)] {
            self.bytes[self.optional + at..][..4].copy_from_slice(&value.to_le_bytes());
        }
        Ok(())
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stub with one section and headers of `headers` bytes.
    fn stub(headers: usize) -> Vec<u8> {
        let mut bytes = vec![0; headers];
        bytes[..2].copy_from_slice(b"MZ");
        bytes[START] = 0x40;
        bytes[0x40..0x44].copy_from_slice(b"PE\0\0");
        bytes[0x44..0x46].copy_from_slice(&AMD64.to_le_bytes());
        bytes[0x40 + SECTIONS] = 1;
        bytes[0x40 + OPTIONAL_LENGTH] = 240;
        let optional = 0x40 + OPTIONAL;
        bytes[optional..optional + 2].copy_from_slice(&PE32_PLUS.to_le_bytes());
        for (at, value) in [
            (SECTION_ALIGNMENT, 4096_u32),
            (FILE_ALIGNMENT, 512),
            (IMAGE_LENGTH, 0x2000),
            (HEADERS_LENGTH, headers as u32),
        ] {
            bytes[optional + at..][..4].copy_from_slice(&value.to_le_bytes());
        }
        let row = [&b".text\0\0\0"[..], &[1; 32]].concat();
        bytes[optional + 240..][..ROW].copy_from_slice(&row);
        bytes.extend(vec![7; 700]);
        bytes
    }

    fn section(name: &'static str, content: &'static [u8]) -> Section<'static> {
        Section { name, length: content.len() as u64, content: Box::new(content) }
    }

    fn extended(stub: &[u8], sections: Vec<Section<'_>>) -> io::Result<Vec<u8>> {
        let mut file = tempfile::tempfile().unwrap();
        extend(stub, sections, &mut file)?;
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(0))?;
        file.read_to_end(&mut bytes).map(|_| bytes)
    }

    #[test]
    fn sections_follow_the_stubs_in_the_file_and_in_memory() {
        let made =
            extended(&stub(1024), vec![section(".osrel", b"ID=x"), section(".linux", &[9; 5000])]).unwrap();
        let table = 0x40 + OPTIONAL + 240;
        let row = |index: usize| {
            let row = &made[table + index * ROW..][..ROW];
            let field = |at: usize| u32_at(row, at).unwrap();
            (&row[..6], field(8), field(12), field(16), field(20))
        };
        assert_eq!(u16_at(&made, 0x40 + SECTIONS), Some(3));
        assert_eq!(row(1), (&b".osrel"[..], 4, 0x2000, 512, 2048));
        assert_eq!(row(2), (&b".linux"[..], 5000, 0x3000, 5120, 2560));
        assert_eq!(u32_at(&made, 0x40 + OPTIONAL + IMAGE_LENGTH), Some(0x5000));
        assert_eq!((&made[2048..2052], &made[2560..2564], made.len()), (&b"ID=x"[..], &[9; 4][..], 7680));
        assert!(made[1024..1724].iter().all(|byte| *byte == 7), "the stub's own bytes");
    }

    #[test]
    fn what_cannot_be_extended_is_refused() {
        let none = |bytes: &[u8]| extended(bytes, vec![section(".osrel", b"x")]).unwrap_err().to_string();
        for wrong in [&b""[..], b"MZ", b"\x7fELF", &stub(1024)[..200]] {
            assert!(none(wrong).contains("no PE image"), "{wrong:?}");
        }
        assert!(none(&stub(0x40 + OPTIONAL + 240 + ROW + 8)).contains("no room"));
        let short = Section { length: 9, ..section(".osrel", b"x") };
        assert!(extended(&stub(1024), vec![short]).is_err());
        let huge = Section { length: 5 << 30, ..section(".osrel", b"x") };
        assert!(extended(&stub(1024), vec![huge]).unwrap_err().to_string().contains("4 GiB"));
    }
}
