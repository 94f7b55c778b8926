//! Unpacks gzip (RFC 1952), zstd (RFC 8878), base64 (RFC 4648) and UTF-16. Data that is truncated, damaged,
//! or followed by other data is an error.

use std::io::{self, Read};

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use flate2::bufread::GzDecoder;
use ruzstd::decoding::StreamingDecoder;
use zeroize::Zeroizing;

use super::bounds::{Budget, Bytes, CEILING, append, wrong};
use crate::error::{Failure, Result};

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// How every member of gzip begins.
const GZIP: &[u8] = &[0x1f, 0x8b];

/// Unpacks gzip. The contents of several members are one text (RFC 1952, 2.2).
pub fn gzip(bytes: &[u8], budget: &Budget) -> Result<Bytes> {
    let mut unpacked = Bytes::default();
    let mut rest = bytes;
    loop {
        let mut decoder = GzDecoder::new(rest);
        append(&mut unpacked, &read(&mut decoder, "gzip", budget)?);
        rest = decoder.into_inner();
        if !rest.starts_with(GZIP) {
            nothing_behind(rest, "gzip")?;
            return Ok(unpacked);
        }
    }
}

/// Unpacks zstd with one frame, without a dictionary, and with a window within the limit.
pub fn zstd(bytes: &[u8], budget: &Budget) -> Result<Bytes> {
    let damaged = |_| {
        wrong(format!(
            "the zstd data is damaged, cut short, or wants a window of more than {} MiB",
            CEILING >> 20
        ))
    };
    let mut decoder = StreamingDecoder::new_with_max_window_size(bytes, CEILING as u64).map_err(damaged)?;
    let unpacked = read(&mut decoder, "zstd", budget)?;
    let (rest, decoder) = decoder.into_parts();
    nothing_behind(rest, "zstd")?;
    match decoder.get_checksum_from_data() {
        Some(expected) if decoder.get_calculated_checksum() != Some(expected) => {
            Err(wrong("the zstd data is damaged: its checksum differs"))
        }
        _ => Ok(unpacked),
    }
}

/// Decodes base64. Blanks and line breaks are skipped; padding may be missing.
pub fn base64(bytes: &[u8], budget: &Budget) -> Result<Bytes> {
    let mut digits: Bytes = Zeroizing::new(Vec::with_capacity(bytes.len()));
    digits.extend(bytes.iter().filter(|byte| !byte.is_ascii_whitespace()));
    budget.take(digits.len().div_ceil(4) * 3)?;
    let mut decoded: Bytes = Zeroizing::new(vec![0; digits.len().div_ceil(4) * 3]);
    let length = BASE64
        .decode_slice(digits.as_slice(), &mut decoded)
        .map_err(|_| wrong("the base64 text is malformed or cut short"))?;
    decoded.truncate(length);
    Ok(decoded)
}

/// Decodes base64, also with the digits for URLs (RFC 4648, section 5).
pub fn base64_of_any_alphabet(bytes: &[u8], budget: &Budget) -> Result<Bytes> {
    let usual = |byte: &u8| match byte {
        b'-' => b'+',
        b'_' => b'/',
        byte => *byte,
    };
    let digits: Bytes = Zeroizing::new(bytes.iter().map(usual).collect());
    base64(&digits, budget)
}

/// The order of the bytes of a text in UTF-16: its mark says so, or its first two characters are of ASCII.
fn utf16_order(bytes: &[u8]) -> Option<fn([u8; 2]) -> u16> {
    match bytes {
        [0xff, 0xfe, ..] => Some(u16::from_le_bytes),
        [0xfe, 0xff, ..] => Some(u16::from_be_bytes),
        [1..0x80, 0, 1..0x80, 0, ..] => Some(u16::from_le_bytes),
        [0, 1..0x80, 0, 1..0x80, ..] => Some(u16::from_be_bytes),
        _ => None,
    }
}

/// Whether it is text in UTF-16.
pub fn is_utf16(bytes: &[u8]) -> bool {
    utf16_order(bytes).is_some()
}

/// Translates UTF-16 to UTF-8, without its byte order mark.
pub fn utf16(bytes: &[u8], budget: &Budget) -> Result<Bytes> {
    let malformed = || wrong("it looks like UTF-16 and is not").help("save it as UTF-8");
    let order = utf16_order(bytes).ok_or_else(malformed)?;
    let units = bytes.chunks(2).map(|pair| pair.try_into().map_or(0xd800, order));
    let mut decoded: Bytes = Zeroizing::new(Vec::with_capacity(bytes.len() / 2 * 3));
    budget.take(decoded.capacity())?;
    for character in char::decode_utf16(units).skip_while(|read| *read == Ok('\u{feff}')) {
        let character = character.map_err(|_| malformed())?;
        decoded.extend(character.encode_utf8(&mut [0; 4]).as_bytes());
    }
    Ok(decoded)
}

/// The first bytes of packings that are not unpacked.
const FOREIGN: &[(&[u8], &str)] = &[
    (b"\xfd7zXZ\0", "xz"),
    (b"BZh", "bzip2"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"\x5d\0\0", "lzma"),
    (b"LZIP", "lzip"),
    (b"PK\x03\x04", "zip"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"x\x01", "zlib"),
    (b"x\x9c", "zlib"),
    (b"x\xda", "zlib"),
];
/// Where tar has its mark (POSIX.1-2024, pax, ustar).
const USTAR: usize = 257;

/// The name of a packing that is not unpacked.
pub fn foreign(bytes: &[u8]) -> Option<&'static str> {
    let is_tar = bytes.get(USTAR..).is_some_and(|rest| rest.starts_with(b"ustar"));
    let found = FOREIGN.iter().find(|(start, _)| bytes.starts_with(start));
    found.map(|(_, name)| *name).or(is_tar.then_some("tar"))
}

fn read(mut source: impl Read, what: &str, budget: &Budget) -> Result<Bytes> {
    let mut bytes = Bytes::default();
    let mut chunk = Zeroizing::new([0; 8192]);
    loop {
        match source.read(chunk.as_mut_slice()) {
            Ok(0) => return Ok(bytes),
            Ok(count) => {
                budget.take(count)?;
                append(&mut bytes, &chunk[..count]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Err(wrong(format!("the {what} data is damaged or cut short"))),
        }
    }
}

fn nothing_behind(rest: &[u8], what: &str) -> Result<()> {
    let surplus = |count| -> Failure {
        wrong(format!("{count} bytes follow the {what} data")).help("pack everything in one go")
    };
    if rest.is_empty() { Ok(()) } else { Err(surplus(rest.len())) }
}

#[cfg(test)]
#[path = "unpack_tests.rs"]
mod tests;
