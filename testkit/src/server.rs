//! The server: real sockets, real TLS; a script decides about every request.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustls::ServerConfig;

use crate::connection::{Connection, reset};
use crate::{Ca, Identity, Reply, Request};

/// What happens to a connection before anything is read from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Door {
    /// It is served.
    Open,
    /// It is reset as soon as the client has spoken.
    Reset,
    /// It is taken and never answered.
    Silent,
    /// These bytes are said, without TLS, whatever the client wants; then it is closed.
    Say(Vec<u8>),
}

/// How a server listens and serves.
#[derive(Debug, Clone)]
pub struct Options {
    /// The address. The socket belongs to the network namespace of the calling thread.
    pub address: String,
    /// The TLS side; none: plain HTTP.
    pub tls: Option<Arc<ServerConfig>>,
    /// What happens before anything is read.
    pub door: Door,
    /// Every answer ends its connection.
    pub one_request: bool,
    /// It takes this many connections, one after another, and then closes its socket.
    pub connections: Option<usize>,
    /// A client that is silent for so long is given up.
    pub idle: Option<Duration>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            address: "127.0.0.1:0".to_owned(),
            tls: None,
            door: Door::Open,
            one_request: false,
            connections: None,
            idle: None,
        }
    }
}

type Script = dyn Fn(&Request, &mut Connection) -> io::Result<()> + Send + Sync;

struct Shared {
    options: Options,
    script: Box<Script>,
    requests: Arc<Mutex<Vec<Request>>>,
}

/// A running server; it ends when it is dropped.
#[derive(Debug)]
pub struct TestServer {
    /// Where it listens.
    pub address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    /// None where the server itself closes its socket.
    socket: Option<TcpListener>,
}

impl TestServer {
    /// With TLS; a connection serves many requests.
    pub fn start(
        ca: &Ca,
        identity: &Identity<'_>,
        answer: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::start_at(&Options::default().address, ca, identity, answer)
    }

    /// The same at an address.
    pub fn start_at(
        address: &str,
        ca: &Ca,
        identity: &Identity<'_>,
        answer: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let tls = Some(ca.server_config(identity));
        let options = Options { address: address.to_owned(), tls, ..Options::default() };
        Self::run(options, move |request, connection| answer(request).send(connection))
    }

    /// Without TLS; a connection serves many requests.
    pub fn plain(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::run(Options::default(), move |request, connection| answer(request).send(connection))
    }

    /// Without TLS: one connection for each of these answers, one request a connection; after the last of
    /// them connections are refused.
    pub fn sequence(replies: Vec<Reply>) -> Self {
        let options = Options { one_request: true, connections: Some(replies.len()), ..Options::default() };
        Self::run(options, move |request, connection| replies[request.connection].clone().send(connection))
    }

    /// `script` writes the answer to each request, or ends the connection. Its error ends the connection too:
    /// a client that goes away, as those do that refuse an answer, is no failure of the server.
    pub fn run(
        options: Options,
        script: impl Fn(&Request, &mut Connection) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(&options.address)
            .unwrap_or_else(|error| panic!("listening on {}: {error}", options.address));
        let address = listener.local_addr().expect("a bound socket has an address");
        let socket = options
            .connections
            .is_none()
            .then(|| listener.try_clone().expect("sockets can be shared"));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::new(Shared { options, script: Box::new(script), requests: Arc::clone(&requests) });
        thread::spawn(move || accept(&listener, &shared));
        Self { address, requests, socket }
    }

    /// The URL of `path` on this server, with `http`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("no holder panics").clone()
    }

    /// Method and target of each: `GET /path?query`.
    pub fn lines(&self) -> Vec<String> {
        self.requests().iter().map(Request::line).collect()
    }

    /// Each in a form to compare; see [`Request::shape`].
    pub fn shapes(&self) -> Vec<String> {
        self.requests().iter().map(Request::shape).collect()
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        // Wakes up the thread that waits for a connection; where that has ended, the error means nothing.
        if let Some(socket) = &self.socket {
            let _ = nix::sys::socket::shutdown(socket.as_raw_fd(), nix::sys::socket::Shutdown::Both);
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    let sockets = listener.incoming().map_while(Result::ok).enumerate();
    match shared.options.connections {
        Some(count) => sockets.take(count).for_each(|(number, socket)| drop(shared.welcome(number, socket))),
        None => {
            for (number, socket) in sockets {
                let shared = Arc::clone(shared);
                thread::spawn(move || drop(shared.welcome(number, socket)));
            }
        }
    }
}

impl Shared {
    fn welcome(&self, number: usize, socket: TcpStream) -> io::Result<()> {
        socket.set_read_timeout(self.options.idle)?;
        match &self.options.door {
            Door::Open => self.serve(number, socket),
            Door::Reset => {
                socket.peek(&mut [0])?;
                reset(&socket)
            }
            Door::Silent => {
                thread::sleep(self.options.idle.unwrap_or(Duration::from_secs(60)));
                Ok(())
            }
            Door::Say(bytes) => {
                io::Write::write_all(&mut &socket, bytes)?;
                // A client that still writes would otherwise get a reset before it reads.
                thread::sleep(Duration::from_millis(200));
                socket.shutdown(Shutdown::Both)
            }
        }
    }

    fn serve(&self, number: usize, socket: TcpStream) -> io::Result<()> {
        let mut connection = Connection::new(socket, self.options.tls.as_ref())?;
        while let Some(mut request) = Request::read(connection.reader(), number)? {
            {
                let mut requests = self.requests.lock().expect("no holder panics");
                request.number = requests.len();
                requests.push(request.clone());
            }
            connection.is_head = request.method == "HEAD";
            let outcome = (self.script)(&request, &mut connection);
            if connection.is_over {
                return outcome;
            }
            if outcome.is_err() || self.options.one_request || request.is_last() {
                return connection.close();
            }
        }
        Ok(())
    }
}
