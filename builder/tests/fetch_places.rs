//! Where files are fetched from: mirrors, folders, proxies, TLS; several at once; and what the lock asks of
//! the network.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use kiln::digest::Digest;
use kiln::error::ErrorKind;
use kiln::fetch::checksum::Expected;
use kiln::fetch::{Absence, Fetcher, Options, Request, Route};
use kiln::progress::Progress;
use kiln::store::Store;
use sha2::{Digest as _, Sha512};
use tempfile::TempDir;

#[path = "support/faulty_server.rs"]
#[allow(dead_code)]
mod faulty_server;

use faulty_server::{Cache, content, head, options, reply, request, serve, start};
use testkit::{Ca, Door, Identity, TestServer};

/// An upstream that cannot be reached: it must not be asked.
const UPSTREAM: &str = "https://upstream.invalid/v1/x";

fn mirrored(mirrors: &[String]) -> Options {
    Options { mirrors: mirrors.iter().map(|mirror| mirror.parse().unwrap()).collect(), ..options() }
}

fn write(folder: &Path, path: &str, bytes: &[u8]) {
    let path = folder.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_folder_stands_for_all_of_the_network() {
    let (body, cache, mirror) = (content(5000), Cache::new(), TempDir::new().unwrap());
    write(mirror.path(), "upstream.invalid/v1/x", &body);
    let offline = Options { offline: true, ..mirrored(&[format!("https://={}", mirror.path().display())]) };
    let fetched = cache.fetch(&request(UPSTREAM, &body), offline).unwrap();
    assert!(fetched.from.ends_with("upstream.invalid/v1/x"), "{}", fetched.from);
    cache.assert_holds(&[&body], &[]);
}

#[test]
fn a_file_address_needs_no_network() {
    let (body, cache, folder) = (content(5000), Cache::new(), TempDir::new().unwrap());
    write(folder.path(), "a b", &body);
    let wanted = request(&format!("file://{}/a%20b", folder.path().display()), &body);
    cache.fetch(&wanted, Options { offline: true, ..options() }).unwrap();
    cache.assert_holds(&[&body], &[]);
}

#[test]
fn mirrors_that_lack_the_file_or_have_a_wrong_one_are_passed_over() {
    let (body, cache, folder) = (content(5000), Cache::new(), TempDir::new().unwrap());
    let served = body.clone();
    write(folder.path(), "wrong/v1/x", &content(4999));
    fs::create_dir(folder.path().join("empty")).unwrap();
    let server = start(move |seen, stream| match seen.path.as_str() {
        "/good/v1/x" => serve(stream, seen, &served),
        _ => reply(stream, "404 Not Found", b""),
    });
    let folder = folder.path().display();
    let to = [
        format!("{folder}/wrong"),
        format!("{folder}/empty"),
        server.url("/lacks"),
        server.url("/good"),
        server.url("/never"),
    ];
    let mirrors = to.map(|to| format!("https://upstream.invalid={to}"));
    let fetched = cache.fetch(&request(UPSTREAM, &body), mirrored(&mirrors)).unwrap();
    assert_eq!(fetched.from, server.url("/good/v1/x"));
    assert_eq!(
        server.requests().iter().map(|seen| seen.path.clone()).collect::<Vec<_>>(),
        ["/lacks/v1/x", "/good/v1/x"]
    );
    cache.assert_holds(&[&body], &[]);
}

#[test]
fn what_no_mirror_has_comes_from_upstream() {
    let (body, cache, folder) = (content(5000), Cache::new(), TempDir::new().unwrap());
    let served = body.clone();
    let server = start(move |seen, stream| serve(stream, seen, &served));
    let mirrors = [format!("{}={}", server.url(""), folder.path().display())];
    let offline = Options { offline: true, ..mirrored(&mirrors) };
    let error = cache.fetch(&request(&server.url("/x"), &body), offline).unwrap_err();
    assert!(error.message().contains("neither the store nor a local mirror has part"), "{error}");
    assert!(server.requests().is_empty());
    cache.fetch(&request(&server.url("/x"), &body), mirrored(&mirrors)).unwrap();
    assert_eq!(server.requests().len(), 1);
    cache.assert_holds(&[&body], &[]);
}

#[test]
fn when_all_places_fail_all_are_named_and_wrong_bytes_decide() {
    let (body, cache, folder) = (content(5000), Cache::new(), TempDir::new().unwrap());
    write(folder.path(), "x", &[0; 5000]);
    let server = start(|_, stream| reply(stream, "404 Not Found", b""));
    let mirrors = [format!("{}={}", server.url(""), folder.path().display())];
    let error = cache.fetch(&request(&server.url("/x"), &body), mirrored(&mirrors)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Verification);
    assert!(
        error.message().contains("wrong content") && error.message().contains("404 Not Found"),
        "{error}"
    );
    cache.assert_holds(&[], &[]);
}

#[test]
fn a_package_that_the_mirrors_no_longer_have_says_so() {
    let (body, cache, folder) = (content(5000), Cache::new(), TempDir::new().unwrap());
    let server = start(|_, stream| reply(stream, "404 Not Found", b""));
    let mirrors = [format!("{}={}", server.url(""), folder.path().display())];
    let absent = Absence {
        message: "bash 5.2-1 is no longer on the mirror".into(),
        help: "lock newer packages".into(),
    };
    let wanted = Request { absent: Some(absent), ..request(&server.url("/bash.deb"), &body) };
    let error = cache.fetch(&wanted, mirrored(&mirrors)).unwrap_err();
    assert_eq!(
        (error.message(), error.hint()),
        ("bash 5.2-1 is no longer on the mirror", Some("lock newer packages"))
    );
    write(folder.path(), "bash.deb", &[0; 5000]);
    assert_eq!(cache.fetch(&wanted, mirrored(&mirrors)).unwrap_err().kind(), ErrorKind::Verification);
}

#[test]
fn where_old_files_are_kept_is_asked_last_and_named_when_it_cannot_be_reached() {
    let (body, cache) = (content(5000), Cache::new());
    let server = start(|_, stream| reply(stream, "404 Not Found", b""));
    let gone = Absence { message: "gone".into(), help: "lock newer packages".into() };
    let unreachable = "http://127.0.0.1:1/x.deb".to_owned();
    let wanted = Request {
        kept: vec![unreachable.clone()],
        absent: Some(gone),
        ..request(&server.url("/x.deb"), &body)
    };
    let error = cache.fetch(&wanted, Options { retries: 0, ..options() }).unwrap_err();
    assert!(error.message().contains(&unreachable) && error.message().contains("404 Not Found"), "{error}");
    assert_eq!(error.hint(), Some("lock newer packages"));
    // A mirror of that place is asked after the file's own address too.
    let (folder, served) = (TempDir::new().unwrap(), body.clone());
    write(folder.path(), "x.deb", &body);
    let honest = start(move |seen, stream| serve(stream, seen, &served));
    let wanted = Request { urls: vec![honest.url("/x.deb")], ..wanted };
    let mirrors = [format!("http://127.0.0.1:1={}", folder.path().display())];
    assert_eq!(cache.fetch(&wanted, mirrored(&mirrors)).unwrap().from, honest.url("/x.deb"));
}

#[test]
fn offline_names_all_that_is_missing_and_uses_the_store() {
    let (cache, progress) = (Cache::new(), Progress::silent());
    cache.store.insert(&mut &b"here"[..], None).unwrap();
    let server = start(|_, stream| reply(stream, "200 OK", b""));
    let named =
        |title: &str, body: &[u8]| Request { title: title.to_owned(), ..request(&server.url("/x"), body) };
    let fetcher = Fetcher::new(&cache.store, Options { offline: true, ..options() }, &progress).unwrap();
    assert!(fetcher.fetch_all(&[named("kubelet", b"here")]).unwrap()[0].cached);
    let error = fetcher
        .fetch_all(&[named("kubelet", b"here"), named("runc", b"1"), named("crictl", b"2")])
        .unwrap_err();
    assert!(error.message().contains("has runc, crictl, and --offline"), "{error}");
    assert!(fetcher.document(&server.url("/x"), 10).is_err() && fetcher.length(&server.url("/x")).is_err());
    assert!(server.requests().is_empty());
}

#[test]
fn two_builds_fetch_one_file_once() {
    let (body, cache) = (content(50_000), Cache::new());
    let served = body.clone();
    let server = start(move |seen, stream| {
        thread::sleep(Duration::from_millis(300));
        serve(stream, seen, &served)
    });
    let (wanted, barrier) = (request(&server.url("/x"), &body), Barrier::new(3));
    let build = || {
        let store = Store::open(cache.folder.path()).unwrap();
        let progress = Progress::silent();
        let fetcher = Fetcher::new(&store, options(), &progress).unwrap();
        barrier.wait();
        fetcher.fetch_all(std::slice::from_ref(&wanted)).unwrap().remove(0).cached
    };
    let cached = thread::scope(|scope| [0; 3].map(|_| scope.spawn(build)).map(|build| build.join().unwrap()));
    assert_eq!(cached.iter().filter(|cached| !**cached).count(), 1);
    assert_eq!(server.requests().len(), 1);
    cache.assert_holds(&[&body], &[]);
}

#[test]
fn many_files_arrive_in_order_and_equal_ones_once() {
    let (cache, progress) = (Cache::new(), Progress::silent());
    let server = start(|seen, stream| serve(stream, seen, seen.path.repeat(100).as_bytes()));
    let bodies: Vec<String> = (0..20).map(|number| format!("/{}", number % 15).repeat(100)).collect();
    let wanted: Vec<_> = (0..20)
        .map(|number| request(&server.url(&format!("/{}", number % 15)), bodies[number].as_bytes()))
        .collect();
    let fetched = Fetcher::new(&cache.store, options(), &progress).unwrap().fetch_all(&wanted).unwrap();
    let digests = |digests: &mut dyn Iterator<Item = Digest>| digests.collect::<Vec<_>>();
    assert_eq!(digests(&mut fetched.iter().map(|f| f.digest)), digests(&mut wanted.iter().map(|w| w.digest)));
    assert_eq!(server.requests().len(), 15);
    cache.assert_holds(&bodies.iter().map(String::as_bytes).collect::<Vec<_>>(), &[]);
}

#[test]
fn the_first_failure_stops_the_others() {
    let (cache, progress) = (Cache::new(), Progress::silent());
    let server = start(|seen, stream| {
        if seen.path == "/absent" {
            thread::sleep(Duration::from_millis(300));
            return reply(stream, "404 Not Found", b"");
        }
        head(stream, "200 OK", &[("Content-Length", "1000000")])?;
        loop {
            stream.write_all(b"x")?;
            stream.flush()?;
            thread::sleep(Duration::from_millis(50));
        }
    });
    let million = |byte: u8| vec![byte; 1_000_000];
    let wanted = [
        request(&server.url("/a"), &million(b'x')),
        request(&server.url("/absent"), b"y"),
        request(&server.url("/b"), &million(b'z')),
    ];
    let start = Instant::now();
    let error = Fetcher::new(&cache.store, options(), &progress).unwrap().fetch_all(&wanted).unwrap_err();
    assert!(error.message().contains("404") && start.elapsed() < Duration::from_secs(5), "{error}");
    let left = |request: &Request| fs::read(cache.folder.path().join("partial").join(request.digest.hex()));
    assert!(left(&wanted[0]).unwrap().iter().all(|byte| *byte == b'x') && left(&wanted[1]).is_err());
    assert_eq!(fs::read_dir(cache.folder.path().join("blobs")).unwrap().count(), 0);
}

#[test]
fn a_proxy_is_asked_instead_of_the_server() {
    let (body, cache) = (content(5000), Cache::new());
    let served = body.clone();
    let proxy = start(move |seen, stream| match seen.method.as_str() {
        "CONNECT" => reply(stream, "407 Proxy Authentication Required", b""),
        _ => serve(stream, seen, &served),
    });
    let through = || Options {
        route: Route::Proxy(proxy.url("").replace("//", "//me:secret@")),
        retries: 0,
        ..options()
    };
    cache.fetch(&request("http://upstream.invalid/x", &body), through()).unwrap();
    assert_eq!(proxy.requests()[0].path, "http://upstream.invalid/x");
    assert_eq!(proxy.requests()[0].header("proxy-authorization"), Some("Basic bWU6c2VjcmV0"));
    let error = cache.fetch(&request(UPSTREAM, b"other"), through()).unwrap_err();
    assert_eq!(
        (proxy.requests()[1].method.as_str(), proxy.requests()[1].path.as_str()),
        ("CONNECT", "upstream.invalid:443")
    );
    assert!(error.message().contains("proxy") && !error.to_string().contains("secret"), "{error}");
    cache.assert_holds(&[&body], &[]);
}

#[test]
fn the_proxy_of_the_environment_is_honoured() {
    let body = content(5000);
    if let Ok(digest) = std::env::var("KILN_TEST_FETCH_DIGEST") {
        let (cache, digest) = (Cache::new(), digest.parse().unwrap());
        let wanted = Request { digest, ..request("http://upstream.invalid/x", &body) };
        cache.fetch(&wanted, Options { route: Route::Environment, ..options() }).unwrap();
        return;
    }
    let served = body.clone();
    let proxy = start(move |seen, stream| serve(stream, seen, &served));
    let child = again("the_proxy_of_the_environment_is_honoured")
        .env("KILN_TEST_FETCH_DIGEST", Digest::of(&body).hex())
        .env("http_proxy", proxy.url(""))
        .env_remove("no_proxy")
        .env_remove("NO_PROXY")
        .output();
    let output = child.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(proxy.requests()[0].path, "http://upstream.invalid/x");
}

/// This very test program, to run one of its tests in another environment.
fn again(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]);
    command
}

/// A server behind TLS, and the file with the authority's certificate.
fn tls_server(folder: &Path, body: Vec<u8>) -> (TestServer, std::path::PathBuf) {
    let (ca, certificate) = (Ca::new(), folder.join("certificate.pem"));
    fs::write(&certificate, ca.pem()).unwrap();
    let tls = Some(ca.server_config(&Identity::default()));
    let options = testkit::Options { tls, one_request: true, ..testkit::Options::default() };
    let server = TestServer::run(options, move |seen, stream| match seen.path.as_str() {
        "/downgrade" => {
            head(stream, "302 Found", &[("Location", "http://127.0.0.1:9/x"), ("Content-Length", "0")])
        }
        _ => serve(stream, seen, &body),
    });
    (server, certificate)
}

#[test]
fn tls_is_verified_by_the_roots_of_the_system() {
    let (body, cache, folder) = (content(5000), Cache::new(), TempDir::new().unwrap());
    if let Ok(address) = std::env::var("KILN_TEST_FETCH_URL") {
        cache.fetch(&request(&format!("{address}/x"), &body), options()).unwrap();
        let error = cache.fetch(&request(&format!("{address}/downgrade"), b"other"), options()).unwrap_err();
        assert!(error.message().contains("it leads from https to http"), "{error}");
        cache.assert_holds(&[&body], &[]);
        return;
    }
    let (server, certificate) = tls_server(folder.path(), body.clone());
    let address = server.url("").replace("http:", "https:");
    let error = cache.fetch(&request(&format!("{address}/x"), &body), options()).unwrap_err();
    assert!(error.message().contains("TLS: the certificate of 127.0.0.1 is not trusted"), "{error}");
    assert!(!error.message().contains("attempts") && server.requests().is_empty(), "{error}");
    cache.assert_holds(&[], &[]);
    let trusting = again("tls_is_verified_by_the_roots_of_the_system")
        .env("KILN_TEST_FETCH_URL", address)
        .env("SSL_CERT_FILE", certificate)
        .env_remove("SSL_CERT_DIR")
        .output();
    let output = trusting.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn a_server_without_tls_is_named() {
    let cache = Cache::new();
    let mut said = Vec::new();
    reply(&mut said, "400 Bad Request", b"this is no TLS").unwrap();
    let door = testkit::Options { door: Door::Say(said), ..testkit::Options::default() };
    let server = TestServer::run(door, |_, _| Ok(()));
    let error = cache
        .fetch(&request(&server.url("/x").replace("http:", "https:"), b"x"), options())
        .unwrap_err();
    assert!(error.message().contains("TLS with 127.0.0.1 failed"), "{error}");
}

#[test]
fn a_file_of_which_only_sha512_is_known_enters_by_its_sha256() {
    let (body, cache, progress) = (content(300_000), Cache::new(), Progress::silent());
    let served = body.clone();
    let server = start(move |seen, stream| match seen.number {
        0 => faulty_server::cut(stream, &served, 1000),
        _ => serve(stream, seen, &served),
    });
    let fetcher = Fetcher::new(&cache.store, options(), &progress).unwrap();
    let expected = Expected::Sha512(Sha512::digest(&body).into());
    assert_eq!(fetcher.learn("image", &server.url("/x"), &expected).unwrap(), (Digest::of(&body), 300_000));
    assert_eq!(server.requests()[1].range(), Some(1000));
    let error = fetcher.learn("image", &server.url("/x"), &Expected::Sha512([7; 64])).unwrap_err();
    assert!(
        error.kind() == ErrorKind::Verification && error.message().contains(&expected.to_string()),
        "{error}"
    );
    assert_eq!(
        fetcher.learn("image", &server.url("/x"), &Expected::Sha256(Digest::of(&body))).unwrap().1,
        300_000
    );
    assert_eq!(server.requests().len(), 3, "the last one was in the store");
    cache.assert_holds(&[&body], &[]);
}

#[test]
fn documents_have_a_ceiling_and_do_not_enter_the_store() {
    let (cache, progress) = (Cache::new(), Progress::silent());
    let server = start(|seen, stream|/*NUM*/ match seen.path.as_str() {
        "/chunks" => {
            head(stream, "200 OK", &[])?;
            stream.write_all(&[b'x'; 11])
        }
        "/flaky" if seen.number == 0 => faulty_server::cut(stream, b"0123456789", 4),
        _ => serve(stream, seen, b"0123456789"),
    });
    let options = Options { allow_unauthenticated: true, ..options() };
    let fetcher = Fetcher::new(&cache.store, options, &progress).unwrap();
    assert_eq!(fetcher.document(&server.url("/flaky"), 10).unwrap().bytes, b"0123456789");
    for (path, limit) in [("/x", 9), ("/chunks", 10)] {
        let error = fetcher.document(&server.url(path), limit).unwrap_err();
        assert!(error.message().contains(&format!("longer than the {limit} bytes")), "{error}");
    }
    cache.assert_holds(&[], &[]);
}

#[test]
fn checksums_that_nobody_vouches_for_are_not_pinned() {
    let (cache, progress, folder) = (Cache::new(), Progress::silent(), TempDir::new().unwrap());
    write(folder.path(), "upstream.invalid/v1/x", b"of the folder");
    let server = start(|seen, stream| serve(stream, seen, b"of anybody on the way"));
    let plain = format!("https://upstream.invalid={}", server.url("/m"));
    let document = |mirrors: &[String], url: &str, allow_unauthenticated: bool| {
        let options = Options { allow_unauthenticated, retries: 0, ..mirrored(mirrors) };
        Fetcher::new(&cache.store, options, &progress).unwrap().document(url, 100)
    };
    let error = document(&[], &server.url("/x"), false).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Lock);
    assert!(error.hint().unwrap().contains("--allow-unauthenticated-checksums"), "{error}");
    // A mirror without TLS is passed over: upstream is asked, which cannot be reached here.
    let error = document(std::slice::from_ref(&plain), UPSTREAM, false).unwrap_err();
    assert!(error.message().contains("upstream.invalid"), "{error}");
    assert!(server.requests().is_empty());
    let beside =
        [plain.clone(), format!("https://upstream.invalid={}/upstream.invalid", folder.path().display())];
    let found = document(&beside, UPSTREAM, false).unwrap();
    assert_eq!(found.bytes, b"of the folder");
    assert!(found.mirror.is_some_and(|mirror| mirror.is_local()) && server.requests().is_empty());
    assert_eq!(document(&[plain], UPSTREAM, true).unwrap().bytes, b"of anybody on the way");
}

#[test]
fn lengths_are_learnt_without_the_file() {
    let (cache, progress, folder) = (Cache::new(), Progress::silent(), TempDir::new().unwrap());
    write(folder.path(), "upstream.invalid/v1/x", b"12345");
    let server = start(|seen, stream| match seen.path.as_str() {
        "/x" => serve(stream, seen, b"0123456789"),
        "/no-head" => reply(stream, "405 Method Not Allowed", b""),
        _ => reply(stream, "404 Not Found", b""),
    });
    let fetcher =
        Fetcher::new(&cache.store, mirrored(&[format!("https://={}", folder.path().display())]), &progress)
            .unwrap();
    assert_eq!(fetcher.length(&server.url("/x")).unwrap(), Some(10));
    assert_eq!(fetcher.length(&server.url("/no-head")).unwrap(), None);
    assert_eq!(fetcher.length(UPSTREAM).unwrap(), Some(5));
    assert!(fetcher.length(&server.url("/absent")).unwrap_err().message().contains("absent: http://"));
    assert!(server.requests().iter().all(|seen| seen.method == "HEAD"));
}
