//! `data:` URLs (RFC 2397), with which Ignition configs embed files.

use zeroize::Zeroizing;

use super::bounds::{Budget, Bytes, hex_byte, wrong};
use super::unpack;
use crate::error::Result;

/// Whether it is one.
pub fn is_data(url: &str) -> bool {
    url.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:"))
}

/// The content of the URL.
pub fn decode(url: &str, budget: &Budget) -> Result<Bytes> {
    let (head, data) = url.split_once(',').ok_or_else(|| wrong("a data: URL has no comma"))?;
    let bytes = percent(data, budget)?;
    let is_base64 = head.rsplit(';').next().is_some_and(|last| last.trim().eq_ignore_ascii_case("base64"));
    if is_base64 { unpack::base64(&bytes, budget) } else { Ok(bytes) }
}

fn percent(text: &str, budget: &Budget) -> Result<Bytes> {
    budget.take(text.len())?;
    let mut bytes: Bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text.as_bytes();
    while let Some((byte, behind)) = rest.split_first() {
        if *byte != b'%' {
            bytes.push(*byte);
            rest = behind;
            continue;
        }
        let byte = behind.get(..2).and_then(hex_byte);
        bytes.push(byte.ok_or_else(|| wrong("a data: URL has a % without two hex digits"))?);
        rest = behind.get(2..).unwrap_or_default();
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_decoded() {
        for (url, expected) in [
            ("data:,a%20b%0A+", Some(&b"a b\n+"[..])),
            ("data:text/plain;charset=utf-8,%C3%A9", Some("é".as_bytes())),
            ("DATA:;base64,aGVsbG8%3D", Some(b"hello")),
            ("data:text/plain;base64,aGVsbG8", Some(b"hello")),
            ("data:,", Some(b"")),
            ("data:", None),
            ("data:,%2", None),
            ("data:,%+1", None),
            ("data:;base64,!", None),
        ] {
            assert_eq!(decode(url, &Budget::default()).ok().as_deref().map(Vec::as_slice), expected, "{url}");
        }
        assert!(is_data("DATA:x") && !is_data("https://data:") && !is_data("dat"));
    }
}
