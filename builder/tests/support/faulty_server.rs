//! Answers of a file server, right and wrong, and a store to fetch into.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::time::Duration;

use kiln::digest::Digest;
use kiln::error::Result;
use kiln::fetch::{FetchedFile, Fetcher, Options, Request, Route};
use kiln::progress::Progress;
use kiln::store::Store;
use tempfile::TempDir;
use testkit::{Connection, TestServer};

/// A server on the loopback address with one request per connection.
pub fn start(
    script: impl Fn(&testkit::Request, &mut Connection) -> io::Result<()> + Send + Sync + 'static,
) -> TestServer {
    TestServer::run(testkit::Options { one_request: true, ..testkit::Options::default() }, script)
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

/// The answer of an honest server: ranges, an entity tag, HEAD.
pub fn serve(stream: &mut dyn Write, request: &testkit::Request, body: &[u8]) -> io::Result<()> {
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
        kept: Vec::new(),
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
    pub fn fetch(&self, request: &Request, options: Options) -> Result<FetchedFile> {
        let progress = Progress::silent();
        let fetched =
            Fetcher::new(&self.store, options, &progress)?.fetch_all(std::slice::from_ref(request))?;
        Ok(fetched.into_iter().next().unwrap())
    }

    /// Leaves bytes of an unfinished download, as a killed process does.
    pub fn leave_partial(&self, digest: &Digest, bytes: &[u8]) {
        fs::write(self.folder.path().join("partial").join(digest.hex()), bytes).unwrap();
    }

    /// Asserts that the store holds these files and no others, each with the bytes that its name says, and
    /// these unfinished ones.
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
