//! Ports of this machine.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};

use super::socket;

/// Listens for a moment, as the kubelet will: on IPv6 and IPv4, or on IPv4 alone if there is no IPv6.
pub(crate) fn try_port(port: u16) -> io::Result<()> {
    match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)) {
        Err(error) if socket::lacks_family(&error) => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).map(drop)
        }
        bound => bound.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_taken_is_noticed() {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(try_port(port).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(listener);
        try_port(port).unwrap();
    }
}
