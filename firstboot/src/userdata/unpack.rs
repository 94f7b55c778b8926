//! Unpacks gzip (RFC 1952), zstd (RFC 8878) and base64 (RFC 4648). Data that is truncated, damaged, or
//! followed by other data is an error.

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
