//! One TCP connection without TLS, for metadata services: they have none. Every system call is bounded by a deadline.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

use super::Deadline;
use super::connection::{Fault, timed_out};
use super::exchange::Stream;

/// Bytes that are read at once.
const CHUNK: usize = 16 * 1024;
/// Ports that only root may send from; those below 600 are services' own.
const PRIVILEGED: std::ops::Range<u16> = 600..1024;

/// An open connection.
pub(super) struct PlainConnection {
    socket: TcpStream,
    inbox: Vec<u8>,
}

impl PlainConnection {
    /// Connects; with `privileged` from a port below 1024.
    pub fn open(address: SocketAddr, privileged: bool, deadline: Deadline) -> Result<Self, Fault> {
        let socket = if privileged {
            connect_privileged(address, deadline)
        } else {
            TcpStream::connect_timeout(&address, timeout(deadline)?)
        };
        let socket = socket.map_err(|error| Fault::Io("connecting", error))?;
        let _ = socket.set_nodelay(true);
        Ok(Self { socket, inbox: Vec::new() })
    }
}

impl Stream for PlainConnection {
    fn send(&mut self, bytes: &[u8], deadline: Deadline) -> Result<(), Fault> {
        let sent = self
            .socket
            .set_write_timeout(Some(timeout(deadline)?))
            .and_then(|()| self.socket.write_all(bytes));
        sent.map_err(|error| Fault::Io("sending", timed_out(error)))
    }

    fn fill(&mut self, deadline: Deadline) -> Result<bool, Fault> {
        let mut chunk = [0; CHUNK];
        let read = self.socket.set_read_timeout(Some(timeout(deadline)?)).and_then(|()| {
            loop {
                match self.socket.read(&mut chunk) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    read => break read,
                }
            }
        });
        let length = read.map_err(|error| Fault::Io("waiting for the answer", timed_out(error)))?;
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

fn timeout(deadline: Deadline) -> Result<std::time::Duration, Fault> {
    deadline.timeout().map_err(|error| Fault::Io("waiting", error))
}

/// Takes the first port that is free, also with regard to connections to this server that the kernel still remembers.
fn connect_privileged(address: SocketAddr, deadline: Deadline) -> io::Result<TcpStream> {
    for port in PRIVILEGED.rev() {
        match connect_from(port, address, deadline) {
            Err(error)
                if matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable) => {}
            connected => return connected,
        }
    }
    Err(io::Error::new(io::ErrorKind::AddrInUse, "no port below 1024 is free"))
}

fn connect_from(port: u16, address: SocketAddr, deadline: Deadline) -> io::Result<TcpStream> {
    let (family, own): (_, SocketAddr) = match address {
        SocketAddr::V4(_) => (AddressFamily::Inet, ([0, 0, 0, 0], port).into()),
        SocketAddr::V6(_) => (AddressFamily::Inet6, ([0_u16; 8], port).into()),
    };
    let socket: OwnedFd = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    bind(socket.as_raw_fd(), &SockaddrStorage::from(own))?;
    // connect(2) obeys the time-out for sending.
    let limit = deadline.timeout()?;
    setsockopt(
        &socket,
        sockopt::SendTimeout,
        &TimeVal::milliseconds(i64::try_from(limit.as_millis()).unwrap_or(i64::MAX).max(1)),
    )?;
    match connect(socket.as_raw_fd(), &SockaddrStorage::from(address)) {
        Err(nix::Error::EINPROGRESS | nix::Error::EAGAIN) => Err(io::ErrorKind::TimedOut.into()),
        connected => connected.map(|()| TcpStream::from(socket)).map_err(io::Error::from),
    }
}
