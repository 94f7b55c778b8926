//! The part of HTTP/1.1 (RFC 9112) that a metadata service needs: reads requests with limits, writes answers.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

/// The longest head of a request.
const HEAD: usize = 64 << 10;

/// The longest body of a request.
const BODY: usize = 1 << 20;

/// The most headers of a request.
const HEADERS: usize = 100;

/// A request.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The method, such as `GET`.
    pub method: String,
    /// The target with the query.
    pub target: String,
    /// The headers, unchanged.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// The client's port.
    pub source_port: u16,
    /// Whether the client keeps the connection.
    pub keeps_alive: bool,
}

impl Request {
    /// The target without the query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The query's parameters, decoded.
    pub fn query(&self) -> BTreeMap<String, String> {
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        let pair = |part: &str| {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            (decoded(key), decoded(value))
        };
        query.split('&').filter(|part| !part.is_empty()).map(pair).collect()
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|header| header.0.eq_ignore_ascii_case(name))
            .map(|header| header.1.as_str())
    }
}

/// Decodes percent signs and pluses of a query.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::new();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let digits = bytes.get(at + 1..at + 3).and_then(|digits| std::str::from_utf8(digits).ok());
        match (byte, digits.and_then(|digits| u8::from_str_radix(digits, 16).ok())) {
            (b'%', Some(value)) => {
                decoded.push(value);
                at += 2;
            }
            (b'+', _) => decoded.push(b' '),
            _ => decoded.push(*byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// An answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Headers; the body's length is added.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// An answer with a status and a short text.
    pub fn of(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: vec![("Content-Type".to_owned(), "text/plain; charset=utf-8".to_owned())],
            body: body.into(),
        }
    }

    /// Sets a header. It replaces a header of the same name.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|header| !header.0.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The head as bytes, with `length` as the length of the body.
    pub fn head(&self, length: Option<u64>) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        if let Some(length) = length {
            head += &format!("Content-Length: {length}\r\n");
        }
        (head + "\r\n").into_bytes()
    }

    /// Writes the whole answer.
    pub fn write(&self, stream: &mut impl Write) -> io::Result<()> {
        let mut bytes = self.head(Some(self.body.len() as u64));
        bytes.extend_from_slice(&self.body);
        stream.write_all(&bytes)
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        410 => "Gone",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Status",
    }
}

/// Reads one request; `None` if the client has gone. `kept` holds bytes after the previous request.
pub fn read(stream: &mut impl Read, kept: &mut Vec<u8>) -> io::Result<Option<Request>> {
    loop {
        if let Some((mut request, head, length)) = parse(kept)? {
            while kept.len() < head + length {
                if fill(stream, kept)? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            request.body = kept[head..head + length].to_vec();
            kept.drain(..head + length);
            return Ok(Some(request));
        }
        if kept.len() > HEAD {
            return Err(io::Error::other("the head of the request is too long"));
        }
        if fill(stream, kept)? == 0 {
            return if kept.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
    }
}

fn fill(stream: &mut impl Read, kept: &mut Vec<u8>) -> io::Result<usize> {
    let mut bytes = [0; 8192];
    let count = stream.read(&mut bytes)?;
    kept.extend_from_slice(&bytes[..count]);
    Ok(count)
}

/// The request and the lengths of its head and body; `None` while the head is incomplete.
fn parse(bytes: &[u8]) -> io::Result<Option<(Request, usize, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    let head = match parsed.parse(bytes).map_err(io::Error::other)? {
        httparse::Status::Complete(head) => head,
        httparse::Status::Partial => return Ok(None),
    };
    let headers: Vec<(String, String)> = parsed
        .headers
        .iter()
        .map(|header| (header.name.to_owned(), String::from_utf8_lossy(header.value).into_owned()))
        .collect();
    let mut request = Request {
        method: parsed.method.unwrap_or_default().to_owned(),
        target: parsed.path.unwrap_or_default().to_owned(),
        headers,
        keeps_alive: parsed.version == Some(1),
        ..Request::default()
    };
    if request.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
        request.keeps_alive = false;
    }
    let length = request.header("content-length").map_or(Ok(0), str::parse).map_err(io::Error::other)?;
    if length > BODY || request.header("transfer-encoding").is_some() {
        return Err(io::Error::other("the body of the request is too long, or in pieces"));
    }
    Ok(Some((request, head, length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_one_after_another() {
        let mut bytes =
            &b"PUT /a?x=1&y=a%20b HTTP/1.1\r\nX-A: 1\r\nContent-Length: 2\r\n\r\nhiGET /b HTTP/1.0\r\n\r\n"[..];
        let mut kept = Vec::new();
        let first = read(&mut bytes, &mut kept).unwrap().unwrap();
        assert_eq!(
            (first.method.as_str(), first.path(), first.header("x-a"), first.body.as_slice()),
            ("PUT", "/a", Some("1"), &b"hi"[..])
        );
        assert_eq!(
            first.query(),
            BTreeMap::from([("x".to_owned(), "1".to_owned()), ("y".to_owned(), "a b".to_owned())])
        );
        let second = read(&mut bytes, &mut kept).unwrap().unwrap();
        assert!(first.keeps_alive && !second.keeps_alive && second.path() == "/b");
        assert!(read(&mut bytes, &mut kept).unwrap().is_none());
    }

    #[test]
    fn what_is_too_long_or_no_request_is_refused() {
        let long = [b"GET / HTTP/1.1\r\nA: ".as_slice(), &vec![b'x'; HEAD + 1]].concat();
        for bytes in [
            &b"GET / HTTP/1.1\r\nContent-Length: 2000000\r\n\r\n"[..],
            b"\x16\x03\x01\r\n\r\n",
            b"GET / HT",
            &long,
        ] {
            assert!(read(&mut &bytes[..], &mut Vec::new()).is_err());
        }
    }

    #[test]
    fn answers_say_their_length() {
        let mut bytes = Vec::new();
        Answer::of(404, "no").header("content-type", "a/b").write(&mut bytes).unwrap();
        assert_eq!(bytes, b"HTTP/1.1 404 Not Found\r\ncontent-type: a/b\r\nContent-Length: 2\r\n\r\nno");
    }
}
