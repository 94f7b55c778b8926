//! One TCP connection, with or without TLS. A deadline bounds every system call, so no server can hold the
//! agent by sending slowly.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection};

use super::network::{Counters, Network};
use super::stream::{Fault, Stream};
use super::{Deadline, socket};

/// The size of one read, in bytes.
const CHUNK: usize = 16 * 1024;
/// Ports that only root can send from; services use those below 600.
const PRIVILEGED: std::ops::Range<u16> = 600..1024;

/// The transport of a connection.
#[derive(Debug, Clone)]
pub(crate) enum Transport {
    /// Plain TCP; metadata services have no TLS.
    Plain {
        /// Whether to send from a port below 1024, which proves to some services that the client is root.
        privileged_port: bool,
    },
    /// TLS with the server of this name.
    Tls(ServerName<'static>, Arc<ClientConfig>),
}

/// An open connection.
pub(crate) struct Connection {
    socket: TcpStream,
    tls: Option<ClientConnection>,
    inbox: Vec<u8>,
    counters: Arc<Counters>,
    /// The server's address.
    pub peer: SocketAddr,
    /// Whether a request was already sent on it.
    pub used: bool,
}

impl Connection {
    /// Connects to the first address that accepts, and does the TLS handshake if there is one.
    pub fn open(
        addresses: &[SocketAddr],
        transport: &Transport,
        network: &Network,
        deadline: Deadline,
    ) -> Result<Self, Fault> {
        let (socket, peer) = connect_first(addresses, transport, network, deadline)
            .map_err(|error| Fault::Io("connecting", error))?;
        let _ = socket.set_nodelay(true);
        let (tls, counters) = match transport {
            Transport::Plain { .. } => (None, Arc::default()),
            Transport::Tls(name, config) => {
                socket::keep_alive(&socket);
                let tls = ClientConnection::new(config.clone(), name.clone()).map_err(Fault::Tls)?;
                (Some(tls), network.counters().clone())
            }
        };
        let mut connection = Self { socket, tls, inbox: Vec::new(), counters, peer, used: false };
        if let (Some(tls), mut wire) = connection.parts(deadline) {
            tls.complete_io(&mut wire).map_err(|error| fault("the TLS handshake", error))?;
            Counters::add(&connection.counters.connections, 1);
        }
        Ok(connection)
    }

    /// The certificates that the peer showed.
    pub fn peer_chain(&self) -> Vec<CertificateDer<'static>> {
        let shown = self.tls.as_ref().and_then(|tls| tls.peer_certificates()).unwrap_or_default();
        shown.iter().map(|certificate| certificate.clone().into_owned()).collect()
    }

    /// The counters of this connection. Only connections with TLS add to the network's counters.
    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }

    fn parts(&mut self, deadline: Deadline) -> (Option<&mut ClientConnection>, Wire<'_>) {
        (self.tls.as_mut(), Wire { socket: &self.socket, deadline, counters: &self.counters })
    }
}

impl Stream for Connection {
    fn send(&mut self, bytes: &[u8], deadline: Deadline) -> Result<(), Fault> {
        let sent = match self.parts(deadline) {
            (Some(tls), mut wire) => {
                let mut stream = rustls::Stream::new(tls, &mut wire);
                stream.write_all(bytes).and_then(|()| stream.flush())
            }
            (None, mut wire) => wire.write_all(bytes),
        };
        sent.map_err(|error| fault("sending", error))?;
        self.used = true;
        Ok(())
    }

    fn fill(&mut self, deadline: Deadline) -> Result<bool, Fault> {
        let mut chunk = [0; CHUNK];
        let received = match self.parts(deadline) {
            (Some(tls), mut wire) => rustls::Stream::new(tls, &mut wire).read(&mut chunk),
            (None, mut wire) => wire.read(&mut chunk),
        };
        let length = match received {
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

fn fault(doing: &'static str, error: io::Error) -> Fault {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(tls) => Fault::Tls(tls.clone()),
        None if error.kind() == io::ErrorKind::UnexpectedEof => Fault::Closed,
        None => Fault::Io(doing, error),
    }
}

/// Tries the addresses in turn; a dead one among several does not use up the deadline.
fn connect_first(
    addresses: &[SocketAddr],
    transport: &Transport,
    network: &Network,
    deadline: Deadline,
) -> io::Result<(TcpStream, SocketAddr)> {
    let mut last = io::Error::other("this machine has no address of that family yet");
    // A server without TLS is near, so it accepts at once or not at all.
    let is_bounded = addresses.len() > 1 || matches!(transport, Transport::Plain { .. });
    for address in addresses {
        let bound = if is_bounded { deadline.within(network.connect_timeout) } else { deadline };
        let connected = match transport {
            Transport::Plain { privileged_port: true } => connect_privileged(*address, bound),
            _ => bound.timeout().and_then(|timeout| TcpStream::connect_timeout(address, timeout)),
        };
        match connected {
            Ok(socket) => return Ok((socket, *address)),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Takes the first free port. A port is also not free while the kernel remembers an old connection from it to
/// this server.
fn connect_privileged(address: SocketAddr, deadline: Deadline) -> io::Result<TcpStream> {
    for port in PRIVILEGED.rev() {
        match socket::connect_from(port, address, deadline.timeout()?) {
            Err(error)
                if matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable) => {}
            connected => return connected,
        }
    }
    Err(io::Error::new(io::ErrorKind::AddrInUse, "no port below 1024 is free"))
}

/// The socket with a deadline and counters.
struct Wire<'a> {
    socket: &'a TcpStream,
    deadline: Deadline,
    counters: &'a Counters,
}

impl Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.socket.set_read_timeout(Some(self.deadline.timeout()?))?;
            match self.socket.read(buffer).map_err(timed_out) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(length) => {
                    Counters::add(&self.counters.received, length);
                    return Ok(length);
                }
            }
        }
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

/// The system reports the timeout of a socket as "would block".
fn timed_out(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock { io::ErrorKind::TimedOut.into() } else { error }
}
