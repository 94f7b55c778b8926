//! A server in the API server's place that does to its clients what a test wants: it answers wrongly, late, by half or not at all, and hands the
//! rest on to the real API server. It speaks TLS with whatever certificate it is given.
//!
//! ```text
//! agent ─► liar (on an island, 10.99.0.1:6443) ─► API server (in the control plane's namespace)
//! ```

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use crate::authority::Identity;
use crate::control_plane::ControlPlane;
use crate::island;

/// A client that says nothing, and a server that does not answer, are given up after this.
const IDLE: Duration = Duration::from_secs(60);

/// What is done to one request.
#[derive(Debug, Clone)]
pub enum Deed {
    /// It is handed on, and so is the answer.
    Pass,
    /// The connection is reset.
    Reset,
    /// No answer ever comes.
    Silence,
    /// It is handed on; the answer is thrown away and the connection reset.
    Forget,
    /// It is handed on; the answer comes in pieces of this many bytes, fifty milliseconds apart.
    Trickle(usize),
    /// It is handed on; the connection ends in the middle of the answer's body.
    Half,
    /// It is not handed on; this is the answer: the status line, more header lines, the body.
    Answer(&'static str, &'static str, &'static str),
    /// It is handed on; in the answer's body every occurrence of the first text is replaced by the second.
    Replace(String, String),
    /// It is handed on; the answer says that it is this date.
    Date(String),
}

/// What is done to connections before anything is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Connections are taken.
    Open,
    /// They are taken and reset as soon as the client has spoken.
    Reset,
    /// They are taken, and nothing is ever said.
    Silent,
}

/// See [`Liar::start`].
type Judge = dyn Fn(&str, usize) -> Deed + Send + Sync;

struct Shared {
    tls: Arc<ServerConfig>,
    judge: Box<Judge>,
    door: Door,
    upstream: Upstream,
    requests: Mutex<Vec<String>>,
}

struct Upstream {
    pid: String,
    tls: Arc<rustls::ClientConfig>,
    address: SocketAddr,
}

/// A running liar; it ends with the program.
pub struct Liar {
    shared: Arc<Shared>,
}

impl fmt::Debug for Liar {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Liar").field("requests", &self.requests()).finish()
    }
}

impl Liar {
    /// Listens on `address` in the network namespace of the process `pid`, in front of the API server of `control_plane`. `judge` decides over each
    /// request: by its method and path (`GET /api/v1/…`), and by the number of those before it with the same method and path.
    pub fn start(
        pid: &str,
        address: &str,
        control_plane: &ControlPlane,
        identity: Identity,
        door: Door,
        judge: impl Fn(&str, usize) -> Deed + Send + Sync + 'static,
    ) -> Self {
        let shared = Arc::new(Shared {
            tls: identity.into_server_config(),
            judge: Box::new(judge),
            door,
            upstream: Upstream::of(control_plane),
            requests: Mutex::default(),
        });
        let own = Arc::clone(&shared);
        island::inside(pid, move || {
            let listener =
                TcpListener::bind(address).unwrap_or_else(|error| panic!("listening on {address}: {error}"));
            thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let shared = Arc::clone(&own);
                    // A client that goes away is its own business.
                    thread::spawn(move || drop(shared.welcome(stream)));
                }
            });
        });
        Self { shared }
    }

    /// The requests so far: `GET /api/v1/…`.
    pub fn requests(&self) -> Vec<String> {
        self.shared.requests.lock().expect("no holder panics").clone()
    }
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
        let stream = island::inside(&self.pid, || TcpStream::connect(self.address))?;
        stream.set_read_timeout(Some(IDLE))?;
        let name = ServerName::IpAddress(self.address.ip().into());
        let connection = ClientConnection::new(Arc::clone(&self.tls), name).map_err(io::Error::other)?;
        Ok(StreamOwned::new(connection, stream))
    }
}

type Client = StreamOwned<ServerConnection, TcpStream>;

impl Shared {
    fn welcome(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_read_timeout(Some(IDLE))?;
        match self.door {
            Door::Open => self.serve(stream),
            Door::Reset => {
                stream.peek(&mut [0])?;
                reset(&stream)
            }
            Door::Silent => {
                thread::sleep(IDLE);
                Ok(())
            }
        }
    }

    /// One request: every answer ends its connection.
    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        let connection = ServerConnection::new(Arc::clone(&self.tls)).map_err(io::Error::other)?;
        let mut client = StreamOwned::new(connection, stream);
        let Some((head, body)) = read_message(&mut client)? else { return Ok(()) };
        let asked = head.split(" HTTP/").next().unwrap_or_default().to_owned();
        let path = asked.split('?').next().unwrap_or_default().to_owned();
        let before = {
            let mut requests = self.requests.lock().expect("no holder panics");
            requests.push(asked);
            requests.iter().filter(|request| request.split('?').next() == Some(&path)).count() - 1
        };
        match (self.judge)(&path, before) {
            Deed::Reset => return reset(&client.sock),
            Deed::Silence => thread::sleep(IDLE),
            Deed::Answer(status, headers, text) => answer(&mut client, status, headers, text)?,
            deed @ Deed::Forget => return self.hand_on(&mut client, &head, &body, &deed),
            deed => self.hand_on(&mut client, &head, &body, &deed)?,
        }
        close(&mut client)
    }

    fn hand_on(&self, client: &mut Client, head: &str, body: &[u8], deed: &Deed) -> io::Result<()> {
        let mut server = self.upstream.connect()?;
        let lines = head
            .trim_end()
            .lines()
            .filter(|line| !is_header(line, "connection") && !is_header(line, "accept-encoding"));
        let head: String = lines.map(|line| format!("{line}\r\n")).collect();
        server.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes())?;
        server.write_all(body)?;
        if let Deed::Pass = deed {
            // A watch goes on for as long as both sides want.
            return relay(&mut server, client);
        }
        let mut bytes = Vec::new();
        // The end of a TLS stream without its farewell is an error to rustls, to us an end.
        let _ = server.read_to_end(&mut bytes);
        match deed {
            Deed::Forget => reset(&client.sock),
            Deed::Trickle(size) => bytes.chunks(*size).try_for_each(|piece| {
                thread::sleep(Duration::from_millis(50));
                client.write_all(piece)?;
                client.flush()
            }),
            Deed::Half => {
                let start = end_of_head(&bytes).unwrap_or(bytes.len());
                client.write_all(&bytes[..start + (bytes.len() - start) / 2])?;
                client.flush()?;
                // No farewell: the stream is cut.
                client.sock.shutdown(std::net::Shutdown::Both)
            }
            Deed::Replace(from, to) => client.write_all(&replaced(&bytes, from, to)),
            Deed::Date(date) => client.write_all(&dated(&bytes, date)),
            _ => client.write_all(&bytes),
        }
    }
}

fn relay(server: &mut impl Read, client: &mut Client) -> io::Result<()> {
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

/// The connection ends with a reset when its socket closes, which happens next.
fn reset(stream: &TcpStream) -> io::Result<()> {
    let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
    nix::sys::socket::setsockopt(stream, nix::sys::socket::sockopt::Linger, &linger).map_err(io::Error::from)
}

fn close(client: &mut Client) -> io::Result<()> {
    client.conn.send_close_notify();
    client.flush()
}

fn answer(client: &mut Client, status: &str, headers: &str, body: &str) -> io::Result<()> {
    let length = body.len();
    let text = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    client.write_all(text.as_bytes())
}

/// A request's head and body; none where the connection ends before one.
fn read_message(stream: &mut impl Read) -> io::Result<Option<(String, Vec<u8>)>> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        if let Some(end) = end_of_head(&bytes) {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let length = head
                .lines()
                .find(|line| is_header(line, "content-length"))
                .and_then(|line| line[15..].trim().parse().ok())
                .unwrap_or(0);
            if bytes.len() >= end + length {
                return Ok(Some((head, bytes[end..end + length].to_vec())));
            }
        }
        match stream.read(&mut buffer)? {
            0 => return Ok(None),
            count => bytes.extend_from_slice(&buffer[..count]),
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

    #[test]
    fn a_request_ends_with_its_body() {
        let mut bytes: &[u8] = b"POST /x HTTP/1.1\r\ncontent-length: 3\r\n\r\nabcdef";
        let (head, body) = read_message(&mut bytes).unwrap().unwrap();
        assert!(head.starts_with("POST /x") && body == b"abc");
        assert!(read_message(&mut io::empty()).unwrap().is_none());
    }
}
