//! A request as a server received it.

use std::io::{self, BufRead, Read};

/// A request.
#[derive(Debug, Clone)]
pub struct Request {
    /// The connection on which it came, counted from 0.
    pub connection: usize,
    /// Its number among all requests to this server, counted from 0.
    pub number: usize,
    /// The method.
    pub method: String,
    /// The target: a path with its query; for a proxy, a URL.
    pub path: String,
    /// The request line and the headers, up to and with the empty line.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Request {
    /// Reads one; none where the connection ends before one is complete.
    pub(crate) fn read(stream: &mut impl BufRead, connection: usize) -> io::Result<Option<Self>> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read_until(b'\n', &mut head)? == 0 {
                return Ok(None);
            }
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let mut words = head.split(' ').map(str::to_owned);
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let mut request = Self { connection, number: 0, method, path, head, body: Vec::new() };
        let length = request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        stream.take(length).read_to_end(&mut request.body)?;
        Ok((request.body.len() as u64 == length).then_some(request))
    }

    /// Method and target: `GET /path?query`.
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// The headers, as they were sent.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        let lines = self.head.lines().skip(1);
        lines.filter_map(|line| line.split_once(':')).map(|(name, value)| (name, value.trim()))
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The first byte that a `Range: bytes=N-` asks for.
    pub fn range(&self) -> Option<usize> {
        self.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }

    /// A form to compare: the first line, the headers in order of their lower-case names without those that
    /// every request has, the body.
    pub fn shape(&self) -> String {
        let first = self.head.lines().next().unwrap_or_default().to_owned();
        let mut lines: Vec<String> =
            self.headers().map(|(name, value)| format!("{}: {value}", name.to_lowercase())).collect();
        lines.retain(|line| !["host: ", "user-agent: "].iter().any(|usual| line.starts_with(usual)));
        lines.sort();
        lines.insert(0, first);
        if !self.body.is_empty() {
            lines.push(String::from_utf8_lossy(&self.body).into_owned());
        }
        lines.join("\n")
    }

    /// Whether the connection ends with the answer, as with HTTP/1.0.
    pub(crate) fn is_last(&self) -> bool {
        self.head.lines().next().is_some_and(|line| line.ends_with(" HTTP/1.0"))
    }
}
