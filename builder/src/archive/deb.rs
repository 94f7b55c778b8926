//! Packages in the format deb(5): an `ar` archive of `debian-binary`, `control.tar.*` and `data.tar.*`, in
//! this order.
//!
//! ```text
//! !<arch>\n
//! name 16 | time 12 | uid 6 | gid 6 | mode 8 | length 10 (decimal) | `\n   then the body, padded to 2 bytes
//! ```

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use crate::error::{Error, ErrorKind, Result};

/// How a package begins.
pub(crate) const MAGIC: &[u8] = b"!<arch>\n";
const HEADER: u64 = 60;
/// deb(5) has three members. Future versions may add some, but never this many.
const MEMBERS: usize = 16;

/// Whether a file that starts with `head` is an `ar` archive.
pub(super) fn recognise(head: &[u8]) -> bool {
    head.starts_with(MAGIC)
}

/// The position of `data.tar.*` in the package.
pub(super) fn data(file: &File, length: u64, title: &str) -> Result<Range<u64>> {
    let broken = |reason: &str| {
        Error::new(ErrorKind::Archive, format!("archive {title}: not a sound .deb package: {reason}"))
            .help("fetch it again; when it stays so, the archive's file is broken")
    };
    let mut position = MAGIC.len() as u64;
    for index in 0..MEMBERS {
        let (name, body) = match member(file, position) {
            Ok(member) => member,
            Err(Malformed::Short) => {
                return Err(broken("it has no data.tar, or ends in the middle of a header"));
            }
            Err(Malformed::Header) => {
                return Err(broken(&format!("the header at byte {position} is malformed")));
            }
        };
        if body.end > length {
            return Err(broken(&format!(
                "\"{name}\" says that it has {} bytes, but the file ends after {}",
                body.end - body.start,
                length - body.start.min(length)
            )));
        }
        position = body.end.next_multiple_of(2);
        match (index, name.as_str()) {
            (0, "debian-binary") => check_version(file, body).map_err(|reason| broken(&reason))?,
            (0, _) => return Err(broken(&format!("it starts with \"{name}\" instead of debian-binary"))),
            (_, "data.tar" | "data.tar.gz" | "data.tar.xz" | "data.tar.zst") => return Ok(body),
            (_, name) if name.starts_with("data.tar") => {
                return Err(broken(&format!("the compression of \"{name}\" is not supported")));
            }
            _ => {}
        }
    }
    Err(broken("it has no data.tar"))
}

/// Names and places of the members, up to the first that is malformed.
pub fn members(file: &File) -> impl Iterator<Item = (String, Range<u64>)> {
    let mut magic = [0; MAGIC.len()];
    let known = file.read_exact_at(&mut magic, 0).is_ok() && recognise(&magic);
    let mut position = MAGIC.len() as u64;
    std::iter::from_fn(move || {
        let found = member(file, position).ok().filter(|_| known)?;
        position = found.1.end.next_multiple_of(2);
        Some(found)
    })
    .take(MEMBERS)
}

/// The header of a member, as [`members`] reads it: without times and owners.
pub(crate) fn member_header(name: &str, length: u64) -> String {
    format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{length:<10}`\n", 0, 0, 0, 100_644)
}

enum Malformed {
    Short,
    Header,
}

/// The member whose header is at `position`.
fn member(file: &File, position: u64) -> Result<(String, Range<u64>), Malformed> {
    let mut header = [0; HEADER as usize];
    file.read_exact_at(&mut header, position).map_err(|_| Malformed::Short)?;
    let (name, size) = parse(&header).ok_or(Malformed::Header)?;
    let start = position + HEADER;
    Ok((name, start..start + size))
}

fn check_version(file: &File, body: Range<u64>) -> Result<(), String> {
    let mut version = [0; 2];
    file.read_exact_at(&mut version, body.start)
        .map_err(|_| "debian-binary is empty".to_owned())?;
    if &version == b"2." { Ok(()) } else { Err("its format version is not 2".into()) }
}

/// Name and length of a member.
fn parse(header: &[u8; HEADER as usize]) -> Option<(String, u64)> {
    if &header[58..] != b"`\n" {
        return None;
    }
    let text = |range: Range<usize>| std::str::from_utf8(&header[range]).ok().map(str::trim_end);
    let length = text(48..58)?;
    if !length.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some((text(0..16)?.trim_end_matches('/').to_owned(), length.parse().ok()?))
}
