//! An HTTP/1.1 server on the loopback interface whose faults each test scripts, and a store to fetch into.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use kiln::digest::Digest;
use kiln::error::Result;
use kiln::fetch::{Fetched, Fetcher, Options, Request, Route};
use kiln::progress::Progress;
use kiln::store::Store;
use tempfile::TempDir;

/// A request as the server saw it.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    /// As in the request line: a path, or for a proxy an address.
    pub target: String,
    headers: Vec<(String, String)>,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The first byte that a `Range: bytes=N-` asks for.
    pub fn range(&self) -> Option<usize> {
        self.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }

    fn read(stream: &mut impl Read) -> Option<Self> {
        let mut lines = BufReader::new(stream).lines();
        let first = lines.next()?.ok()?;
        let mut words = first.split(' ').map(str::to_owned);
        let (method, target) = (words.next()?, words.next()?);
        let headers = lines.map_while(|line| {
            let line = line.ok()?;
            line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned()))
        });
        Some(Self { method, target, headers: headers.collect() })
    }
}

/// Answers the request with this number, counted from 0.
type Script = dyn Fn(usize, &Seen, &mut dyn Write) -> io::Result<()> + Send + Sync;

/// A running server. It ends with the test's process.
pub struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    /// Serves one request per connection, each in its own thread.
    pub fn start(
        script: impl Fn(usize, &Seen, &mut dyn Write) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self::behind(|stream, answer| answer(stream), script)
    }

    /// Like `start`, with something between the socket and HTTP, such as TLS.
    pub fn behind(
        wrap: impl Fn(&mut TcpStream, &dyn Fn(&mut dyn ReadWrite)) + Send + Sync + 'static,
        script: impl Fn(usize, &Seen, &mut dyn Write) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let shared: (Arc<Script>, _, _) = (Arc::new(script), Arc::new(wrap), Arc::clone(&seen));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(mut stream), (script, wrap, seen)) = (stream, shared.clone()) else { return };
                thread::spawn(move || {
                    wrap(&mut stream, &|mut stream| answer(&mut stream, &seen, &*script));
                    let _gone = stream.shutdown(Shutdown::Both);
                });
            }
        });
        Self { address, seen }
    }

    /// The address of `path` on this server.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// All requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

/// A connection.
pub trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}

fn answer(stream: &mut dyn ReadWrite, seen: &Mutex<Vec<Seen>>, script: &Script) {
    let Some(request) = Seen::read(&mut &mut *stream) else { return };
    let number = {
        let mut seen = seen.lock().unwrap();
        seen.push(request.clone());
        seen.len() - 1
    };
    // A client that has gone away, as clients do that refuse an answer, is no failure of the server.
    let _gone = script(number, &request, &mut &mut *stream);
    let _gone = stream.flush();
}

/// A status line, headers, and the connection's end after the body.
pub fn head(stream: &mut dyn Write, status: &str, headers: &[(&str, &str)]) -> io::Result<()> {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    write!(stream, "HTTP/1.1 {status}\r\n{headers}Connection: close\r\n\r\n")
}

/// A complete answer.
pub fn reply(stream: &mut dyn Write, status: &str, body: &[u8]) -> io::Result<()> {
    head(stream, status, &[("Content-Length", &body.len().to_string())])?;
    stream.write_all(body)
}

/// What an honest server does: ranges, an entity tag, HEAD.
pub fn serve(stream: &mut dyn Write, request: &Seen, body: &[u8]) -> io::Result<()> {
    let start = request.range().filter(|start| *start < body.len()).unwrap_or(0);
    let rest = if request.method == "HEAD" { &[][..] } else { &body[start..] };
    let length = (body.len() - start).to_string();
    let range = format!("bytes {start}-{}/{}", body.len() - 1, body.len());
    let mut headers = vec![("Content-Length", length.as_str()), ("ETag", "\"one\"")];
    if start > 0 {
        headers.push(("Content-Range", &range));
    }
    head(stream, if start > 0 { "206 Partial Content" } else { "200 OK" }, &headers)?;
    stream.write_all(rest)
}

/// Promises the whole body and sends only its first `count` bytes.
pub fn cut(stream: &mut dyn Write, body: &[u8], count: usize) -> io::Result<()> {
    head(stream, "200 OK", &[("Content-Length", &body.len().to_string()), ("ETag", "\"one\"")])?;
    stream.write_all(&body[..count])
}

/// Bytes that look random and are the same each time.
pub fn content(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// A request for `body` at `url`, with its length.
pub fn request(url: &str, body: &[u8]) -> Request {
    Request {
        title: "part".to_owned(),
        urls: vec![url.to_owned()],
        digest: Digest::of(body),
        size: Some(body.len() as u64),
        absent: None,
    }
}

/// Options that make a test fast and independent of the environment.
pub fn options() -> Options {
    let stall = Duration::from_millis(1500);
    Options {
        retries: 2,
        backoff: Duration::from_millis(2),
        connect: stall,
        stall,
        route: Route::Direct,
        ..Options::default()
    }
}

/// A store in a folder of its own.
pub struct Cache {
    pub folder: TempDir,
    pub store: Store,
}

impl Cache {
    pub fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let store = Store::open(folder.path()).unwrap();
        Self { folder, store }
    }

    /// Fetches one file by a fetcher of its own, as a new process would.
    pub fn fetch(&self, request: &Request, options: Options) -> Result<Fetched> {
        let progress = Progress::silent();
        let fetched =
            Fetcher::new(&self.store, options, &progress)?.fetch_all(std::slice::from_ref(request))?;
        Ok(fetched.into_iter().next().unwrap())
    }

    /// Leaves bytes of an unfinished download, as a killed process does.
    pub fn leave_partial(&self, digest: &Digest, bytes: &[u8]) {
        fs::write(self.folder.path().join("partial").join(digest.hex()), bytes).unwrap();
    }

    /// Asserts that the store holds these files and no others, each with the bytes that its name says, and these unfinished ones.
    #[track_caller]
    pub fn assert_holds(&self, blobs: &[&[u8]], partials: &[&[u8]]) {
        let stored = self.files("blobs");
        for (name, bytes) in &stored {
            assert_eq!(*name, Digest::of(bytes).hex(), "an unverified file is in the store");
        }
        let bytes = |files: BTreeSet<(String, Vec<u8>)>| {
            files.into_iter().map(|(_, bytes)| bytes).collect::<BTreeSet<_>>()
        };
        let wanted = |list: &[&[u8]]| list.iter().map(|bytes| bytes.to_vec()).collect::<BTreeSet<_>>();
        assert!(bytes(stored) == wanted(blobs), "other blobs than expected");
        assert!(bytes(self.files("partial")) == wanted(partials), "other unfinished files than expected");
    }

    fn files(&self, folder: &str) -> BTreeSet<(String, Vec<u8>)> {
        let entries = fs::read_dir(self.folder.path().join(folder)).unwrap().map(|entry| entry.unwrap());
        entries
            .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
            .collect()
    }
}
