//! Entries of a FAT folder: short names, long names, times.

use std::io;

use crate::determinism::Calendar;

/// Bytes of an entry.
pub const ENTRY: usize = 32;
/// UTF-16 units of a long name in one entry.
const LONG_UNITS: usize = 13;
/// Where these units stand in it.
const LONG_PLACES: [usize; LONG_UNITS] = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];

const ATTRIBUTE_LABEL: u8 = 0x08;
const ATTRIBUTE_FOLDER: u8 = 0x10;
const ATTRIBUTE_LONG: u8 = 0x0f;

/// The fields of an entry besides its name.
#[derive(Debug, Clone, Copy)]
pub struct Slot {
    /// Whether it is a folder.
    pub folder: bool,
    /// First cluster; 0 for the root folder and for empty files.
    pub first: u32,
    /// Length in bytes; 0 for folders.
    pub length: u32,
    /// Its time, 1980 to 2107.
    pub moment: Calendar,
}

impl Slot {
    /// The entry under an 8.3 name.
    pub fn short(&self, name: [u8; 11]) -> [u8; ENTRY] {
        entry(name, if self.folder { ATTRIBUTE_FOLDER } else { 0 }, self)
    }

    /// The entries under any name; `number` keeps 8.3 names in one folder apart.
    ///
    /// # Errors
    /// When the name cannot be on FAT.
    pub fn named(&self, name: &str, number: u32) -> io::Result<Vec<u8>> {
        let forbidden = |letter: char| letter.is_control() || "\"*/:<>?\\|".contains(letter);
        if name.is_empty()
            || name.contains(forbidden)
            || name.ends_with(['.', ' '])
            || name.encode_utf16().count() > 255
        {
            return Err(io::Error::new(
                io::ErrorKind::InvalidFilename,
                format!("\"{name}\" cannot be a name on FAT"),
            ));
        }
        let Some(short) = exact(name) else {
            let short = exact(&name.to_ascii_uppercase()).unwrap_or_else(|| alias(name, number));
            let mut bytes = long(name, checksum(&short));
            bytes.extend(self.short(short));
            return Ok(bytes);
        };
        Ok(self.short(short).to_vec())
    }
}

/// How many entries a name takes.
pub fn slots(name: &str) -> usize {
    if exact(name).is_some() { 1 } else { 1 + name.encode_utf16().count().div_ceil(LONG_UNITS) }
}

/// The volume's label, an entry of the root folder.
pub fn label(label: [u8; 11], moment: Calendar) -> [u8; ENTRY] {
    entry(label, ATTRIBUTE_LABEL, &Slot { folder: false, first: 0, length: 0, moment })
}

fn entry(name: [u8; 11], attributes: u8, slot: &Slot) -> [u8; ENTRY] {
    let Calendar { year, month, day, hour, minute, second } = slot.moment;
    let date = (((year - 1980) << 9) | (u16::from(month) << 5) | u16::from(day)).to_le_bytes();
    let time = ((u16::from(hour) << 11) | (u16::from(minute) << 5) | (u16::from(second) / 2)).to_le_bytes();
    let mut bytes = [0; ENTRY];
    bytes[..11].copy_from_slice(&name);
    bytes[11] = attributes;
    bytes[14..16].copy_from_slice(&time);
    bytes[16..18].copy_from_slice(&date);
    bytes[18..20].copy_from_slice(&date);
    bytes[20..22].copy_from_slice(&slot.first.to_le_bytes()[2..]);
    bytes[22..24].copy_from_slice(&time);
    bytes[24..26].copy_from_slice(&date);
    bytes[26..28].copy_from_slice(&slot.first.to_le_bytes()[..2]);
    bytes[28..].copy_from_slice(&slot.length.to_le_bytes());
    bytes
}

/// The 8.3 form of a name that has no other.
fn exact(name: &str) -> Option<[u8; 11]> {
    let (stem, extension) = name.split_once('.').unwrap_or((name, ""));
    let plain = |text: &str| text.bytes().all(plain_byte);
    let fits = (1..=8).contains(&stem.len()) && extension.len() <= 3 && !name.ends_with('.');
    (fits && plain(stem) && plain(extension)).then(|| padded(stem, extension))
}

/// An 8.3 name for a long name: its allowed letters, and a number.
fn alias(name: &str, number: u32) -> [u8; 11] {
    let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    let allowed = |text: &str, most: usize| {
        text.to_ascii_uppercase()
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .take(most)
            .collect::<String>()
    };
    let tail = format!("~{number}");
    let stem = allowed(stem, 8_usize.saturating_sub(tail.len())) + &tail;
    padded(&stem, &allowed(extension, 3))
}

fn plain_byte(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"$%'-_@~`!(){}^#&".contains(&byte)
}

fn padded(stem: &str, extension: &str) -> [u8; 11] {
    let mut name = [b' '; 11];
    name[..stem.len()].copy_from_slice(stem.as_bytes());
    name[8..8 + extension.len()].copy_from_slice(extension.as_bytes());
    name
}

/// Ties long names to their 8.3 entry.
fn checksum(short: &[u8; 11]) -> u8 {
    short.iter().fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte))
}

/// The entries of a long name, the last part first.
fn long(name: &str, checksum: u8) -> Vec<u8> {
    let mut units: Vec<u16> = name.encode_utf16().collect();
    if !units.len().is_multiple_of(LONG_UNITS) {
        units.push(0);
        units.resize(units.len().next_multiple_of(LONG_UNITS), 0xffff);
    }
    let count = units.len() / LONG_UNITS;
    let mut bytes = Vec::with_capacity(count * ENTRY);
    for (index, part) in units.chunks(LONG_UNITS).enumerate().rev() {
        let mut entry = [0; ENTRY];
        entry[0] = (index as u8 + 1) | if index + 1 == count { 0x40 } else { 0 };
        entry[11] = ATTRIBUTE_LONG;
        entry[13] = checksum;
        for (place, unit) in LONG_PLACES.iter().zip(part) {
            entry[*place..place + 2].copy_from_slice(&unit.to_le_bytes());
        }
        bytes.extend(entry);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOT: Slot = Slot {
        folder: false,
        first: 0x0001_0002,
        length: 3,
        moment: Calendar { year: 2020, month: 1, day: 2, hour: 3, minute: 4, second: 5 },
    };

    #[test]
    fn upper_case_names_of_8_and_3_need_one_entry() {
        let bytes = SLOT.named("BOOTX64.EFI", 1).unwrap();
        assert_eq!(bytes.len(), ENTRY);
        assert_eq!(&bytes[..12], b"BOOTX64 EFI\0");
        assert_eq!((bytes[20], bytes[26], bytes[28]), (1, 2, 3));
    }

    #[test]
    fn other_names_get_a_long_one_and_an_alias() {
        let bytes = SLOT.named("loader.conf", 7).unwrap();
        assert_eq!(bytes.len(), 2 * ENTRY);
        assert_eq!((bytes[0], bytes[1], bytes[11]), (0x41, b'l', ATTRIBUTE_LONG));
        assert_eq!(&bytes[ENTRY..ENTRY + 11], b"LOADER~7CON");
        assert_eq!(&SLOT.named("linux", 1).unwrap()[ENTRY..ENTRY + 11], b"LINUX      ");
        assert_eq!(
            SLOT.named("6.12.48+deb13-cloud-amd64", 1).unwrap().len(),
            slots("6.12.48+deb13-cloud-amd64") * ENTRY
        );
    }

    #[test]
    fn names_that_fat_forbids_are_errors() {
        for name in ["", "a:b", "a?", "dot.", "space ", "a\nb", &"x".repeat(256)] {
            assert!(SLOT.named(name, 1).is_err(), "{name:?}");
        }
    }
}
