//! Windows.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::windows::io::AsRawSocket;
use std::time::Duration;

use windows_sys::Win32::Networking::WinSock::{
    IPPROTO_TCP, SO_KEEPALIVE, SOL_SOCKET, TCP_KEEPCNT, TCP_KEEPIDLE, TCP_KEEPINTVL, WSAEAFNOSUPPORT,
    setsockopt,
};

use super::{KEEPALIVE_COUNT, KEEPALIVE_IDLE, KEEPALIVE_INTERVAL};

/// Whether a machine without IPv6 says this.
pub(in crate::net) fn lacks_family(error: &io::Error) -> bool {
    error.raw_os_error() == Some(WSAEAFNOSUPPORT)
}

/// A watch may be silent for minutes. With keep-alive, the system notices that the peer is gone; without it,
/// only the deadline ends the wait.
pub(in crate::net) fn keep_alive(socket: &TcpStream) {
    set(socket, SOL_SOCKET, SO_KEEPALIVE, 1);
    set(socket, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE);
    set(socket, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL);
    set(socket, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_COUNT);
}

#[allow(unsafe_code)] // a call of the system that std does not offer
fn set(socket: &TcpStream, level: i32, option: i32, value: u32) {
    let Ok(handle) = usize::try_from(socket.as_raw_socket()) else { return };
    let (bytes, length) = (value.to_ne_bytes(), 4);
    // SAFETY: the socket is open, and the value is as long as it says and outlives the call.
    unsafe { setsockopt(handle, level, option, bytes.as_ptr(), length) };
}

/// No service that asks for a port of root's offers machines with Windows.
pub(in crate::net) fn connect_from(_: u16, _: SocketAddr, _: Duration) -> io::Result<TcpStream> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "Windows has no ports of the administrator"))
}
