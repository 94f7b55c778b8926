//! A client that does nothing on its own.
#![allow(dead_code)]

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket};
use std::os::fd::AsRawFd;

/// What came back.
#[derive(Debug, Default)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find(|header| header.0.eq_ignore_ascii_case(name))
            .map(|header| header.1)
    }
}

/// Sends one request on a connection of its own and reads to the end of it.
pub fn ask(address: SocketAddr, method: &str, target: &str, headers: &[(&str, &str)]) -> io::Result<Reply> {
    converse(TcpStream::connect_timeout(&address, Duration::from_millis(500))?, method, target, headers)
}

/// The same from a port that only root may use.
pub fn ask_as_root(address: SocketAddr, method: &str, target: &str) -> io::Result<Reply> {
    let SocketAddr::V4(to) = address else { return Err(io::Error::other("IPv4 only")) };
    for port in (600..1023).rev() {
        let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        match bind(socket.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, port)) {
            Err(nix::Error::EADDRINUSE) => continue,
            bound => bound?,
        }
        connect(socket.as_raw_fd(), &SockaddrIn::from(to))?;
        return converse(TcpStream::from(socket), method, target, &[]);
    }
    Err(io::ErrorKind::AddrInUse.into())
}

fn converse(
    mut stream: TcpStream,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
) -> io::Result<Reply> {
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    write!(stream, "{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n")?;
    let mut bytes = Vec::new();
    let mut piece = [0; 65536];
    while bytes.len() < 8 << 20 {
        match stream.read(&mut piece)? {
            0 => break,
            count => bytes.extend_from_slice(&piece[..count]),
        }
    }
    let end = bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .ok_or_else(|| io::Error::other(format!("no head: {bytes:?}")))?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or_default();
    Ok(Reply { status, head, body: bytes[end + 4..].to_vec() })
}
