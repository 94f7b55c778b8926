//! Fetching from servers that fail in every way, and what is in the store afterwards.

use std::io::Write as _;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use kiln::digest::Digest;
use kiln::error::ErrorKind;
use kiln::fetch::{Fetcher, Options};
use kiln::progress::Progress;

#[path = "support/faulty_server.rs"]
#[allow(dead_code)]
mod faulty_server;

use faulty_server::{Cache, content, cut, head, options, reply, request, serve, start};

const LENGTH: usize = 300_000;

#[test]
fn a_file_is_fetched_once_and_then_found() {
    let body = content(LENGTH);
    let (cache, served) = (Cache::new(), body.clone());
    let server = start(move |seen, stream| serve(stream, seen, &served));
    let wanted = request(&server.url("/x"), &body);
    let first = cache.fetch(&wanted, options()).unwrap();
    let second = cache.fetch(&wanted, options()).unwrap();
    assert_eq!((first.cached, first.size, first.from), (false, LENGTH as u64, server.url("/x")));
    assert!(second.cached && second.size == LENGTH as u64);
    assert_eq!(server.requests().len(), 1);
    assert_eq!(server.requests()[0].header("accept-encoding"), Some("identity"));
    cache.assert_holds(&[&body], &[]);
}

#[test]
fn a_truncated_download_goes_on_where_it_stopped() {
    let body = content(LENGTH);
    let (cache, served) = (Cache::new(), body.clone());
    let server = start(move |seen, stream| match seen.number {
        0 => cut(stream, &served, 100_000),
        _ => serve(stream, seen, &served),
    });
    cache.fetch(&request(&server.url("/x"), &body), options()).unwrap();
    let seen = server.requests();
    assert_eq!(seen.len(), 2);
    assert_eq!((seen[1].range(), seen[1].header("if-range")), (Some(100_000), Some("\"one\"")));
    cache.assert_holds(&[&body], &[]);
}

#[test]
fn a_file_without_a_digest_comes_from_one_answer() {
    let body = content(LENGTH);
    let (cache, served) = (Cache::new(), body.clone());
    let server = start(move |seen, stream| match seen.number {
        0 => cut(stream, &[0; LENGTH], 100_000),
        _ => serve(stream, seen, &served),
    });
    let (url, progress) = (server.url("/x"), Progress::silent());
    let fetcher = |allow_unauthenticated| {
        Fetcher::new(&cache.store, Options { allow_unauthenticated, ..options() }, &progress).unwrap()
    };
    let refused = fetcher(false).first_use("part", &url).unwrap_err();
    assert!(refused.kind() == ErrorKind::Lock && refused.message().contains("nobody vouches for part"));
    let found = fetcher(true).first_use("part", &url).unwrap();
    assert_eq!((found.digest, found.size, found.mirror), (Digest::of(&body), LENGTH as u64, None));
    assert_eq!(server.requests()[1].range(), None, "it does not continue the first answer");
    cache.assert_holds(&[&body], &[]);
}

#[test]
fn the_next_process_goes_on_where_the_last_gave_up() {
    let body = content(LENGTH);
    let (cache, served) = (Cache::new(), body.clone());
    let server = start(move |seen, stream| match seen.number {
        0 => cut(stream, &served, 100_000),
        1 | 2 => reply(stream, "503 Service Unavailable", b""),
        _ => serve(stream, seen, &served),
    });
    let wanted = request(&server.url("/x"), &body);
    let error = cache.fetch(&wanted, options()).unwrap_err();
    assert!(
        error.message().contains("gave up after 3 attempts") && error.kind() == ErrorKind::Fetch,
        "{error}"
    );
    cache.assert_holds(&[], &[&body[..100_000]]);
    cache.fetch(&wanted, options()).unwrap();
    assert_eq!(server.requests()[3].range(), Some(100_000));
    cache.assert_holds(&[&body], &[]);
}

#[test]
fn bytes_that_arrived_in_full_need_no_server() {
    let body = content(LENGTH);
    let cache = Cache::new();
    cache.leave_partial(&Digest::of(&body), &body);
    let mut wanted = request("http://127.0.0.1:9/x", &body);
    wanted.size = None;
    assert!(!cache.fetch(&wanted, options()).unwrap().cached);
    cache.assert_holds(&[&body], &[]);
}

#[test]
fn corrupted_bytes_are_refused_and_removed() {
    let body = content(LENGTH);
    let mut wrong = body.clone();
    wrong[LENGTH / 2] ^= 1;
    let (cache, found) = (Cache::new(), Digest::of(&wrong));
    let server = start(move |seen, stream| serve(stream, seen, &wrong));
    let error = cache.fetch(&request(&server.url("/x"), &body), options()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Verification);
    assert!(
        error.message().contains(&found.to_string())
            && error.message().contains(&Digest::of(&body).to_string()),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("upstream replaced this file?"), "{error}");
    assert_eq!(server.requests().len(), 1);
    cache.assert_holds(&[], &[]);
}

#[test]
fn a_length_other_than_the_locked_one_is_refused_before_any_byte() {
    let body = content(LENGTH);
    let (cache, served) = (Cache::new(), body.clone());
    let server = start(move |_, stream| reply(stream, "200 OK", &served[1..]));
    let error = cache.fetch(&request(&server.url("/x"), &body), options()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Verification);
    assert!(error.message().contains("the lock says 300000 bytes, the file is 299999 bytes long"), "{error}");
    assert_eq!(server.requests().len(), 1);
    cache.assert_holds(&[], &[]);
}

#[test]
fn a_server_that_lies_about_the_length_is_found_out() {
    let body = content(LENGTH);
    for (claimed, class, message) in [
        (LENGTH + 5, ErrorKind::Fetch, "of 300005 bytes"),
        (LENGTH - 5, ErrorKind::Verification, "wrong content"),
    ] {
        let (cache, served) = (Cache::new(), body[..LENGTH - 1].to_vec());
        let server = start(move |_, stream| {
            head(stream, "200 OK", &[("Content-Length", &claimed.to_string())])?;
            stream.write_all(&served)
        });
        let mut wanted = request(&server.url("/x"), &body);
        wanted.size = None;
        let error = cache.fetch(&wanted, options()).unwrap_err();
        assert!(error.kind() == class && error.message().contains(message), "{error}");
        let kept: &[&[u8]] = if class == ErrorKind::Fetch { &[&body[..LENGTH - 1]] } else { &[] };
        cache.assert_holds(&[], kept);
    }
}

#[test]
fn a_body_without_a_length_that_ends_early_is_too_short() {
    let body = content(LENGTH);
    let (cache, served) = (Cache::new(), body.clone());
    let server = start(move |seen, stream| match seen.number {
        0 => {
            head(stream, "200 OK", &[])?;
            stream.write_all(&served[..1000])
        }
        _ => serve(stream, seen, &served),
    });
    cache.fetch(&request(&server.url("/x"), &body), options()).unwrap();
    assert_eq!(server.requests()[1].range(), Some(1000));
    cache.assert_holds(&[&body], &[]);
}

#[test]
fn a_slow_server_is_waited_for() {
    let body = content(40);
    let (cache, served) = (Cache::new(), body.clone());
    let server = start(move |_, stream| {
        head(stream, "200 OK", &[("Content-Length", "40")])?;
        for byte in &served {
            stream.write_all(&[*byte])?;
            stream.flush()?;
            thread::sleep(Duration::from_millis(60));
        }
        Ok(())
    });
    let start = Instant::now();
    cache.fetch(&request(&server.url("/x"), &body), options()).unwrap();
    assert!(start.elapsed() > options().stall, "the drip took longer than the stall");
    assert_eq!(server.requests().len(), 1);
    cache.assert_holds(&[&body], &[]);
}

#[test]
fn a_stalled_server_is_given_up() {
    let body = content(LENGTH);
    for (sent, message) in
        [(0, "no answer from 127.0.0.1"), (50_000, "the server sent nothing for 300ms after 50000 bytes")]
    {
        let (cache, served) = (Cache::new(), body.clone());
        let server = start(move |_, stream| {
            if sent > 0 {
                cut(stream, &served, sent)?;
                stream.flush()?;
            }
            thread::sleep(Duration::from_secs(20));
            Ok(())
        });
        let start = Instant::now();
        let impatient = Options { stall: Duration::from_millis(300), retries: 0, ..options() };
        let error = cache.fetch(&request(&server.url("/x"), &body), impatient).unwrap_err();
        assert!(error.message().contains(message), "{error}");
        assert!(start.elapsed() < Duration::from_secs(10));
        let kept: &[&[u8]] = if sent > 0 { &[&body[..sent]] } else { &[] };
        cache.assert_holds(&[], kept);
    }
}

#[test]
fn redirects_are_followed_and_circles_are_left() {
    let body = content(LENGTH);
    let (cache, served) = (Cache::new(), body.clone());
    let server = start(move |seen, stream| match seen.path.as_str() {
        "/start" => head(stream, "302 Found", &[("Location", "/moved/x"), ("Content-Length", "0")]),
        "/circle" => {
            head(stream, "301 Moved Permanently", &[("Location", "/circle"), ("Content-Length", "0")])
        }
        _ => serve(stream, seen, &served),
    });
    let error = cache.fetch(&request(&server.url("/circle"), &body), options()).unwrap_err();
    assert!(error.message().contains("more than 10 redirects"), "{error}");
    assert_eq!(server.requests().len(), 11, "a circle is not tried again");
    cache.assert_holds(&[], &[]);
    cache.fetch(&request(&server.url("/start"), &body), options()).unwrap();
    cache.assert_holds(&[&body], &[]);
}

#[test]
fn a_busy_server_says_when_to_come_back() {
    let body = content(LENGTH);
    let (cache, served) = (Cache::new(), body.clone());
    let server = start(move |seen, stream| match seen.number {
        0 => head(stream, "429 Too Many Requests", &[("Retry-After", "1"), ("Content-Length", "0")]),
        1 => reply(stream, "503 Service Unavailable", b"later"),
        _ => serve(stream, seen, &served),
    });
    let start = Instant::now();
    cache.fetch(&request(&server.url("/x"), &body), options()).unwrap();
    assert!(start.elapsed() >= Duration::from_secs(1), "Retry-After was not obeyed");
    assert_eq!(server.requests().len(), 3);
    cache.assert_holds(&[&body], &[]);
}

#[test]
fn a_server_that_wants_an_hour_is_not_waited_for() {
    let body = content(10);
    let cache = Cache::new();
    let server = start(|_, stream| {
        head(stream, "429 Too Many Requests", &[("Retry-After", "3600"), ("Content-Length", "0")])
    });
    let error = cache.fetch(&request(&server.url("/x"), &body), options()).unwrap_err();
    assert!(error.message().contains("come back in 3600 s"), "{error}");
    assert_eq!(server.requests().len(), 1);
    cache.assert_holds(&[], &[]);
}

#[test]
fn refusals_are_final_and_failures_are_not() {
    let body = content(10);
    for (status, attempts) in [
        ("404 Not Found", 1),
        ("403 Forbidden", 1),
        ("304 Not Modified", 1),
        ("206 Partial Content", 1),
        ("408 Request Timeout", 3),
        ("500 Internal Server Error", 3),
        ("502 Bad Gateway", 3),
    ] {
        let cache = Cache::new();
        let server = start(move |_, stream| reply(stream, status, b""));
        let error = cache.fetch(&request(&server.url("/x"), &body), options()).unwrap_err();
        assert!(error.kind() == ErrorKind::Fetch && error.message().contains(status), "{error}");
        assert_eq!(server.requests().len(), attempts, "{status}");
        cache.assert_holds(&[], &[]);
    }
}

#[test]
fn a_server_that_cannot_continue_sends_all_again() {
    let body = content(LENGTH);
    let wrong_ranges =
        ["bytes 7-299999/300000", "bytes 100000-299999/200000", "items 1-2/3", "bytes */300000"];
    for range in [None, Some("416")].into_iter().chain(wrong_ranges.map(Some)) {
        let (cache, served) = (Cache::new(), body.clone());
        cache.leave_partial(&Digest::of(&body), &body[..100_000]);
        let server = start(move |seen, stream| match (seen.range(), range) {
            (None, _) | (_, None) => reply(stream, "200 OK", &served),
            (_, Some("416")) => reply(stream, "416 Range Not Satisfiable", b""),
            (Some(start), Some(range)) => {
                head(stream, "206 Partial Content", &[("Content-Range", range)])?;
                stream.write_all(&served[start..])
            }
        });
        cache.fetch(&request(&server.url("/x"), &body), options()).unwrap();
        assert_eq!(server.requests()[0].range(), Some(100_000), "{range:?}");
        assert_eq!(server.requests().len(), if range.is_none() { 1 } else { 2 }, "{range:?}");
        cache.assert_holds(&[&body], &[]);
    }
}

#[test]
fn an_endless_body_is_cut_off() {
    let body = content(LENGTH);
    for (size, message) in [
        (Some(LENGTH as u64), "wrong length: the lock says 300000 bytes, the file is longer"),
        (None, "too long"),
    ] {
        let (cache, served) = (Cache::new(), body.clone());
        let sent = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&sent);
        let server = start(move |_, stream| {
            head(stream, "200 OK", &[])?;
            loop {
                stream.write_all(&served[1..])?;
                counter.fetch_add(served.len(), Ordering::Relaxed);
            }
        });
        let mut wanted = request(&server.url("/x"), &body);
        wanted.size = size;
        let error = cache.fetch(&wanted, Options { ceiling: 1 << 20, ..options() }).unwrap_err();
        assert!(error.message().contains(message), "{error}");
        assert_eq!(server.requests().len(), 1);
        assert!(sent.load(Ordering::Relaxed) < 64 << 20, "the connection was not closed");
        cache.assert_holds(&[], &[]);
    }
}

#[test]
fn wrong_bytes_on_resume_are_fetched_again_from_the_front() {
    let body = content(LENGTH);
    let (cache, served) = (Cache::new(), body.clone());
    let server = start(move |seen, stream| match seen.number {
        0 => cut(stream, &served, 100_000),
        1 => serve(stream, seen, &vec![0; LENGTH]),
        _ => serve(stream, seen, &served),
    });
    cache.fetch(&request(&server.url("/x"), &body), options()).unwrap();
    assert_eq!(
        server.requests().iter().map(|seen| seen.range()).collect::<Vec<_>>(),
        [None, Some(100_000), None]
    );
    cache.assert_holds(&[&body], &[]);
}

#[test]
fn leftovers_of_a_killed_process_are_not_trusted() {
    let body = content(LENGTH);
    let longer = [&body[..], b"more"].concat();
    for left in [&[0; 1000][..], &[0; LENGTH], &longer] {
        let (cache, served) = (Cache::new(), body.clone());
        cache.leave_partial(&Digest::of(&body), left);
        let server = start(move |seen, stream| serve(stream, seen, &served));
        cache.fetch(&request(&server.url("/x"), &body), options()).unwrap();
        cache.assert_holds(&[&body], &[]);
    }
}

#[test]
fn a_server_that_is_wrong_piecewise_and_whole_is_given_up() {
    let body = content(LENGTH);
    let cache = Cache::new();
    cache.leave_partial(&Digest::of(&body), &body[..1000]);
    let server = start(move |seen, stream| serve(stream, seen, &vec![0; LENGTH]));
    let error = cache
        .fetch(&request(&server.url("/x"), &body), Options { retries: 9, ..options() })
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Verification);
    assert_eq!(server.requests().iter().map(|seen| seen.range()).collect::<Vec<_>>(), [Some(1000), None]);
    cache.assert_holds(&[], &[]);
}

#[test]
fn a_compressed_file_arrives_as_it_is() {
    let body = [&[0x1f, 0x8b, 8][..], &content(1000)].concat();
    let (cache, served) = (Cache::new(), body.clone());
    let server = start(move |_, stream| {
        head(stream, "200 OK", &[("Content-Encoding", "gzip"), ("Content-Length", "1003")])?;
        stream.write_all(&served)
    });
    cache.fetch(&request(&server.url("/x"), &body), options()).unwrap();
    cache.assert_holds(&[&body], &[]);
}

#[test]
fn a_closed_port_and_an_unknown_host_are_named() {
    let body = content(10);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for (url, message) in [
        (format!("http://127.0.0.1:{port}/x"), "cannot connect to 127.0.0.1"),
        (
            "http://no-such-host.invalid/x".to_owned(),
            "the name of host no-such-host.invalid cannot be resolved",
        ),
    ] {
        let cache = Cache::new();
        let error = cache
            .fetch(
                &request(&url, &body),
                Options {
                    retries: 0,
                    connect: Duration::from_secs(30),
                    stall: Duration::from_secs(30),
                    ..options()
                },
            )
            .unwrap_err();
        assert!(error.kind() == ErrorKind::Fetch && error.message().contains(message), "{error}");
        assert!(error.hint().unwrap().contains("--mirror"), "{error}");
        cache.assert_holds(&[], &[]);
    }
}

#[test]
fn a_size_that_is_not_the_files_is_refused_though_its_bytes_are_stored() {
    let body = content(LENGTH);
    let (cache, served) = (Cache::new(), body.clone());
    let server = start(move |seen, stream| serve(stream, seen, &served));
    let wanted = request(&server.url("/x"), &body);
    cache.fetch(&wanted, options()).unwrap();
    let wrong = kiln::fetch::Request { size: Some(99), ..wanted };
    let error = cache.fetch(&wrong, options()).unwrap_err();
    assert!(error.kind() == ErrorKind::Verification, "{error}");
    assert!(error.message().contains("the lock says 99 bytes, but it has 300000"), "{error}");
}
