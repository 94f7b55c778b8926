//! Whole private keys in files of any size. Programs have their marks, so the content must follow.

use std::io::{self, Read};

use crate::tree::Body;

/// A mark, whether a key follows it, and what that is.
type Mark = (&'static [u8], fn(&[u8]) -> bool, &'static str);

const MARKS: &[Mark] = &[
    (b"PRIVATE KEY-----", is_armor, "it has a private key"),
    (b"PRIVATE KEY BLOCK-----", is_armor, "it has a private key"),
    (b"client-key-data", is_field, "it has a key for a cluster"),
    (b"AGE-SECRET-KEY-1", is_bech32, "it has a private key"),
];

/// The most bytes of a file's part that are held, and how many of the last part go with the next.
const PIECE: usize = 1 << 20;
const OVERLAP: usize = 4096;

/// What a file has, if it has a key.
///
/// # Errors
/// If the file cannot be read.
pub(super) fn find(body: &Body) -> io::Result<Option<&'static str>> {
    let mut from = body.open()?;
    let mut held: Vec<u8> = Vec::new();
    loop {
        let read = (&mut from).take(PIECE as u64).read_to_end(&mut held)?;
        let found = in_part(&held);
        if found.is_some() || read == 0 {
            return Ok(found);
        }
        held.drain(..held.len().saturating_sub(OVERLAP));
    }
}

fn in_part(bytes: &[u8]) -> Option<&'static str> {
    let is_first = |byte: &u8| MARKS.iter().any(|(mark, ..)| mark[0] == *byte);
    let mut at = 0;
    while let Some(found) = bytes[at..].iter().position(is_first) {
        let rest = &bytes[at + found..bytes.len().min(at + found + OVERLAP / 2)];
        let fits = |(mark, follows, _): &&Mark| rest.strip_prefix(*mark).is_some_and(follows);
        if let Some((.., why)) = MARKS.iter().find(fits) {
            return Some(why);
        }
        at += found + 1;
    }
    None
}

/// RFC 7468, and the headers of RFC 1421 and RFC 9580 before the content.
fn is_armor(rest: &[u8]) -> bool {
    /// So many letters of base64 in one line are no text.
    const SHORTEST: usize = 40;
    let is_content = |line: &[u8]| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        line.len() >= SHORTEST && line.iter().all(is_base64)
    };
    let starts_line = rest.first().is_some_and(|byte| b"\r\n".contains(byte));
    starts_line && rest.split(|byte| *byte == b'\n').skip(1).take(4).any(is_content)
}

fn is_base64(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/=".contains(byte)
}

/// A field of YAML or JSON with base64.
fn is_field(rest: &[u8]) -> bool {
    const SHORTEST: usize = 16;
    let rest = rest.strip_prefix(b"\"").unwrap_or(rest);
    let Some(value) = rest.strip_prefix(b":") else { return false };
    let is_around = |byte: &&u8| b" \t\r\n\"'>|-".contains(byte);
    let value = &value[value.iter().take_while(is_around).count()..];
    value.iter().take_while(|byte| is_base64(byte)).count() >= SHORTEST
}

fn is_bech32(rest: &[u8]) -> bool {
    const LETTERS: usize = 58;
    let is_letter = |byte: &&u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    rest.iter().take_while(is_letter).count() >= LETTERS
}
