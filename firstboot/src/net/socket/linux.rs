//! Linux.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

use super::{KEEPALIVE_COUNT, KEEPALIVE_IDLE, KEEPALIVE_INTERVAL};

/// Whether a machine without IPv6 says this.
pub(in crate::net) fn lacks_family(error: &io::Error) -> bool {
    error.raw_os_error() == Some(nix::Error::EAFNOSUPPORT as i32)
}

/// A watch may be silent for minutes. With keep-alive, the kernel notices that the peer is gone; without it,
/// only the deadline ends the wait.
pub(in crate::net) fn keep_alive(socket: &TcpStream) {
    let _ = setsockopt(socket, sockopt::KeepAlive, &true);
    let _ = setsockopt(socket, sockopt::TcpKeepIdle, &KEEPALIVE_IDLE);
    let _ = setsockopt(socket, sockopt::TcpKeepInterval, &KEEPALIVE_INTERVAL);
    let _ = setsockopt(socket, sockopt::TcpKeepCount, &KEEPALIVE_COUNT);
}

/// Connects to `address` from this port of the machine, for `limit` at most.
pub(in crate::net) fn connect_from(port: u16, address: SocketAddr, limit: Duration) -> io::Result<TcpStream> {
    let (family, own): (_, SocketAddr) = match address {
        SocketAddr::V4(_) => (AddressFamily::Inet, ([0, 0, 0, 0], port).into()),
        SocketAddr::V6(_) => (AddressFamily::Inet6, ([0_u16; 8], port).into()),
    };
    let socket: OwnedFd = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    bind(socket.as_raw_fd(), &SockaddrStorage::from(own))?;
    // connect(2) obeys the timeout for sending.
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
