//! One TCP connection with TLS on it. Every system call is bounded by a deadline, so that no server can hold the agent by sending slowly.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use nix::sys::socket::{setsockopt, sockopt};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection};

use super::Deadline;
use super::exchange::Stream;
use super::network::{Counters, Network};

/// Bytes that are read at once.
const CHUNK: usize = 16 * 1024;
/// Seconds of silence before the kernel asks a peer whether it is still there.
const KEEPALIVE_IDLE: u32 = 15;
/// Seconds between such questions.
const KEEPALIVE_INTERVAL: u32 = 5;
/// Unanswered questions before the connection counts as dead.
const KEEPALIVE_COUNT: u32 = 3;

/// What goes wrong on the wire.
#[derive(Debug)]
pub(super) enum Fault {
    /// The operating system's error, time-outs included, and what was being done.
    Io(&'static str, io::Error),
    /// The TLS layer's error.
    Tls(rustls::Error),
    /// The peer closed the connection before it sent a byte of the answer.
    Closed,
    /// The peer closed the connection in the middle of the answer.
    Truncated,
    /// The answer is not HTTP/1.1.
    Protocol(String),
    /// The answer is longer than this many bytes.
    TooLong(usize),
}

impl Fault {
    /// What went wrong, in words for people; `deadline` was the exchange's.
    pub fn why(&self, deadline: Deadline) -> String {
        match self {
            Self::Io(doing, error) if error.kind() == io::ErrorKind::TimedOut => {
                format!("{doing}: no answer within {:.1} s", deadline.elapsed().as_secs_f64())
            }
            Self::Io(doing, error) => format!("{doing}: {}", crate::error::plain(error)),
            Self::Tls(error) => error.to_string(),
            Self::Closed => "the server closed the connection without an answer".to_owned(),
            Self::Truncated => "the connection broke in the middle of the answer".to_owned(),
            Self::Protocol(what) => format!("the answer is not HTTP: {what}"),
            Self::TooLong(limit) => format!("the answer is longer than {limit} bytes"),
        }
    }

    /// Whether the same request may be answered the next time.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Io(..) | Self::Closed | Self::Truncated)
    }
}

/// An open connection.
pub(super) struct Connection {
    socket: TcpStream,
    tls: ClientConnection,
    inbox: Vec<u8>,
    counters: Arc<Counters>,
    /// Whether a request was sent on it already.
    pub used: bool,
}

impl Connection {
    /// Connects to the first address that accepts, and does the handshake.
    pub fn open(
        addresses: &[SocketAddr],
        name: ServerName<'static>,
        config: Arc<ClientConfig>,
        network: &Network,
        deadline: Deadline,
    ) -> Result<Self, Fault> {
        let socket = connect(addresses, network, deadline).map_err(|error| Fault::Io("connecting", error))?;
        keep_alive(&socket);
        let tls = ClientConnection::new(config, name).map_err(Fault::Tls)?;
        let mut connection =
            Self { socket, tls, inbox: Vec::new(), counters: network.counters().clone(), used: false };
        let (tls, mut wire) = connection.parts(deadline);
        tls.complete_io(&mut wire).map_err(|error| fault("the TLS handshake", error))?;
        Counters::add(&network.counters().connections, 1);
        Ok(connection)
    }

    /// The certificates that the peer showed.
    pub fn peer_chain(&self) -> Vec<CertificateDer<'static>> {
        self.tls
            .peer_certificates()
            .unwrap_or_default()
            .iter()
            .map(|certificate| certificate.clone().into_owned())
            .collect()
    }

    fn parts(&mut self, deadline: Deadline) -> (&mut ClientConnection, Wire<'_>) {
        (&mut self.tls, Wire { socket: &self.socket, deadline, counters: &self.counters })
    }
}

impl Stream for Connection {
    fn send(&mut self, bytes: &[u8], deadline: Deadline) -> Result<(), Fault> {
        let (tls, mut wire) = self.parts(deadline);
        let mut stream = rustls::Stream::new(tls, &mut wire);
        stream
            .write_all(bytes)
            .and_then(|()| stream.flush())
            .map_err(|error| fault("sending", error))?;
        self.used = true;
        Ok(())
    }

    fn fill(&mut self, deadline: Deadline) -> Result<bool, Fault> {
        let mut chunk = [0; CHUNK];
        let (tls, mut wire) = self.parts(deadline);
        let length = match rustls::Stream::new(tls, &mut wire).read(&mut chunk) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(Fault::Truncated),
            Err(error) => return Err(fault("waiting for the answer", error)),
        };
        self.inbox.extend_from_slice(&chunk[..length]);
        Ok(length > 0)
    }

    fn inbox(&self) -> &[u8] {
        &self.inbox
    }

    fn consume(&mut self, length: usize) {
        self.inbox.drain(..length);
    }
}

impl Fault {
    /// Whether the peer had simply given the idle connection up, so that a new one deserves the same request.
    pub fn is_stale(&self) -> bool {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected};
        match self {
            Self::Closed => true,
            Self::Io(_, error) => {
                matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected)
            }
            _ => false,
        }
    }
}

fn fault(doing: &'static str, error: io::Error) -> Fault {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(tls) => Fault::Tls(tls.clone()),
        None if error.kind() == io::ErrorKind::UnexpectedEof => Fault::Closed,
        None => Fault::Io(doing, error),
    }
}

/// Tries the addresses in turn; a dead one among several does not eat the deadline.
fn connect(addresses: &[SocketAddr], network: &Network, deadline: Deadline) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        let bound = if addresses.len() == 1 { deadline } else { deadline.within(network.connect_timeout) };
        match TcpStream::connect_timeout(address, bound.timeout()?) {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// A watch may be silent for minutes: the kernel notices when the peer is gone. Best effort: without it, the deadline is the bound.
fn keep_alive(socket: &TcpStream) {
    let _ = socket.set_nodelay(true);
    let _ = setsockopt(socket, sockopt::KeepAlive, &true);
    let _ = setsockopt(socket, sockopt::TcpKeepIdle, &KEEPALIVE_IDLE);
    let _ = setsockopt(socket, sockopt::TcpKeepInterval, &KEEPALIVE_INTERVAL);
    let _ = setsockopt(socket, sockopt::TcpKeepCount, &KEEPALIVE_COUNT);
}

/// The socket with a deadline and counters.
struct Wire<'a> {
    socket: &'a TcpStream,
    deadline: Deadline,
    counters: &'a Counters,
}

impl Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(Some(self.deadline.timeout()?))?;
        let length = self.socket.read(buffer).map_err(timed_out)?;
        Counters::add(&self.counters.received, length);
        Ok(length)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(Some(self.deadline.timeout()?))?;
        let length = self.socket.write(bytes).map_err(timed_out)?;
        Counters::add(&self.counters.sent, length);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A socket's time-out is told as "would block".
pub(super) fn timed_out(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock { io::ErrorKind::TimedOut.into() } else { error }
}
