//! Changes to keys and values.

use super::Hive;
use super::cells::{Cells, NONE, broken, u32_at};
use super::keys::{
    COMPRESSED_KEY, COMPRESSED_VALUE, INLINE, KEY_HEADER, Key, SEGMENT, VALUE_HEADER, ValueCell, parts,
};
use super::value::{self, Value};
use crate::error::{Error, ErrorKind, Result};

/// The flags of a hive's root key: it is one, it cannot be deleted, and its name is compressed.
const ROOT_KEY: u16 = 0x2c;
/// As many keys as Windows puts into one list, so that a list fits a page.
const LONGEST_LIST: usize = 500;
/// The longest name of a key.
const LONGEST_KEY_NAME: usize = 255;
/// The longest name of a value.
const LONGEST_VALUE_NAME: usize = 16383;

/// A self-relative security descriptor: of the administrators, who may do everything, as may the system.
/// `O:BAG:SYD:P(A;CI;KA;;;BA)(A;CI;KA;;;SY)` in SDDL.
const ADMINISTRATORS_AND_SYSTEM: &[u8] = &[
    1, 0, 4, 0x90, 72, 0, 0, 0, 88, 0, 0, 0, 0, 0, 0, 0, 20, 0, 0,
    0, // header: owner 72, group 88, list 20
    2, 0, 52, 0, 2, 0, 0, 0, // two entries
    0, 2, 24, 0, 0x3f, 0, 0xf, 0, 1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 32, 2, 0, 0, // S-1-5-32-544
    0, 2, 20, 0, 0x3f, 0, 0xf, 0, 1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0, // S-1-5-18
    1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 32, 2, 0, 0, // owner
    1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0, // group
];

/// A key in the list of its parent.
struct Child {
    name: String,
    folded: Vec<u16>,
    offset: u32,
}

impl Child {
    fn new(name: String, offset: u32) -> Self {
        Self { folded: value::folded(&name), name, offset }
    }
}

/// The root key of a new hive, with the security descriptor that all its keys have.
pub(super) fn first_key(cells: &mut Cells, name: &str, time: u64) -> u32 {
    let added = "a new hive has room";
    let mut security = b"sk\0\0".to_vec();
    for field in [0, 0, 1, ADMINISTRATORS_AND_SYSTEM.len() as u32] {
        security.extend(field.to_le_bytes());
    }
    security.extend(ADMINISTRATORS_AND_SYSTEM);
    let security = cells.add(&security).expect(added);
    // A ring of one.
    let links = cells.get_mut(security).expect(added);
    put(links, 4, security);
    put(links, 8, security);
    cells.add(&key_cell(name, ROOT_KEY, NONE, security, time)).expect(added)
}

fn key_cell(name: &str, flags: u16, parent: u32, security: u32, time: u64) -> Vec<u8> {
    let (name, compressed) = value::encode_name(name);
    let flags = if compressed { flags | COMPRESSED_KEY } else { flags & !COMPRESSED_KEY };
    let mut cell = vec![0; KEY_HEADER];
    cell[..2].copy_from_slice(b"nk");
    cell[2..4].copy_from_slice(&flags.to_le_bytes());
    cell[4..12].copy_from_slice(&time.to_le_bytes());
    for (at, field) in [(16, parent), (28, NONE), (32, NONE), (40, NONE), (44, security), (48, NONE)] {
        put(&mut cell, at, field);
    }
    cell[72..74].copy_from_slice(&(name.len() as u16).to_le_bytes());
    cell.extend(name);
    cell
}

fn put(cell: &mut [u8], at: usize, value: u32) {
    cell[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

fn refuse(what: String) -> Error {
    Error::new(ErrorKind::Definition, what).help("correct the name in the layer's [[registry]]")
}

impl Hive {
    /// Makes the key at `path`, with all above it.
    ///
    /// # Errors
    /// When a name cannot be one, or the hive is broken there.
    pub fn create_key(&mut self, path: &str) -> Result<()> {
        self.make(path).map(drop)
    }

    /// Sets a value; its key is made if it is missing.
    ///
    /// # Errors
    /// When a name cannot be one, or the hive is broken there.
    pub fn set(&mut self, path: &str, name: &str, value: &Value) -> Result<()> {
        if name.contains('\0') || name.encode_utf16().count() > LONGEST_VALUE_NAME {
            return Err(refuse(format!("no value can be named {name:?}")));
        }
        let (kind, bytes) = value.encode();
        let key = self.make(path)?;
        let old = self.value_cell(&key, name)?;
        if let Some(old) = &old {
            self.free_data(old)?;
        }
        let (length, data) = self.add_data(&bytes)?;
        match old {
            Some(old) => {
                let cell = self.cells.get_mut(old.offset)?;
                for (at, field) in [(4, length), (8, data), (12, kind)] {
                    put(cell, at, field);
                }
            }
            None => self.add_value(&key, name, (length, data, kind))?,
        }
        self.touch(key.offset, &[(60, utf16_length(name)), (64, bytes.len() as u32)])
    }

    /// Removes a value, if it is there.
    ///
    /// # Errors
    /// When the hive is broken there.
    pub fn remove_value(&mut self, path: &str, name: &str) -> Result<()> {
        let Some(key) = self.find(path)? else { return Ok(()) };
        let Some(cell) = self.value_cell(&key, name)? else { return Ok(()) };
        self.free_data(&cell)?;
        let mut offsets = self.value_offsets(&key)?;
        offsets.retain(|offset| *offset != cell.offset);
        self.cells.free(cell.offset)?;
        self.set_values(&key, &offsets)?;
        self.touch(key.offset, &[])
    }

    fn make(&mut self, path: &str) -> Result<Key> {
        let mut key = self.key(self.root)?;
        for name in parts(path) {
            key = match self.subkey(&key, name)? {
                Some(key) => key,
                None => self.add_key(&key, name)?,
            };
        }
        Ok(key)
    }

    /// A key below `parent`, with its security.
    fn add_key(&mut self, parent: &Key, name: &str) -> Result<Key> {
        if name.contains('\0') || name.encode_utf16().count() > LONGEST_KEY_NAME {
            return Err(refuse(format!("no registry key can be named {name:?}")));
        }
        let mut keys = Vec::new();
        for offset in self.subkey_offsets(parent)? {
            keys.push(Child::new(self.key(offset)?.name, offset));
        }
        self.hold_security(parent)?;
        let offset = self.cells.add(&key_cell(name, 0, parent.offset, parent.security, self.time))?;
        let child = Child::new(name.to_owned(), offset);
        let at = keys.partition_point(|other| other.folded < child.folded);
        keys.insert(at, child);
        for cell in self.subkey_list_cells(parent)? {
            self.cells.free(cell)?;
        }
        let list = self.add_subkey_lists(&keys)?;
        let cell = self.cells.get_mut(parent.offset)?;
        put(cell, 20, keys.len() as u32);
        put(cell, 28, list);
        self.touch(parent.offset, &[(52, utf16_length(name))])?;
        self.key(offset)
    }

    /// Counts one more user of the security descriptor of `key`.
    fn hold_security(&mut self, key: &Key) -> Result<()> {
        let wrong = || broken(format!("the key {} has no security descriptor", key.name));
        let cell = self.cells.get_mut(key.security)?;
        let users = u32_at(cell, 12).filter(|_| cell.starts_with(b"sk")).ok_or_else(wrong)?;
        put(cell, 12, users.saturating_add(1));
        Ok(())
    }

    fn add_subkey_lists(&mut self, keys: &[Child]) -> Result<u32> {
        let lists = keys.chunks(LONGEST_LIST).map(|keys| self.add_leaf(keys)).collect::<Result<Vec<_>>>()?;
        match lists.as_slice() {
            [one] => Ok(*one),
            lists => self.add_list(b"ri", lists),
        }
    }

    fn add_leaf(&mut self, keys: &[Child]) -> Result<u32> {
        let hashed = self.cells.minor() >= 5;
        let fields: Vec<u32> = keys
            .iter()
            .flat_map(|key| [key.offset, if hashed { hash(&key.folded) } else { hint(&key.name) }])
            .collect();
        let mut cell = if hashed { b"lh".to_vec() } else { b"lf".to_vec() };
        cell.extend((keys.len() as u16).to_le_bytes());
        cell.extend(fields.iter().flat_map(|field| field.to_le_bytes()));
        self.cells.add(&cell)
    }

    fn add_list(&mut self, kind: &[u8; 2], offsets: &[u32]) -> Result<u32> {
        let mut cell = kind.to_vec();
        cell.extend((offsets.len() as u16).to_le_bytes());
        cell.extend(offsets.iter().flat_map(|offset| offset.to_le_bytes()));
        self.cells.add(&cell)
    }

    fn add_value(&mut self, key: &Key, name: &str, (length, data, kind): (u32, u32, u32)) -> Result<()> {
        let (bytes, compressed) = value::encode_name(name);
        let mut cell = vec![0; VALUE_HEADER];
        cell[..2].copy_from_slice(b"vk");
        cell[2..4].copy_from_slice(&(bytes.len() as u16).to_le_bytes());
        for (at, field) in [(4, length), (8, data), (12, kind)] {
            put(&mut cell, at, field);
        }
        if compressed && !bytes.is_empty() {
            cell[16..18].copy_from_slice(&COMPRESSED_VALUE.to_le_bytes());
        }
        cell.extend(bytes);
        let offset = self.cells.add(&cell)?;
        let mut offsets = self.value_offsets(key)?;
        offsets.push(offset);
        self.set_values(key, &offsets)
    }

    fn set_values(&mut self, key: &Key, offsets: &[u32]) -> Result<()> {
        if key.values > 0 {
            self.cells.free(key.value_list)?;
        }
        let list: Vec<u8> = offsets.iter().flat_map(|offset| offset.to_le_bytes()).collect();
        let list = if list.is_empty() { NONE } else { self.cells.add(&list)? };
        let cell = self.cells.get_mut(key.offset)?;
        put(cell, 36, offsets.len() as u32);
        put(cell, 40, list);
        Ok(())
    }

    /// Adds data; their length and their offset, as a value's cell has them.
    fn add_data(&mut self, bytes: &[u8]) -> Result<(u32, u32)> {
        let length = bytes.len() as u32;
        if bytes.len() <= 4 {
            let mut inline = [0; 4];
            inline[..bytes.len()].copy_from_slice(bytes);
            return Ok((length | INLINE, u32::from_le_bytes(inline)));
        }
        if bytes.len() <= SEGMENT || self.cells.minor() < 4 {
            return Ok((length, self.cells.add(bytes)?));
        }
        let segments =
            bytes.chunks(SEGMENT).map(|chunk| self.cells.add(chunk)).collect::<Result<Vec<_>>>()?;
        let count = u16::try_from(segments.len())
            .map_err(|_| refuse(format!("no registry value can have {length} bytes")))?;
        let list: Vec<u8> = segments.iter().flat_map(|offset| offset.to_le_bytes()).collect();
        let list = self.cells.add(&list)?;
        let head = [b"db".as_slice(), &count.to_le_bytes(), &list.to_le_bytes(), &[0; 4]].concat();
        Ok((length, self.cells.add(&head)?))
    }

    fn free_data(&mut self, cell: &ValueCell) -> Result<()> {
        if cell.length & INLINE != 0 || cell.length == 0 {
            return Ok(());
        }
        if self.is_segmented(cell) {
            let list = u32_at(self.cells.get(cell.data)?, 4).unwrap_or(NONE);
            for segment in self.segments(cell)? {
                self.cells.free(segment)?;
            }
            self.cells.free(list)?;
        }
        self.cells.free(cell.data)
    }

    /// Sets the time of a key, and raises what it knows of its longest names and data.
    fn touch(&mut self, key: u32, longest: &[(usize, u32)]) -> Result<()> {
        let time = self.time;
        let cell = self.cells.get_mut(key)?;
        cell[4..12].copy_from_slice(&time.to_le_bytes());
        for (at, length) in longest {
            // The upper half of the length of a subkey's name holds flags.
            let (old, mask) =
                (u32_at(cell, *at).unwrap_or_default(), if *at == 52 { 0xffff } else { u32::MAX });
            put(cell, *at, (old & !mask) | (old & mask).max(*length));
        }
        Ok(())
    }
}

/// The length of a name in UTF-16, in bytes.
fn utf16_length(name: &str) -> u32 {
    name.encode_utf16().count() as u32 * 2
}

/// The hash of a folded name in a list `lh`.
fn hash(name: &[u16]) -> u32 {
    name.iter()
        .fold(0, |hash: u32, unit| hash.wrapping_mul(37).wrapping_add(u32::from(*unit)))
}

/// The first four characters of a name in a list `lf`; nothing where they are not ASCII.
fn hint(name: &str) -> u32 {
    let mut hint = [0; 4];
    for (to, letter) in hint.iter_mut().zip(name.chars()) {
        match u8::try_from(letter) {
            Ok(byte) if byte.is_ascii() => *to = byte,
            _ => return 0,
        }
    }
    u32::from_le_bytes(hint)
}
