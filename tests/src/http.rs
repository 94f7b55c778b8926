//! A small HTTP/1.1 server of one folder, with ranges (RFC 9110 §14), for network boots and mirrors. It listens on the loopback address alone;
//! a guest in QEMU's user network reaches it as 10.0.2.2.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

/// A running server; it ends with the program.
#[derive(Debug)]
pub struct Server {
    port: u16,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Serves the files below `folder` on a free port.
    pub fn of(folder: &Path) -> Self {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("the loopback address can be bound");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let requests: Arc<Mutex<Vec<String>>> = Arc::default();
        let (log, folder) = (Arc::clone(&requests), folder.to_owned());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (log, folder) = (Arc::clone(&log), folder.clone());
                // A client that goes away is its own business.
                thread::spawn(move || drop(serve(&stream, &folder, &log)));
            }
        });
        Self { port, requests }
    }

    /// The address of the folder as seen from this machine.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The address of the folder as seen by a guest in QEMU's user network.
    pub fn guest_url(&self) -> String {
        format!("http://10.0.2.2:{}", self.port)
    }

    /// The request lines so far ("GET /boot.ipxe").
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("no holder panics").clone()
    }
}

fn serve(stream: &TcpStream, folder: &Path, log: &Mutex<Vec<String>>) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    while let Some(request) = read_request(&mut reader)? {
        log.lock().expect("no holder panics").push(format!("{} {}", request.method, request.path));
        answer(stream, folder, &request)?;
        if request.is_last {
            break;
        }
    }
    // Clones of the descriptor must not keep it open.
    stream.shutdown(std::net::Shutdown::Both)
}

struct Request {
    method: String,
    path: String,
    range: Option<(u64, Option<u64>)>,
    /// Of HTTP/1.0: the answer ends with the connection.
    is_last: bool,
}

fn read_request(reader: &mut impl BufRead) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (Some(method), Some(path)) = (words.next(), words.next()) else { return Ok(None) };
    let is_last = words.next().as_deref() == Some("HTTP/1.0");
    let mut range = None;
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header)? == 0 || header.trim().is_empty() {
            return Ok(Some(Request { method, path, range, is_last }));
        }
        let (name, value) = header.split_once(':').unwrap_or_default();
        if name.eq_ignore_ascii_case("range") {
            range = parse_range(value);
        }
    }
}

/// `bytes=FIRST-` or `bytes=FIRST-LAST`; other forms are served whole, as the standard allows.
fn parse_range(value: &str) -> Option<(u64, Option<u64>)> {
    let (first, last) = value.trim().strip_prefix("bytes=")?.split_once('-')?;
    let last = if last.is_empty() { None } else { Some(last.parse().ok()?) };
    Some((first.parse().ok()?, last))
}

fn answer(mut stream: &TcpStream, folder: &Path, request: &Request) -> io::Result<()> {
    let file = local_path(folder, &request.path)
        .and_then(|path| File::open(path).ok())
        .filter(|file| file.metadata().is_ok_and(|m| m.is_file()));
    let Some(mut file) = file else {
        return stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    };
    let size = file.metadata()?.len();
    let (first, last) = match request.range {
        None => (0, size),
        Some((first, last)) => (first, last.map_or(size, |last| size.min(last.saturating_add(1)))),
    };
    if first > last || (request.range.is_some() && first >= size) {
        return write!(
            stream,
            "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */{size}\r\nContent-Length: 0\r\n\r\n"
        );
    }
    let status = if request.range.is_some() { "206 Partial Content" } else { "200 OK" };
    let mut head =
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nAccept-Ranges: bytes\r\n", last - first);
    if request.range.is_some() {
        head += &format!("Content-Range: bytes {first}-{}/{size}\r\n", last - 1);
    }
    stream.write_all((head + "\r\n").as_bytes())?;
    if request.method != "HEAD" {
        file.seek(SeekFrom::Start(first))?;
        io::copy(&mut file.take(last - first), &mut stream)?;
    }
    Ok(())
}

/// The file that a request's path names; none for a path that leaves the folder.
fn local_path(folder: &Path, path: &str) -> Option<PathBuf> {
    let path = path.split(['?', '#']).next()?;
    let relative = Path::new(path.trim_start_matches('/'));
    relative
        .components()
        .all(|part| matches!(part, Component::Normal(_)))
        .then(|| folder.join(relative))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(server: &Server, request: &str) -> String {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn files_are_served_whole_and_in_ranges() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a"), "0123456789").unwrap();
        let server = Server::of(folder.path());
        assert!(ask(&server, "GET /a HTTP/1.1\r\n\r\n").ends_with("\r\n\r\n0123456789"));
        let part = ask(&server, "GET /a HTTP/1.1\r\nRange: bytes=7-\r\n\r\n");
        assert!(
            part.starts_with("HTTP/1.1 206")
                && part.ends_with("\r\n\r\n789")
                && part.contains("bytes 7-9/10"),
            "{part}"
        );
        assert!(ask(&server, "GET /a HTTP/1.1\r\nRange: bytes=2-3\r\n\r\n").ends_with("\r\n\r\n23"));
        assert!(ask(&server, "GET /a HTTP/1.1\r\nRange: bytes=10-\r\n\r\n").starts_with("HTTP/1.1 416"));
        assert!(ask(&server, "HEAD /a HTTP/1.1\r\n\r\n").ends_with("Accept-Ranges: bytes\r\n\r\n"));
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port)).unwrap();
        stream.write_all(b"GET /a HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(
            answer.ends_with("\r\n\r\n0123456789"),
            "the connection of a client of HTTP/1.0 ends with the answer"
        );
        assert_eq!(server.requests().first().map(String::as_str), Some("GET /a"));
    }

    #[test]
    fn nothing_outside_the_folder_is_served() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("in")).unwrap();
        std::fs::write(folder.path().join("secret"), "x").unwrap();
        let server = Server::of(&folder.path().join("in"));
        for path in ["/../secret", "//etc/passwd/../../secret", "/"] {
            assert!(
                ask(&server, &format!("GET {path} HTTP/1.1\r\n\r\n")).starts_with("HTTP/1.1 404"),
                "{path}"
            );
        }
    }
}
