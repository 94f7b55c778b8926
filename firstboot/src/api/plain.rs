//! HTTP without TLS, for the things that have none: the kubelet's `/healthz` on this machine, a config whose digest is pinned, and whoever a
//! platform names for a report of the machine's state.
//!
//! HTTP/1.0 (RFC 1945), so that the answer ends with the connection and is never chunked.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::{Deadline, Network, resolve};
use crate::error::{Class, Failure, Result};
use crate::kubernetes::endpoint::Endpoint;

/// Longest head of an answer.
const LONGEST_HEAD: usize = 16 * 1024;
/// Headers of an answer that are read.
const MOST_HEADERS: usize = 64;

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// GET of `path` from `endpoint`; a body longer than `limit` bytes is an error. Redirects are not followed.
pub fn get(network: &Network, endpoint: &Endpoint, path: &str, limit: usize, deadline: Deadline) -> Result<Answer> {
    exchange(network, endpoint, &format!("GET {path} HTTP/1.0\r\n"), b"", limit, deadline)
}

/// POST of `body` to `path` at `endpoint`; otherwise like [`get`].
pub fn post(
    network: &Network,
    endpoint: &Endpoint,
    path: &str,
    content_type: &str,
    body: &[u8],
    limit: usize,
    deadline: Deadline,
) -> Result<Answer> {
    let head = format!("POST {path} HTTP/1.0\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n", body.len());
    exchange(network, endpoint, &head, body, limit, deadline)
}

fn exchange(network: &Network, endpoint: &Endpoint, head: &str, body: &[u8], limit: usize, deadline: Deadline) -> Result<Answer> {
    let failed = |why: String| Failure::new(Class::Unreachable, format!("http://{endpoint}: {why}")).transient();
    let mut stream = connect(network, endpoint, deadline)?;
    let host = endpoint.to_string();
    let host = host.strip_suffix(":80").unwrap_or(&host);
    let mut request = format!("{head}Host: {host}\r\nUser-Agent: firstboot/{}\r\n\r\n", env!("CARGO_PKG_VERSION")).into_bytes();
    request.extend_from_slice(body);
    stream
        .set_write_timeout(deadline.timeout().ok())
        .and_then(|()| stream.write_all(&request))
        .map_err(|error| failed(error.to_string()))?;
    let bytes = read(&mut stream, LONGEST_HEAD + limit, deadline).map_err(failed)?;
    let answer = parse(&bytes).map_err(failed)?;
    if answer.body.len() > limit { Err(failed(format!("the answer is longer than {limit} bytes"))) } else { Ok(answer) }
}

fn connect(network: &Network, endpoint: &Endpoint, deadline: Deadline) -> Result<TcpStream> {
    let addresses = resolve::addresses(network, &endpoint.host, endpoint.port, deadline)?;
    let attempt = |address: &SocketAddr| TcpStream::connect_timeout(address, deadline.within(network.connect_timeout).timeout()?);
    let mut last = None;
    for address in &addresses {
        match attempt(address) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(error),
        }
    }
    let why = last.map_or_else(|| "it has no address".to_owned(), |error| error.to_string());
    Err(Failure::new(Class::Unreachable, format!("connecting to {endpoint}: {why}")).transient())
}

/// Everything until the end of the connection, at most a little more than `limit` bytes.
fn read(stream: &mut TcpStream, limit: usize, deadline: Deadline) -> std::result::Result<Vec<u8>, String> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 8192]);
    loop {
        let timeout = deadline.timeout().map_err(|_| "the answer does not end in time".to_owned())?;
        stream.set_read_timeout(Some(timeout)).map_err(|error| error.to_string())?;
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(bytes),
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Err("no answer in time".to_owned()),
            Err(error) => return Err(error.to_string()),
        }
        if is_whole(&bytes) {
            return Ok(bytes);
        }
        if bytes.len() > limit {
            return Err(format!("the answer is longer than {limit} bytes"));
        }
    }
}

/// Whether everything that the server announced is there: it may keep the connection open.
fn is_whole(bytes: &[u8]) -> bool {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut head = httparse::Response::new(&mut headers);
    let Ok(httparse::Status::Complete(length)) = head.parse(bytes) else { return false };
    announced(&head).is_some_and(|announced| bytes.len() - length >= announced)
}

fn announced(head: &httparse::Response) -> Option<usize> {
    let header = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"))?;
    std::str::from_utf8(header.value).ok()?.trim().parse().ok()
}

/// Reads a whole answer. A body that is shorter than the server announced was cut off.
pub fn parse(bytes: &[u8]) -> std::result::Result<Answer, String> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut head = httparse::Response::new(&mut headers);
    let length = match head.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Err("the answer was cut off".to_owned()),
        Err(_) => return Err("the answer is not HTTP".to_owned()),
    };
    let body = bytes[length..].to_vec();
    if head.headers.iter().any(|header| header.name.eq_ignore_ascii_case("transfer-encoding")) {
        return Err("the answer is chunked, which HTTP/1.0 does not know".to_owned());
    }
    if announced(&head).is_some_and(|announced| body.len() < announced) {
        return Err("the answer was cut off".to_owned());
    }
    Ok(Answer { status: head.code.unwrap_or_default(), body })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Duration;

    use super::*;
    use crate::host::root::Root;

    fn answered(answer: &'static [u8], limit: usize) -> Result<Answer> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(answer);
        });
        let endpoint = Endpoint { host: "127.0.0.1".to_owned(), port };
        get(&Network::new(Root::default()), &endpoint, "/healthz", limit, Deadline::after(Duration::from_secs(5)))
    }

    #[test]
    fn reads_status_and_body() {
        let answer = answered(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 10).unwrap();
        assert_eq!(answer, Answer { status: 200, body: b"ok".to_vec() });
        assert_eq!(answered(b"HTTP/1.0 503 no\r\n\r\n", 10).unwrap().status, 503);
    }

    #[test]
    fn refuses_what_is_cut_off_too_long_or_no_answer() {
        for (answer, why) in [
            (&b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"[..], "cut off"),
            (b"HTTP/1.1 200", "cut off"),
            (b"", "cut off"),
            (b"SSH-2.0-OpenSSH\r\n", "not HTTP"),
            (b"HTTP/1.1 200 OK\r\n\r\n01234567890", "longer than 10 bytes"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "chunked"),
        ] {
            let failure = answered(answer, 10).unwrap_err();
            assert!(failure.message.contains(why) && failure.class == Class::Unreachable && failure.transient, "{failure}");
        }
    }
}
