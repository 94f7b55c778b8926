//! A script that serves the files of a folder, with ranges (RFC 9110 §14), for network boots and mirrors.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Component, Path, PathBuf};

use crate::{Connection, Options, Request, TestServer};

/// Serves the files below `folder` on a free port of the loopback address.
pub fn serve(folder: &Path) -> TestServer {
    serve_by(Options::default(), folder)
}

/// The same at an address of this machine, with its port.
pub fn serve_at(address: &str, folder: &Path) -> TestServer {
    serve_by(Options { address: address.to_owned(), ..Options::default() }, folder)
}

fn serve_by(options: Options, folder: &Path) -> TestServer {
    let folder = folder.to_owned();
    TestServer::run(options, move |request, connection| answer(connection, &folder, request))
}

/// The URL of a server as a guest in QEMU's user network reaches it.
pub fn guest_url(server: &TestServer) -> String {
    format!("http://10.0.2.2:{}", server.address.port())
}

fn answer(to: &mut Connection, folder: &Path, request: &Request) -> io::Result<()> {
    let file = local_path(folder, &request.path)
        .and_then(|path| File::open(path).ok())
        .filter(|file| file.metadata().is_ok_and(|metadata| metadata.is_file()));
    let Some(mut file) = file else {
        return to.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    };
    let size = file.metadata()?.len();
    let range = request.header("range").and_then(parse_range);
    let (first, last) = match range {
        None => (0, size),
        Some((first, last)) => (first, last.map_or(size, |last| size.min(last.saturating_add(1)))),
    };
    if first > last || (range.is_some() && first >= size) {
        return write!(
            to,
            "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */{size}\r\nContent-Length: 0\r\n\r\n"
        );
    }
    let status = if range.is_some() { "206 Partial Content" } else { "200 OK" };
    let length = last - first;
    let mut head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nAccept-Ranges: bytes\r\n");
    if range.is_some() {
        head += &format!("Content-Range: bytes {first}-{}/{size}\r\n", last - 1);
    }
    to.write_all((head + "\r\n").as_bytes())?;
    if !to.is_head() {
        file.seek(SeekFrom::Start(first))?;
        io::copy(&mut file.take(length), to)?;
    }
    Ok(())
}

/// `bytes=FIRST-` or `bytes=FIRST-LAST`; other forms are served whole, as the standard allows.
fn parse_range(value: &str) -> Option<(u64, Option<u64>)> {
    let (first, last) = value.trim().strip_prefix("bytes=")?.split_once('-')?;
    let last = if last.is_empty() { None } else { Some(last.parse().ok()?) };
    Some((first.parse().ok()?, last))
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
    use std::net::{Shutdown, TcpStream};

    fn ask(server: &TestServer, request: &str) -> String {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn files_are_served_whole_and_in_ranges() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a"), "0123456789").unwrap();
        let server = serve(folder.path());
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
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.write_all(b"GET /a HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(
            answer.ends_with("\r\n\r\n0123456789"),
            "the connection of a client of HTTP/1.0 ends with the answer"
        );
        assert_eq!(server.lines().first().map(String::as_str), Some("GET /a"));
    }

    #[test]
    fn nothing_outside_the_folder_is_served() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("in")).unwrap();
        std::fs::write(folder.path().join("secret"), "x").unwrap();
        let server = serve(&folder.path().join("in"));
        for path in ["/../secret", "//etc/passwd/../../secret", "/"] {
            assert!(
                ask(&server, &format!("GET {path} HTTP/1.1\r\n\r\n")).starts_with("HTTP/1.1 404"),
                "{path}"
            );
        }
    }
}
