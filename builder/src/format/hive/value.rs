//! Values: their types and their bytes.

use std::fmt;

use super::cells::broken;
use crate::error::Result;

/// A value of the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// REG_SZ
    String(String),
    /// REG_EXPAND_SZ
    ExpandString(String),
    /// REG_BINARY
    Binary(Vec<u8>),
    /// REG_DWORD
    Dword(u32),
    /// REG_MULTI_SZ
    MultiString(Vec<String>),
    /// REG_QWORD
    Qword(u64),
    /// Any other type, by its number.
    Other(u32, Vec<u8>),
}

impl Value {
    /// Its number and its bytes, as the registry has them.
    pub fn encode(&self) -> (u32, Vec<u8>) {
        match self {
            Self::String(text) => (1, with_end(text)),
            Self::ExpandString(text) => (2, with_end(text)),
            Self::Binary(bytes) => (3, bytes.clone()),
            Self::Dword(number) => (4, number.to_le_bytes().to_vec()),
            Self::MultiString(texts) => {
                let mut bytes: Vec<u8> = texts.iter().flat_map(|text| with_end(text)).collect();
                bytes.extend([0, 0]);
                (7, bytes)
            }
            Self::Qword(number) => (11, number.to_le_bytes().to_vec()),
            Self::Other(kind, bytes) => (*kind, bytes.clone()),
        }
    }

    /// The value of a type's number and its bytes. A value whose bytes do not fit its type stays as it is.
    pub fn decode(kind: u32, bytes: &[u8]) -> Self {
        let other = || Self::Other(kind, bytes.to_vec());
        match kind {
            1 => text(bytes).map_or_else(other, |text| Self::String(first(&text))),
            2 => text(bytes).map_or_else(other, |text| Self::ExpandString(first(&text))),
            3 => Self::Binary(bytes.to_vec()),
            4 => bytes.try_into().map_or_else(|_| other(), |bytes| Self::Dword(u32::from_le_bytes(bytes))),
            7 => text(bytes).map_or_else(other, |text| {
                let texts = text.split('\0').take_while(|text| !text.is_empty());
                Self::MultiString(texts.map(str::to_owned).collect())
            }),
            11 => bytes.try_into().map_or_else(|_| other(), |bytes| Self::Qword(u64::from_le_bytes(bytes))),
            _ => other(),
        }
    }

    /// The text of a string.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::String(text) | Self::ExpandString(text) => Some(text),
            _ => None,
        }
    }

    /// The number of a REG_DWORD.
    pub const fn number(&self) -> Option<u32> {
        match self {
            Self::Dword(number) => Some(*number),
            _ => None,
        }
    }
}

/// As `.reg` files and `reg query` show it, shortened to a line.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::String(text) | Self::ExpandString(text) => write!(f, "\"{text}\""),
            Self::Dword(number) => write!(f, "{number}"),
            Self::Qword(number) => write!(f, "{number}"),
            Self::MultiString(texts) => write!(f, "{texts:?}"),
            Self::Binary(bytes) | Self::Other(_, bytes) => write!(f, "{} bytes", bytes.len()),
        }
    }
}

/// Text as the registry has it.
pub(super) fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn with_end(text: &str) -> Vec<u8> {
    let mut bytes = utf16(text);
    bytes.extend([0, 0]);
    bytes
}

/// UTF-16 text; `None` where it is none.
fn text(bytes: &[u8]) -> Option<String> {
    let units = bytes.chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]]));
    let whole = bytes.len().is_multiple_of(2);
    whole.then(|| char::decode_utf16(units).collect::<Result<_, _>>().ok()).flatten()
}

fn first(text: &str) -> String {
    text.split('\0').next().unwrap_or_default().to_owned()
}

/// A name in a cell: one byte for each character if it is `compressed`, else UTF-16. Halves of pairs, which
/// Windows allows, are replaced.
pub(super) fn name(bytes: &[u8], compressed: bool) -> Result<String> {
    if compressed {
        return Ok(bytes.iter().map(|byte| char::from(*byte)).collect());
    }
    if !bytes.len().is_multiple_of(2) {
        return Err(broken("a name has half a character"));
    }
    let units: Vec<u16> = bytes.chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]])).collect();
    Ok(String::from_utf16_lossy(&units))
}

/// A name for a cell, and whether it is compressed.
pub(super) fn encode_name(name: &str) -> (Vec<u8>, bool) {
    if name.is_ascii() { (name.as_bytes().to_vec(), true) } else { (utf16(name), false) }
}

/// The form in which names are compared: Windows maps each UTF-16 unit by itself.
pub(super) fn folded(name: &str) -> Vec<u16> {
    let upper = |unit: u16| {
        let Some(letter) = char::from_u32(u32::from(unit)) else { return unit };
        let mut upper = letter.to_uppercase();
        match (upper.next().map(|letter| u16::try_from(u32::from(letter))), upper.next()) {
            (Some(Ok(upper)), None) => upper,
            _ => unit,
        }
    };
    name.encode_utf16().map(upper).collect()
}
