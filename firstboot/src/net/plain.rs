//! HTTP without TLS, for the things that have none: the kubelet's `/healthz` on this machine, a config whose digest is pinned, and whoever a
//! platform names for a report of the machine's state.

use http::Method;

use super::connection::Fault;
use super::head::head;
use super::plain_connection::PlainConnection;
use super::{Deadline, Network, exchange, resolve};
use crate::error::{ErrorKind, Failure, Result};
use crate::kubernetes::endpoint::Endpoint;

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// Whom to ask, and within which bounds.
#[derive(Debug, Clone, Copy)]
pub struct Plain<'a> {
    /// How the machine reaches out.
    pub network: &'a Network,
    /// The server.
    pub endpoint: &'a Endpoint,
    /// The most bytes that a body may have.
    pub limit: usize,
    /// By when it must have answered.
    pub deadline: Deadline,
}

impl Plain<'_> {
    /// GET of `path`. Redirects are not followed.
    pub fn get(&self, path: &str) -> Result<Answer> {
        self.send(&Method::GET, path, &[], b"")
    }

    /// POST of `body` to `path`.
    pub fn post(&self, path: &str, content_type: &str, body: &[u8]) -> Result<Answer> {
        self.send(&Method::POST, path, &[("content-type", content_type)], body)
    }

    fn send(&self, method: &Method, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer> {
        let failed =
            |why: &str| Failure::new(ErrorKind::Unreachable, format!("http://{}: {why}", self.endpoint));
        let host = self.endpoint.to_string();
        let host = host.strip_suffix(":80").unwrap_or(&host);
        let request =
            head(method, &format!("http://{host}{path}"), host, headers.iter().copied(), body.len());
        let request = request.map_err(|why| failed(&why))?;
        let exchanged = self.connect()?.and_then(|mut connection| {
            let received = exchange::ask(&mut connection, request, body, self.deadline)?;
            let status = received.status;
            received
                .body_within(self.limit, &mut connection, self.deadline)
                .map(|(body, _)| Answer { status, body })
        });
        exchanged.map_err(|fault| failed(&fault.why(self.deadline)).transient())
    }

    /// A connection to the first address that accepts one.
    fn connect(&self) -> Result<std::result::Result<PlainConnection, Fault>> {
        let mut last = Err(Fault::Io("connecting", std::io::Error::other("it has no address")));
        for address in
            resolve::addresses(self.network, &self.endpoint.host, self.endpoint.port, self.deadline)?
        {
            last = PlainConnection::open(address, false, self.deadline.within(self.network.connect_timeout));
            if last.is_ok() {
                break;
            }
        }
        Ok(last)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
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
        let network = Network::new(Root::default());
        Plain {
            network: &network,
            endpoint: &endpoint,
            limit,
            deadline: Deadline::after(Duration::from_secs(5)),
        }
        .get("/healthz")
    }

    #[test]
    fn reads_status_and_body() {
        let answer = answered(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 10).unwrap();
        assert_eq!(answer, Answer { status: 200, body: b"ok".to_vec() });
        assert_eq!(answered(b"HTTP/1.0 503 no\r\n\r\n", 10).unwrap().status, 503);
        assert_eq!(
            answered(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 10)
                .unwrap()
                .body,
            b"ok"
        );
    }

    #[test]
    fn refuses_what_is_cut_off_too_long_or_no_answer() {
        for (answer, why) in [
            (
                &b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"[..],
                "the connection broke in the middle of the answer",
            ),
            (b"HTTP/1.1 200", "the connection broke in the middle of the answer"),
            (b"", "the server closed the connection without an answer"),
            (b"SSH-2.0-OpenSSH\r\n", "not HTTP"),
            (b"HTTP/1.1 200 OK\r\n\r\n01234567890", "longer than 10 bytes"),
        ] {
            let failure = answered(answer, 10).unwrap_err();
            assert!(
                failure.message.contains(why) && failure.kind == ErrorKind::Unreachable && failure.transient,
                "{failure}"
            );
        }
    }
}
