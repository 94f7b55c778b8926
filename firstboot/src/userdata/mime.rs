//! Multipart messages: RFC 5322 headers, RFC 2045 encodings, RFC 2046 boundaries. Only the type and content
//! of each part are read.

use std::ops::Range;

use zeroize::Zeroizing;

use super::bounds::{Budget, Bytes, append, hex_byte, wrong};
use super::kind::is_header_name;
use super::unpack;
use crate::error::{Failure, Result};

/// The most parts of one message.
const PARTS: usize = 64;
/// The size limit of the headers of one part.
const HEADERS: usize = 16 << 10;
/// The length limit of a boundary (RFC 2046, section 5.1.1).
const BOUNDARY: usize = 70;

/// A part, or a whole message.
pub struct Part {
    /// `text/cloud-config`, in lower case.
    pub media_type: String,
    /// cloud-init's header that says how a cloud-config is merged.
    pub merge_type: Option<String>,
    /// Why the content cannot be read.
    pub problem: Option<Failure>,
    boundary: Option<String>,
    /// The content after its transfer encoding is undone, with the line break before the next boundary.
    whole: Bytes,
    /// The length of the content in it.
    length: usize,
}

impl Part {
    /// A part of no message.
    pub fn new(media_type: &str, content: &[u8], merge_type: Option<&str>) -> Self {
        Self {
            media_type: media_type.to_ascii_lowercase(),
            merge_type: merge_type.map(str::to_owned),
            problem: None,
            boundary: None,
            whole: Zeroizing::new(content.to_vec()),
            length: content.len(),
        }
    }

    /// The content.
    pub fn content(&self) -> &[u8] {
        self.whole.get(..self.length).unwrap_or_default()
    }

    /// The content with the line break after it. In RFC 2046 the line break belongs to the boundary, but the
    /// signature of a file covers it.
    pub fn with_line_break(&self) -> &[u8] {
        &self.whole
    }

    /// Whether it is a multipart message itself.
    pub fn is_multipart(&self) -> bool {
        self.media_type.starts_with("multipart/")
    }

    /// The parts, in order.
    pub fn parts(&self, budget: &Budget) -> Result<Vec<Self>> {
        let content = self.content();
        let bodies = self.bodies()?;
        bodies
            .into_iter()
            .map(|body| part(content.get(body).unwrap_or_default(), budget))
            .collect()
    }

    /// The texts before the first part and after the last boundary, which are for people.
    pub fn outside(&self) -> Result<[&[u8]; 2]> {
        let bodies = self.bodies()?;
        let begin = bodies.first().map_or(0, |body| body.start);
        let end = bodies.last().map_or(0, |body| body.end);
        let content = self.content();
        Ok([content.get(..begin).unwrap_or_default(), content.get(end..).unwrap_or_default()])
    }

    fn bodies(&self) -> Result<Vec<Range<usize>>> {
        let boundary = self.boundary.as_deref().unwrap_or_default();
        if boundary.is_empty() || boundary.len() > BOUNDARY {
            return Err(wrong("a multipart message names no boundary")
                .help("write Content-Type: multipart/mixed; boundary=\"…\""));
        }
        split(self.content(), boundary)
    }
}

/// Parses a message: its headers, and its content as one part.
pub fn message(bytes: &[u8], budget: &Budget) -> Result<Part> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
    // The envelope of a mailbox.
    let rest = if bytes.starts_with(b"From ") { bytes.split_at(line_length(bytes)).1 } else { bytes };
    part(rest, budget)
}

/// The length of the first line with its end.
fn line_length(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |position| position + 1)
}

/// The places of the texts between boundary lines, each with the line break before the next boundary.
fn split(bytes: &[u8], boundary: &str) -> Result<Vec<Range<usize>>> {
    let mut bodies = Vec::new();
    let (mut position, mut begin) = (0, None);
    while let Some(rest) = bytes.get(position..).filter(|rest| !rest.is_empty()) {
        let end = position + line_length(rest);
        let line = bytes.get(position..end).unwrap_or_default().trim_ascii_end();
        let mark = line.strip_prefix(b"--").and_then(|line| line.strip_prefix(boundary.as_bytes()));
        // A last boundary with more behind it is a common mistake.
        let is_last = mark.is_some_and(|tail| tail.starts_with(b"--"));
        if is_last || mark.is_some_and(<[u8]>::is_empty) {
            bodies.extend(begin.map(|begin| begin..position));
            if bodies.len() > PARTS {
                return Err(wrong(format!("a multipart message has more than {PARTS} parts")));
            }
            if is_last {
                return Ok(bodies);
            }
            begin = Some(end);
        }
        position = end;
    }
    // Without a last boundary, the message ends where the text does.
    let Some(begin) = begin else {
        return Err(wrong("the boundary of a multipart message does not occur in it"));
    };
    bodies.push(begin..bytes.len());
    Ok(bodies)
}

#[derive(Default)]
struct Headers {
    media_type: Option<String>,
    boundary: Option<String>,
    encoding: Option<String>,
    merge_type: Option<String>,
}

fn part(bytes: &[u8], budget: &Budget) -> Result<Part> {
    let (headers, body) = headers(bytes)?;
    let line_break = if body.ends_with(b"\r\n") { 2 } else { usize::from(body.ends_with(b"\n")) };
    let content = body.get(..body.len() - line_break).unwrap_or_default();
    let decoded = match headers.encoding.as_deref() {
        Some("base64") => Some(unpack::base64(content, budget)),
        Some("quoted-printable") => Some(quoted_printable(content, budget)),
        // Other encodings are none, as Python's reader has it.
        _ => None,
    };
    let (length, whole, problem) = match decoded {
        Some(Ok(whole)) => (whole.len(), whole, None),
        other => {
            budget.take(body.len())?;
            (content.len(), Zeroizing::new(body.to_vec()), other.and_then(Result::err))
        }
    };
    let media_type = headers.media_type.unwrap_or_else(|| "text/plain".to_owned());
    Ok(Part {
        media_type,
        merge_type: headers.merge_type,
        problem,
        boundary: headers.boundary,
        whole,
        length,
    })
}

/// The headers that matter, and the text after the empty line.
fn headers(bytes: &[u8]) -> Result<(Headers, &[u8])> {
    let mut headers = Headers::default();
    let mut rest = bytes;
    let mut header: Vec<u8> = Vec::new();
    loop {
        let (line, behind) = rest.split_at(line_length(rest));
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if !matches!(line.first(), Some(b' ' | b'\t')) {
            headers.read(&header);
            header.clear();
        }
        if line.is_empty() {
            return Ok((headers, behind));
        }
        // As in Python's reader, a line that is no header begins the content.
        if header.is_empty() && !is_header(line) {
            return Ok((headers, rest));
        }
        header.extend_from_slice(line);
        rest = behind;
        if bytes.len() - rest.len() > HEADERS {
            return Err(wrong(format!("its headers are longer than {} KiB", HEADERS >> 10)));
        }
    }
}

impl Headers {
    /// Notes a header. The first of several counts.
    fn read(&mut self, header: &[u8]) {
        let Some((name, value)) = std::str::from_utf8(header).ok().and_then(|header| header.split_once(':'))
        else {
            return;
        };
        match name.to_ascii_lowercase().as_str() {
            "content-type" if self.media_type.is_none() => {
                let (media_type, boundary) = content_type(value);
                self.boundary = boundary;
                self.media_type = Some(media_type);
            }
            "content-transfer-encoding" => {
                self.encoding.get_or_insert(value.trim().to_ascii_lowercase());
            }
            "merge-type" | "x-merge-type" => {
                self.merge_type.get_or_insert(value.trim().to_owned());
            }
            _ => {}
        }
    }
}

fn is_header(line: &[u8]) -> bool {
    line.split(|byte| *byte == b':')
        .next()
        .is_some_and(|name| name.len() < line.len() && is_header_name(name))
}

/// `multipart/mixed; boundary="==a=="` (RFC 2045, section 5.1)
fn content_type(value: &str) -> (String, Option<String>) {
    let (media_type, mut rest) = value.split_once(';').unwrap_or((value, ""));
    let mut boundary = None;
    while let Some((name, value)) = rest.split_once('=') {
        let (value, behind) = parameter(value.trim_start());
        if name.trim().eq_ignore_ascii_case("boundary") {
            boundary = Some(value);
        }
        rest = behind.split_once(';').map_or("", |(_, behind)| behind);
    }
    (media_type.trim().to_ascii_lowercase(), boundary)
}

/// The value of a parameter, with or without quotes, and the rest of the text.
fn parameter(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text
            .find(|character: char| character == ';' || character.is_whitespace())
            .unwrap_or(text.len());
        let (value, behind) = text.split_at(end);
        return (value.to_owned(), behind);
    };
    let (mut value, mut is_escaped) = (String::new(), false);
    for (position, character) in quoted.char_indices() {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' => {
                is_escaped = true;
                continue;
            }
            '"' => return (value, quoted.get(position + 1..).unwrap_or_default()),
            _ => {}
        }
        value.push(character);
    }
    (value, "")
}

/// RFC 2045, section 6.7.
fn quoted_printable(bytes: &[u8], budget: &Budget) -> Result<Bytes> {
    let malformed = || wrong("the quoted-printable text is malformed");
    budget.take(bytes.len())?;
    let mut decoded: Bytes = Zeroizing::new(Vec::with_capacity(bytes.len()));
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let text = line.trim_ascii_end();
        let (text, is_soft) = text.strip_suffix(b"=").map_or((text, false), |text| (text, true));
        let mut rest = text;
        while let Some((byte, behind)) = rest.split_first() {
            rest = behind;
            if *byte != b'=' {
                append(&mut decoded, &[*byte]);
                continue;
            }
            let byte = rest.get(..2).and_then(hex_byte).ok_or_else(malformed)?;
            append(&mut decoded, &[byte]);
            rest = rest.get(2..).unwrap_or_default();
        }
        if !is_soft && line.ends_with(b"\n") {
            append(&mut decoded, if line.ends_with(b"\r\n") { b"\r\n" } else { b"\n" });
        }
    }
    Ok(decoded)
}

#[cfg(test)]
#[path = "mime_tests.rs"]
mod tests;
