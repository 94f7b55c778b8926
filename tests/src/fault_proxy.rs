//! A server in place of the API server. As a test decides, it answers wrongly, late, partly or not at all, or
//! passes the request to the real API server. It serves TLS with any given certificate.
//!
//! ```text
//! agent ─► proxy (in a namespace of the test, 10.99.0.1:6443) ─► API server (in the control plane's namespace)
//! ```

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, RootCertStore, StreamOwned};
use testkit::{Connection, Door, Options, Pair, Request, TestServer};

use crate::control_plane::ControlPlane;
use crate::netns;

/// Time limit for silent clients and servers.
const IDLE: Duration = Duration::from_secs(60);

/// The action for one request.
#[derive(Debug, Clone)]
pub enum Action {
    /// It is passed on, and its answer is returned.
    Pass,
    /// The connection is reset.
    Reset,
    /// No answer ever comes.
    Silence,
    /// It is passed on; the answer is thrown away and the connection reset.
    Forget,
    /// It is passed on; the answer comes in pieces of this many bytes, fifty milliseconds apart.
    Trickle(usize),
    /// It is passed on; the connection ends in the middle of the answer's body.
    Half,
    /// It is not passed on; this is the answer: the status line, more header lines, the body.
    Answer(&'static str, &'static str, &'static str),
    /// It is passed on; in the answer's body every occurrence of the first text is replaced by the second.
    Replace(String, String),
    /// It is passed on; the answer says that it is this date.
    Date(String),
}

/// A running proxy; it ends when dropped.
#[derive(Debug)]
pub struct FaultProxy {
    server: TestServer,
}

impl FaultProxy {
    /// Listens on `address` in the network namespace of the process `pid`, in front of the API server of
    /// `control_plane`. `decide` chooses what is done to each request: by its method and path
    /// (`GET /api/v1/…`), and by the number of those before it with the same method and path.
    pub fn start(
        pid: &str,
        address: &str,
        control_plane: &ControlPlane,
        identity: Pair,
        door: Door,
        decide: impl Fn(&str, usize) -> Action + Send + Sync + 'static,
    ) -> Self {
        let upstream = Upstream::of(control_plane);
        let counts: Mutex<BTreeMap<String, usize>> = Mutex::default();
        let script = move |request: &Request, client: &mut Connection| {
            let line = request.line();
            let path = line.split('?').next().unwrap_or_default();
            let before = {
                let mut counts = counts.lock().expect("no holder panics");
                let count = counts.entry(path.to_owned()).or_default();
                *count += 1;
                *count - 1
            };
            act(&upstream, request, client, &decide(path, before))
        };
        let options = Options {
            address: address.to_owned(),
            tls: Some(identity.server_config()),
            door,
            one_request: true,
            connections: None,
            idle: Some(IDLE),
        };
        Self { server: netns::inside(pid, move || TestServer::run(options, script)) }
    }

    /// The requests so far: `GET /api/v1/…`.
    pub fn requests(&self) -> Vec<String> {
        self.server.lines()
    }
}

struct Upstream {
    pid: String,
    tls: Arc<rustls::ClientConfig>,
    address: SocketAddr,
}

impl Upstream {
    fn of(control_plane: &ControlPlane) -> Self {
        let mut roots = RootCertStore::empty();
        let pem = control_plane.ca();
        for certificate in rustls::pki_types::pem::PemObject::pem_slice_iter(pem.as_bytes()).flatten() {
            roots.add(certificate).expect("kubeadm's CA is a certificate");
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring has what TLS needs");
        Self {
            pid: control_plane.fact("pid").to_owned(),
            tls: Arc::new(tls.with_root_certificates(roots).with_no_client_auth()),
            address: control_plane.endpoint().parse().expect("the lab's endpoint is an address"),
        }
    }

    fn connect(&self) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
        let stream = netns::inside(&self.pid, || TcpStream::connect(self.address))?;
        stream.set_read_timeout(Some(IDLE))?;
        let name = ServerName::IpAddress(self.address.ip().into());
        let connection = ClientConnection::new(Arc::clone(&self.tls), name).map_err(io::Error::other)?;
        Ok(StreamOwned::new(connection, stream))
    }
}

fn act(upstream: &Upstream, request: &Request, client: &mut Connection, action: &Action) -> io::Result<()> {
    match action {
        Action::Reset => client.reset(),
        Action::Silence => {
            thread::sleep(IDLE);
            Ok(())
        }
        Action::Answer(status, headers, body) => {
            let length = body.len();
            write!(
                client,
                "HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            )
        }
        action => pass_on(upstream, request, client, action),
    }
}

fn pass_on(
    upstream: &Upstream,
    request: &Request,
    client: &mut Connection,
    action: &Action,
) -> io::Result<()> {
    let mut server = upstream.connect()?;
    let lines = request
        .head
        .trim_end()
        .lines()
        .filter(|line| !is_header(line, "connection") && !is_header(line, "accept-encoding"));
    let head: String = lines.map(|line| format!("{line}\r\n")).collect();
    server.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes())?;
    server.write_all(&request.body)?;
    if let Action::Pass = action {
        // A watch goes on for as long as both sides want.
        return relay(&mut server, client);
    }
    let mut bytes = Vec::new();
    // The end of a TLS stream without its farewell is an error to rustls; here it is an end.
    let _ = server.read_to_end(&mut bytes);
    match action {
        Action::Forget => client.reset(),
        Action::Trickle(size) => bytes.chunks(*size).try_for_each(|piece| {
            thread::sleep(Duration::from_millis(50));
            client.write_all(piece)?;
            client.flush()
        }),
        Action::Half => {
            let start = end_of_head(&bytes).unwrap_or(bytes.len());
            client.write_all(&bytes[..start + (bytes.len() - start) / 2])?;
            client.cut()
        }
        Action::Replace(from, to) => client.write_all(&replaced(&bytes, from, to)),
        Action::Date(date) => client.write_all(&dated(&bytes, date)),
        _ => client.write_all(&bytes),
    }
}

fn relay(server: &mut impl Read, client: &mut Connection) -> io::Result<()> {
    let mut buffer = [0; 16 * 1024];
    loop {
        match server.read(&mut buffer) {
            Ok(0) | Err(_) => return Ok(()),
            Ok(count) => {
                client.write_all(&buffer[..count])?;
                client.flush()?;
            }
        }
    }
}

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

fn is_header(line: &str, name: &str) -> bool {
    line.split_once(':').is_some_and(|(start, _)| start.eq_ignore_ascii_case(name))
}

/// An answer with another text in its body, and the length that goes with it.
fn replaced(answer: &[u8], from: &str, to: &str) -> Vec<u8> {
    let start = end_of_head(answer).unwrap_or(answer.len());
    let head = String::from_utf8_lossy(&answer[..start]).into_owned();
    let chunked = head.lines().any(|line| is_header(line, "transfer-encoding"));
    let body = if chunked { without_chunks(&answer[start..]) } else { answer[start..].to_vec() };
    let body = String::from_utf8_lossy(&body).replace(from, to);
    let kept = head
        .trim_end()
        .lines()
        .filter(|line| !is_header(line, "transfer-encoding") && !is_header(line, "content-length"));
    let head: String = kept.map(|line| format!("{line}\r\n")).collect();
    format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// A body in chunks (RFC 9112 §7.1), put together.
fn without_chunks(mut bytes: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(end) = bytes.windows(2).position(|window| window == b"\r\n") {
        let size = usize::from_str_radix(String::from_utf8_lossy(&bytes[..end]).trim(), 16).unwrap_or(0);
        let start = end + 2;
        if size == 0 || bytes.len() < start + size + 2 {
            break;
        }
        whole.extend_from_slice(&bytes[start..start + size]);
        bytes = &bytes[start + size + 2..];
    }
    whole
}

fn dated(answer: &[u8], date: &str) -> Vec<u8> {
    let start = end_of_head(answer).unwrap_or(answer.len());
    let head = String::from_utf8_lossy(&answer[..start]).into_owned();
    let lines = head.trim_end().lines().map(|line| {
        if is_header(line, "date") { format!("Date: {date}\r\n") } else { format!("{line}\r\n") }
    });
    let mut bytes = lines.collect::<String>().into_bytes();
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(&answer[start..]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_changed_whole() {
        let answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nDate: x\r\n\r\n4\r\nabcd\r\n3\r\nefg\r\n0\r\n\r\n";
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        assert_eq!(
            text(replaced(answer, "cde", "-")),
            "HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 5\r\n\r\nab-fg"
        );
        assert!(
            text(dated(answer, "y"))
                .starts_with("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nDate: y\r\n\r\n4\r\nabcd")
        );
    }
}
