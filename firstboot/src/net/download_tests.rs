use std::io::Write;

use testkit::{Options, TestServer, folder};

use super::*;
use crate::host::root::Root;

const LIMITS: Limits = Limits { silence: Duration::from_secs(2), patience: Duration::from_secs(3) };

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|number| (number * 7 + number / 251) as u8).collect()
}

fn read(url: &str) -> Result<Vec<u8>, Failure> {
    let (mut stream, broken) = Download::begin(&Network::new(Root::default()), url, LIMITS, |_| ());
    let mut all = Vec::new();
    let read = stream.read_to_end(&mut all);
    match broken.take() {
        Some(failure) => Err(failure),
        None => Ok(read.map(|_| all).unwrap()),
    }
}

/// A server that ends each connection after `piece` bytes of the body.
fn breaking(whole: Vec<u8>, piece: usize, has_ranges: bool, tag: &'static str) -> TestServer {
    TestServer::run(Options::default(), move |request, connection| {
        let from = request.range().filter(|_| has_ranges).unwrap_or(0);
        let (status, range) = match from {
            0 => ("200 OK", String::new()),
            from => (
                "206 Partial Content",
                format!("Content-Range: bytes {from}-{}/{}\r\n", whole.len() - 1, whole.len()),
            ),
        };
        let rest = &whole[from..];
        write!(connection, "HTTP/1.1 {status}\r\n{range}{tag}Content-Length: {}\r\n\r\n", rest.len())?;
        let already = if has_ranges { 0 } else { piece * request.connection };
        connection.write_all(&rest[..rest.len().min(piece + already)])?;
        if rest.len() > piece + already { connection.cut() } else { Ok(()) }
    })
}

#[test]
fn a_file_goes_on_where_its_connection_broke() {
    for has_ranges in [true, false] {
        let whole = bytes(300_000);
        let server = breaking(whole.clone(), 70_000, has_ranges, "ETag: \"v1\"\r\n");
        assert!(read(&server.url("/x")).unwrap() == whole, "{has_ranges}");
        let requests = server.requests();
        assert_eq!(requests.len(), 5);
        assert_eq!(requests[1].header("range"), Some("bytes=70000-"));
        assert_eq!(requests[1].header("if-range"), Some("\"v1\""));
    }
    let server = breaking(bytes(1000), 600, true, "ETag: W/\"v1\"\r\n");
    assert!(read(&server.url("/x")).is_ok());
    assert_eq!(server.requests()[1].header("if-range"), None, "a weak tag does not tell versions apart");
}

#[test]
fn a_server_that_is_gone_is_given_up() {
    let server = TestServer::run(Options { connections: Some(1), ..Options::default() }, |_, connection| {
        write!(connection, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")?;
        connection.cut()
    });
    let begin = std::time::Instant::now();
    let failure = read(&server.url("/x")).unwrap_err();
    assert!(failure.kind == ErrorKind::Unreachable && failure.transient, "{failure:?}");
    assert!(begin.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_server_that_falls_silent_is_left() {
    let server = TestServer::run(Options::default(), |request, connection| {
        if request.connection > 0 {
            return write!(
                connection,
                "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 3-4/5\r\nContent-Length: 2\r\n\r\nde"
            );
        }
        write!(connection, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc")?;
        std::thread::sleep(LIMITS.silence * 3);
        Ok(())
    });
    assert_eq!(read(&server.url("/x")).unwrap(), b"abcde");
}

#[test]
fn a_refusal_is_final_and_an_answer_that_makes_no_sense_too() {
    let folder = tempfile::tempdir().unwrap();
    let server = folder::serve(folder.path());
    let failure = read(&server.url("/missing")).unwrap_err();
    assert!(failure.message.contains("404 Not Found"), "{failure}");
    assert_eq!(server.requests().len(), 1);
    let server = TestServer::run(Options::default(), |request, connection| {
        if request.connection > 0 {
            let head =
                "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 1-4/5\r\nContent-Length: 4\r\n\r\n";
            return write!(connection, "{head}bcde");
        }
        write!(connection, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc")?;
        connection.cut()
    });
    let failure = read(&server.url("/x")).unwrap_err();
    assert!(failure.kind == ErrorKind::Source && failure.message.contains("makes no sense"), "{failure}");
    assert!(read("http://h ost/x").unwrap_err().kind == ErrorKind::Config);
}
