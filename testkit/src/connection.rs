//! A connection of a client: plain or TLS, and the ways in which it can end.

use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

use nix::libc::linger;
use nix::sys::socket::{setsockopt, sockopt};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A connection; writing to it sends bytes to the client.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<Stream>,
    pub(crate) is_over: bool,
    pub(crate) is_head: bool,
}

#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
}

impl Connection {
    pub(crate) fn new(socket: TcpStream, tls: Option<&Arc<ServerConfig>>) -> io::Result<Self> {
        let stream = match tls {
            None => Stream::Plain(socket),
            Some(config) => {
                let session = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
                Stream::Tls(Box::new(StreamOwned::new(session, socket)))
            }
        };
        Ok(Self { stream: BufReader::new(stream), is_over: false, is_head: false })
    }

    pub(crate) fn reader(&mut self) -> &mut BufReader<impl Read + use<>> {
        &mut self.stream
    }

    fn socket(&self) -> &TcpStream {
        match self.stream.get_ref() {
            Stream::Plain(socket) => socket,
            Stream::Tls(stream) => &stream.sock,
        }
    }

    /// Whether the request was HEAD: its answer has no body.
    pub fn is_head(&self) -> bool {
        self.is_head
    }

    /// The connection ends here in good order: with TLS's farewell, then TCP's.
    pub fn close(&mut self) -> io::Result<()> {
        self.is_over = true;
        if let Stream::Tls(stream) = self.stream.get_mut() {
            stream.conn.send_close_notify();
        }
        self.flush()?;
        self.socket().shutdown(Shutdown::Both)
    }

    /// The TCP stream ends here, without TLS's farewell.
    pub fn cut(&mut self) -> io::Result<()> {
        self.is_over = true;
        self.flush()?;
        self.socket().shutdown(Shutdown::Both)
    }

    /// The connection is reset.
    pub fn reset(&mut self) -> io::Result<()> {
        self.is_over = true;
        reset(self.socket())
    }
}

/// Closing this socket, which must happen next, resets the connection.
pub(crate) fn reset(socket: &TcpStream) -> io::Result<()> {
    setsockopt(socket, sockopt::Linger, &linger { l_onoff: 1, l_linger: 0 }).map_err(io::Error::from)
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.stream.get_mut() {
            Stream::Plain(stream) => stream.write(bytes),
            Stream::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.stream.get_mut() {
            Stream::Plain(stream) => stream.flush(),
            Stream::Tls(stream) => stream.flush(),
        }
    }
}
