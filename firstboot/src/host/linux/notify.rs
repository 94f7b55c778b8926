//! systemd's notifications (sd_notify(3)): a datagram to the socket that `NOTIFY_SOCKET` names.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Sends `state` (`STATUS=…`, `READY=1`); does nothing without a listener.
pub fn send(state: &str) {
    if let Ok(address) = std::env::var("NOTIFY_SOCKET") {
        let _ = send_to(&address, state);
    }
}

/// An address that begins with `@` is an abstract one.
fn send_to(address: &str, state: &str) -> std::io::Result<usize> {
    let target = match address.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(address)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reaches_a_socket_with_a_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let listener = UnixDatagram::bind(&path).unwrap();
        send_to(path.to_str().unwrap(), "READY=1").unwrap();
        let mut buffer = [0; 32];
        let count = listener.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..count], b"READY=1");
        assert!(send_to("/no/such/socket", "READY=1").is_err());
    }
}
