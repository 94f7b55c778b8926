//! The limit for unpacking user data, and buffers that leave no copies in memory.

use std::cell::Cell;

use zeroize::Zeroizing;

use crate::error::{ErrorKind, Failure, Result};

/// Bytes that may be secret. They are overwritten when dropped.
pub type Bytes = Zeroizing<Vec<u8>>;

/// The size to which one piece of user data may unpack, all levels together.
pub const CEILING: usize = 8 << 20;

/// The number of bytes that may still be unpacked.
#[derive(Debug)]
pub struct Budget(Cell<usize>);

impl Default for Budget {
    fn default() -> Self {
        Self(Cell::new(CEILING))
    }
}

impl Budget {
    /// Fails if more was asked for than there was.
    pub fn check(&self) -> Result<()> {
        if self.0.get() == 0 { Err(Self::used_up()) } else { Ok(()) }
    }

    /// Subtracts `bytes`. If fewer are left, it fails, and nothing is left.
    pub fn take(&self, bytes: usize) -> Result<()> {
        let left = self.0.get().checked_sub(bytes);
        self.0.set(left.unwrap_or(0));
        left.map(|_| ()).ok_or_else(Self::used_up)
    }

    fn used_up() -> Failure {
        wrong(format!(
            "it unpacks to more than {} MiB, or its commands take too long to follow",
            CEILING >> 20
        ))
        .help("carry less, or point to it with a ConfigPointer")
    }
}

/// The error for invalid user data.
pub(super) fn wrong(message: impl Into<String>) -> Failure {
    Failure::new(ErrorKind::Config, message)
}

/// Appends `more` to `bytes`. A vector that grows by itself would not overwrite its old memory.
pub(super) fn append(bytes: &mut Bytes, more: &[u8]) {
    if bytes.capacity() - bytes.len() < more.len() {
        let mut larger =
            Zeroizing::new(Vec::with_capacity((bytes.capacity() * 2).max(bytes.len() + more.len())));
        larger.extend_from_slice(bytes);
        *bytes = larger;
    }
    bytes.extend_from_slice(more);
}

/// Parses two hex digits.
pub(super) fn hex_byte(digits: &[u8]) -> Option<u8> {
    digits.iter().try_fold(0, |byte: u8, digit| {
        Some(byte.wrapping_mul(16) | u8::try_from(char::from(*digit).to_digit(16)?).ok()?)
    })
}

/// The bytes as text.
pub(super) fn text(bytes: &[u8]) -> Result<&str> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        wrong(format!("it is not UTF-8: byte {} begins no character", error.valid_up_to()))
            .help("save it as UTF-8")
    })?;
    match text.find('\0') {
        Some(position) => Err(wrong(format!("there is a NUL byte at {position}")).help("it must be text")),
        None => Ok(text.strip_prefix('\u{feff}').unwrap_or(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_one_for_all() {
        let budget = Budget::default();
        budget.take(CEILING - 1).unwrap();
        budget.check().unwrap();
        assert!(budget.take(2).unwrap_err().message.contains("more than 8 MiB"));
        budget.take(1).unwrap_err();
        budget.check().unwrap_err();
    }

    #[test]
    fn buffers_grow_whole() {
        let mut bytes = Bytes::default();
        for part in [&b"ab"[..], b"", b"cdefghijkl", b"m"] {
            append(&mut bytes, part);
        }
        assert_eq!(bytes.as_slice(), b"abcdefghijklm");
    }

    #[test]
    fn only_text_is_text() {
        assert_eq!(text("\u{feff}é".as_bytes()).unwrap(), "é");
        for (bytes, expected) in [(&b"a\0"[..], "NUL byte at 1"), (b"ab\xff", "byte 2")] {
            assert!(text(bytes).unwrap_err().message.contains(expected));
        }
    }
}
