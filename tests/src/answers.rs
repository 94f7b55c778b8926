//! A server that answers with given documents, whatever is asked of it and how; over TLS if it is given a certificate. It ends when dropped.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nix::sys::socket::{Shutdown, shutdown};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A client that says nothing is given up after this.
const IDLE: Duration = Duration::from_secs(10);

/// Documents by path, without the query.
pub type Documents = BTreeMap<String, Vec<u8>>;

/// A running server.
#[derive(Debug)]
pub struct Answers(TcpListener);

impl Answers {
    /// Listens at `address` in the network namespace of the calling thread.
    pub fn start(address: SocketAddr, tls: Option<Arc<ServerConfig>>, documents: Documents) -> Self {
        let listener =
            TcpListener::bind(address).unwrap_or_else(|error| panic!("listening on {address}: {error}"));
        let own = listener.try_clone().expect("a socket can be shared");
        let documents = Arc::new(documents);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (tls, documents) = (tls.clone(), Arc::clone(&documents));
                // A client that goes away is its own business.
                thread::spawn(move || drop(welcome(stream, tls, &documents)));
            }
        });
        Self(own)
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        // Whoever waits for a connection is woken up; a socket that is closed already needs that no more.
        let _ = shutdown(self.0.as_raw_fd(), Shutdown::Both);
    }
}

fn welcome(stream: TcpStream, tls: Option<Arc<ServerConfig>>, documents: &Documents) -> io::Result<()> {
    stream.set_read_timeout(Some(IDLE))?;
    let Some(tls) = tls else { return serve(stream, documents) };
    let connection = ServerConnection::new(tls).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(connection, stream);
    serve(&mut stream, documents)?;
    stream.conn.send_close_notify();
    stream.flush()
}

/// One request: every answer ends its connection.
fn serve(stream: impl Read + Write, documents: &Documents) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    while !head.ends_with("\r\n\r\n") {
        let start = head.len();
        if stream.read_line(&mut head)? == 0 {
            return Ok(());
        }
        if let Some((name, value)) = head[start..].split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    io::copy(&mut (&mut stream).take(length), &mut io::sink())?;
    let path = head.split(' ').nth(1).and_then(|target| target.split('?').next()).unwrap_or_default();
    let (status, body) = documents.get(path).map_or(("404 Not Found", &[][..]), |body| ("200 OK", body));
    let stream = stream.get_mut();
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len())?;
    stream.write_all(body)?;
    stream.flush()
}
