//! Hyper-V's key-value pairs (<https://learn.microsoft.com/virtualization/hyper-v-on-windows/reference/integration-services>;
//! linux/tools/hv/hv_kvp_daemon.c).
//!
//! A pool is a sequence of records: 512 bytes for the key, 2048 for the value, each UTF-8 and filled with
//! NULs.
//!
//! | pool | who writes it |
//! |---|---|
//! | 0 | the host: what its administrator gives the machine |
//! | 1 | the machine: what it reports to the host |
//! | 3 | the host: what the machine is called |

use zeroize::Zeroizing;

use crate::error::{ErrorKind, Failure, Result};

/// Bytes of a key.
pub const KEY: usize = 512;
/// Bytes of a value.
pub const VALUE: usize = 2048;
/// Bytes of a record.
pub const RECORD: usize = KEY + VALUE;
/// Bytes of a value that the host can show.
pub const SHOWN_VALUE: usize = 1024;
/// The pool for pairs from the guest to the host.
pub(crate) const GUEST: u8 = 1;
/// Limit on the records.
pub(in crate::host) const MOST: usize = 2048;
/// A pair; its value may be a secret.
pub struct Pair {
    /// The key.
    pub key: String,
    /// The value.
    pub value: Zeroizing<Vec<u8>>,
}

/// The pairs in the bytes of a pool.
pub fn pairs(bytes: &[u8]) -> Vec<Pair> {
    let text = |bytes: &[u8]| bytes.split(|byte| *byte == 0).next().unwrap_or_default().to_vec();
    let pair = |record: &[u8]| {
        let (key, value) = record.split_at_checked(KEY)?;
        let key = String::from_utf8_lossy(&text(key)).into_owned();
        (!key.is_empty()).then(|| Pair { key, value: Zeroizing::new(text(value)) })
    };
    bytes.chunks_exact(RECORD).take(MOST).filter_map(pair).collect()
}

/// The bytes of a pair; none if the key is empty, or if key or value is too long or has a NUL, which
/// ends them in the file.
pub fn record(key: &str, value: &str) -> Option<Vec<u8>> {
    let fits = |text: &str, length: usize| text.len() < length && !text.contains('\0');
    if key.is_empty() || !fits(key, KEY) || !fits(value, VALUE) {
        return None;
    }
    let mut bytes = vec![0; RECORD];
    let (front, back) = bytes.split_at_mut(KEY);
    front[..key.len()].copy_from_slice(key.as_bytes());
    back[..value.len()].copy_from_slice(value.as_bytes());
    Some(bytes)
}

/// The value of `name` or, if there is none, the joined values of `name.0`, `name.1` and so on. The numbers
/// start at 0 or 1.
pub fn joined(pairs: &[Pair], name: &str) -> Result<Option<Zeroizing<Vec<u8>>>> {
    let find = |key: &str| pairs.iter().find(|pair| pair.key == key);
    if let Some(whole) = find(name) {
        return Ok(Some(whole.value.clone()));
    }
    let number = |pair: &Pair| pair.key.strip_prefix(name)?.strip_prefix('.')?.parse::<usize>().ok();
    let mut parts: Vec<(usize, &Pair)> =
        pairs.iter().filter_map(|pair| Some((number(pair)?, pair))).collect();
    parts.sort_by_key(|part| part.0);
    let Some(first) = parts.first().map(|part| part.0) else { return Ok(None) };
    if first > 1 || parts.iter().enumerate().any(|(position, part)| part.0 != first + position) {
        return Err(Failure::new(
            ErrorKind::Source,
            format!("the pairs {name}.<n> of Hyper-V are not numbered one after another from 0 or 1"),
        ));
    }
    // Reserves all memory at once, because growing would leave copies of the secret.
    let mut all = Zeroizing::new(Vec::with_capacity(parts.iter().map(|part| part.1.value.len()).sum()));
    parts.iter().for_each(|part| all.extend_from_slice(&part.1.value));
    Ok(Some(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(entries: &[(&str, &str)]) -> Vec<u8> {
        entries.iter().flat_map(|(key, value)| record(key, value).unwrap()).collect()
    }

    fn all(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
        pairs(bytes).into_iter().map(|pair| (pair.key, pair.value.to_vec())).collect()
    }

    #[test]
    fn what_is_written_can_be_read() {
        let longest = ("k".repeat(KEY - 1), "v".repeat(VALUE - 1));
        let bytes = pool(&[("a", "1"), (&longest.0, &longest.1), ("empty", "")]);
        assert_eq!(bytes.len(), 3 * RECORD);
        let expected = [
            ("a".to_owned(), b"1".to_vec()),
            (longest.0, longest.1.into_bytes()),
            ("empty".to_owned(), Vec::new()),
        ];
        assert_eq!(all(&bytes), expected);
        assert_eq!(all(&bytes[..bytes.len() - 1]), expected[..2], "a record that is cut off");
        assert_eq!(all(&[0; RECORD]), []);
        assert_eq!(all(&[b'x'; RECORD]).len(), 1, "nothing ends the key but its place");
        for (key, value) in
            [("", "x"), ("a\0b", ""), ("a", "b\0"), (&"k".repeat(KEY), ""), ("a", &"v".repeat(VALUE))]
        {
            assert!(record(key, value).is_none());
        }
    }

    #[test]
    fn parts_are_joined_in_the_order_of_their_numbers() {
        for (entries, expected) in [
            (
                vec![
                    ("c.10", "k"),
                    ("c.1", "b"),
                    ("c.0", "a"),
                    ("c.2", "c"),
                    ("c.3", "d"),
                    ("c.4", "e"),
                    ("c.5", "f"),
                    ("c.6", "g"),
                    ("c.7", "h"),
                    ("c.8", "i"),
                    ("c.9", "j"),
                ],
                Some("abcdefghijk"),
            ),
            (vec![("c.1", "a"), ("c.2", "b")], Some("ab")),
            (vec![("c.1", "a"), ("c", "whole")], Some("whole")),
            (vec![("c.x", "a"), ("cc.0", "b"), ("d", "c")], None),
        ] {
            let found = joined(&pairs(&pool(&entries)), "c").unwrap().map(|value| value.to_vec());
            assert_eq!(found, expected.map(|text| text.as_bytes().to_vec()));
        }
        for entries in
            [vec![("c.0", "a"), ("c.2", "b")], vec![("c.2", "a")], vec![("c.1", "a"), ("c.01", "b")]]
        {
            assert!(joined(&pairs(&pool(&entries)), "c").unwrap_err().message.contains("one after another"));
        }
    }
}
