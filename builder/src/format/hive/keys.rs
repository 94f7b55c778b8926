//! Keys and values, as they are.

use super::Hive;
use super::cells::{NONE, broken, u16_at, u32_at};
use super::value::{self, Value};
use crate::error::{Error, ErrorKind, Result};

/// Length of a key's cell before its name.
pub(super) const KEY_HEADER: usize = 76;
/// Length of a value's cell before its name.
pub(super) const VALUE_HEADER: usize = 20;
/// A flag of keys: the name has one byte for each character.
pub(super) const COMPRESSED_KEY: u16 = 0x20;
/// A flag of keys: it is a link to another.
const LINK: u16 = 0x10;
/// A flag of values: the name has one byte for each character.
pub(super) const COMPRESSED_VALUE: u16 = 1;
/// Of the length of data: they are in the place of their offset.
pub(super) const INLINE: u32 = 1 << 31;
/// The most that one cell of data holds; longer data are in segments of this length (version 1.4 and later).
pub(super) const SEGMENT: usize = 16344;

/// A key's cell.
#[derive(Debug, Clone)]
pub(super) struct Key {
    pub offset: u32,
    pub name: String,
    flags: u16,
    pub subkeys: u32,
    pub subkey_list: u32,
    pub values: u32,
    pub value_list: u32,
    pub security: u32,
}

/// A value's cell.
#[derive(Debug, Clone)]
pub(super) struct ValueCell {
    pub offset: u32,
    pub name: String,
    pub length: u32,
    pub data: u32,
    kind: u32,
}

impl Hive {
    /// The value `name` of the key at `path`, `\`-separated; the empty name is the key's default value.
    ///
    /// # Errors
    /// When the hive is broken there.
    pub fn value(&self, path: &str, name: &str) -> Result<Option<Value>> {
        let Some(key) = self.find(path)? else { return Ok(None) };
        let cell = self.value_cell(&key, name)?;
        cell.map(|cell| self.data(&cell)).transpose()
    }

    /// All values of the key at `path`, by name; nothing if there is no such key.
    ///
    /// # Errors
    /// When the hive is broken there.
    pub fn values(&self, path: &str) -> Result<Vec<(String, Value)>> {
        let Some(key) = self.find(path)? else { return Ok(Vec::new()) };
        let cells = self.value_cells(&key)?;
        let lengths = cells.iter().map(|cell| (cell.length & !INLINE) as usize);
        if lengths.sum::<usize>() > self.cells.length() {
            return Err(broken(format!("the values of the key {path} are longer than the file")));
        }
        cells.into_iter().map(|cell| Ok((cell.name.clone(), self.data(&cell)?))).collect()
    }

    /// The names of the keys below the one at `path`; `None` if there is no such key.
    ///
    /// # Errors
    /// When the hive is broken there.
    pub fn subkeys(&self, path: &str) -> Result<Option<Vec<String>>> {
        let Some(key) = self.find(path)? else { return Ok(None) };
        let keys = self.subkey_offsets(&key)?;
        keys.into_iter().map(|offset| Ok(self.key(offset)?.name)).collect::<Result<_>>().map(Some)
    }

    /// The same names, each with the values `wanted` of its key. It reads each key once, where a walk to each
    /// would read all of them again.
    ///
    /// # Errors
    /// When the hive is broken there.
    pub fn subkeys_with<const N: usize>(
        &self,
        path: &str,
        wanted: [&str; N],
    ) -> Result<Vec<(String, [Option<Value>; N])>> {
        let Some(key) = self.find(path)? else { return Ok(Vec::new()) };
        let keys = self.subkey_offsets(&key)?;
        keys.into_iter()
            .map(|offset| {
                let below = self.key(offset)?;
                let mut values = [const { None }; N];
                for (value, name) in values.iter_mut().zip(wanted) {
                    *value = self.value_cell(&below, name)?.map(|cell| self.data(&cell)).transpose()?;
                }
                Ok((below.name, values))
            })
            .collect()
    }

    /// The key at `path`, or nothing.
    pub(super) fn find(&self, path: &str) -> Result<Option<Key>> {
        let mut key = self.key(self.root)?;
        for name in parts(path) {
            let Some(next) = self.subkey(&key, name)? else { return Ok(None) };
            key = next;
        }
        Ok(Some(key))
    }

    pub(super) fn subkey(&self, key: &Key, name: &str) -> Result<Option<Key>> {
        let wanted = value::folded(name);
        for offset in self.subkey_offsets(key)? {
            let found = self.key(offset)?;
            if value::folded(&found.name) != wanted {
                continue;
            }
            if found.flags & LINK != 0 {
                let message = format!("the registry key {name} is a link, which is not followed offline");
                return Err(Error::new(ErrorKind::Archive, message).help("name the key that it leads to"));
            }
            return Ok(Some(found));
        }
        Ok(None)
    }

    /// The key whose cell is at `offset`.
    pub(super) fn key(&self, offset: u32) -> Result<Key> {
        let cell = self.cells.get(offset)?;
        let wrong = || broken(format!("the cell at {offset:#x} holds no key"));
        if !cell.starts_with(b"nk") || cell.len() < KEY_HEADER {
            return Err(wrong());
        }
        let field = |at| u32_at(cell, at).unwrap_or_default();
        let flags = u16_at(cell, 2).unwrap_or_default();
        let length = usize::from(u16_at(cell, 72).unwrap_or_default());
        let name = cell.get(KEY_HEADER..KEY_HEADER + length).ok_or_else(wrong)?;
        Ok(Key {
            offset,
            name: value::name(name, flags & COMPRESSED_KEY != 0)?,
            flags,
            subkeys: field(20),
            subkey_list: field(28),
            values: field(36),
            value_list: field(40),
            security: field(44),
        })
    }

    /// The cells of the keys below `key`, in their order.
    pub(super) fn subkey_offsets(&self, key: &Key) -> Result<Vec<u32>> {
        // Each has a cell of its own.
        if key.subkeys as usize > self.cells.length() / KEY_HEADER {
            return Err(broken(format!("the key {} has {} subkeys", key.name, key.subkeys)));
        }
        let mut offsets = Vec::new();
        if key.subkeys > 0 {
            for list in self.subkey_lists(key)? {
                offsets.extend(self.leaf(list)?);
                if offsets.len() > key.subkeys as usize {
                    break;
                }
            }
        }
        if offsets.len() != key.subkeys as usize {
            return Err(broken(format!(
                "the key {} has {} subkeys, and its lists another number",
                key.name, key.subkeys
            )));
        }
        Ok(offsets)
    }

    /// The cells that list the keys below `key`: leaves only.
    fn subkey_lists(&self, key: &Key) -> Result<Vec<u32>> {
        let cell = self.cells.get(key.subkey_list)?;
        if !cell.starts_with(b"ri") {
            return Ok(vec![key.subkey_list]);
        }
        entries(cell, 4)
    }

    /// The cells that are freed when the list of `key` is replaced.
    pub(super) fn subkey_list_cells(&self, key: &Key) -> Result<Vec<u32>> {
        if key.subkeys == 0 {
            return Ok(Vec::new());
        }
        let mut cells = self.subkey_lists(key)?;
        if cells != [key.subkey_list] {
            cells.push(key.subkey_list);
        }
        Ok(cells)
    }

    fn leaf(&self, offset: u32) -> Result<Vec<u32>> {
        let cell = self.cells.get(offset)?;
        match cell.get(..2) {
            Some(b"lf" | b"lh") => entries(cell, 8),
            Some(b"li") => entries(cell, 4),
            _ => Err(broken(format!("the cell at {offset:#x} holds no list of keys"))),
        }
    }

    pub(super) fn value_cell(&self, key: &Key, name: &str) -> Result<Option<ValueCell>> {
        let wanted = value::folded(name);
        let cells = self.value_cells(key)?;
        Ok(cells.into_iter().find(|cell| value::folded(&cell.name) == wanted))
    }

    pub(super) fn value_offsets(&self, key: &Key) -> Result<Vec<u32>> {
        if key.values == 0 {
            return Ok(Vec::new());
        }
        let cell = self.cells.get(key.value_list)?;
        let list = cell.get(..(key.values as usize).saturating_mul(4));
        let list =
            list.ok_or_else(|| broken(format!("the list of values of the key {} is short", key.name)))?;
        Ok(list.chunks_exact(4).filter_map(|entry| u32_at(entry, 0)).collect())
    }

    pub(super) fn value_cells(&self, key: &Key) -> Result<Vec<ValueCell>> {
        self.value_offsets(key)?.into_iter().map(|offset| self.read_value_cell(offset)).collect()
    }

    fn read_value_cell(&self, offset: u32) -> Result<ValueCell> {
        let cell = self.cells.get(offset)?;
        let wrong = || broken(format!("the cell at {offset:#x} holds no value"));
        if !cell.starts_with(b"vk") || cell.len() < VALUE_HEADER {
            return Err(wrong());
        }
        let length = usize::from(u16_at(cell, 2).unwrap_or_default());
        let flags = u16_at(cell, 16).unwrap_or_default();
        let name = cell.get(VALUE_HEADER..VALUE_HEADER + length).ok_or_else(wrong)?;
        let field = |at| u32_at(cell, at).unwrap_or_default();
        Ok(ValueCell {
            offset,
            name: value::name(name, flags & COMPRESSED_VALUE != 0)?,
            length: field(4),
            data: field(8),
            kind: field(12),
        })
    }

    pub(super) fn data(&self, cell: &ValueCell) -> Result<Value> {
        let short = || broken(format!("the data of the value {} are short", cell.name));
        if cell.length & INLINE != 0 {
            let bytes = cell.data.to_le_bytes();
            let length = (cell.length & !INLINE) as usize;
            return bytes.get(..length).map(|data| Value::decode(cell.kind, data)).ok_or_else(short);
        }
        if cell.length == 0 {
            return Ok(Value::decode(cell.kind, &[]));
        }
        let length = cell.length as usize;
        let data = self.cells.get(cell.data)?;
        if !self.is_segmented(cell) {
            return data.get(..length).map(|data| Value::decode(cell.kind, data)).ok_or_else(short);
        }
        let mut whole = Vec::new();
        for segment in self.segments(cell)? {
            let segment = self.cells.get(segment)?;
            let rest = length - whole.len();
            whole.extend_from_slice(segment.get(..rest.min(SEGMENT)).ok_or_else(short)?);
        }
        if whole.len() == length { Ok(Value::decode(cell.kind, &whole)) } else { Err(short()) }
    }

    /// Whether the data of a value are in more than one cell.
    pub(super) fn is_segmented(&self, cell: &ValueCell) -> bool {
        let long = cell.length & INLINE == 0 && cell.length as usize > SEGMENT && self.cells.minor() > 3;
        long && self.cells.get(cell.data).is_ok_and(|data| data.starts_with(b"db"))
    }

    /// The cells with the segments of a value's data.
    pub(super) fn segments(&self, cell: &ValueCell) -> Result<Vec<u32>> {
        let wrong = || broken(format!("the segments of the value {} do not fit its length", cell.name));
        let head = self.cells.get(cell.data)?;
        let count = usize::from(u16_at(head, 2).ok_or_else(wrong)?);
        if count != (cell.length as usize).div_ceil(SEGMENT) || cell.length as usize > self.cells.length() {
            return Err(wrong());
        }
        let list = self.cells.get(u32_at(head, 4).ok_or_else(wrong)?)?;
        let list = list.get(..count * 4).ok_or_else(wrong)?;
        Ok(list.chunks_exact(4).filter_map(|entry| u32_at(entry, 0)).collect())
    }
}

/// The offsets in a list of keys whose entries are `width` bytes long.
fn entries(cell: &[u8], width: usize) -> Result<Vec<u32>> {
    let count = usize::from(u16_at(cell, 2).unwrap_or_default());
    let entries = cell.get(4..4 + count * width).ok_or_else(|| broken("a list of keys is short"))?;
    Ok(entries
        .chunks_exact(width)
        .filter_map(|entry| u32_at(entry, 0))
        .filter(|offset| *offset != NONE)
        .collect())
}

/// The names in a path.
pub(super) fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.split('\\').filter(|name| !name.is_empty())
}
