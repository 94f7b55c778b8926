//! Where files are fetched from: mirrors, folders, proxies, TLS; several at once; and what the lock asks of the network.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use kiln::digest::Digest;
use kiln::error::ErrorKind;
use kiln::fetch::checksum::Expected;
use kiln::fetch::{Absence, Fetcher, Options, Request, Route};
use kiln::progress::Progress;
use kiln::store::Store;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use sha2::{Digest as _, Sha512};
use tempfile::TempDir;

#[path = "support/faulty_server.rs"]
#[allow(dead_code)]
mod faulty_server;

use faulty_server::{Cache, ReadWrite, Server, content, head, options, reply, request, serve};

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
    let server = Server::start(move |_, seen, stream| match seen.target.as_str() {
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
        server.seen().iter().map(|seen| seen.target.clone()).collect::<Vec<_>>(),
        ["/lacks/v1/x", "/good/v1/x"]
    );
    cache.assert_holds(&[&body], &[]);
}

#[test]
fn what_no_mirror_has_comes_from_upstream() {
    let (body, cache, folder) = (content(5000), Cache::new(), TempDir::new().unwrap());
    let served = body.clone();
    let server = Server::start(move |_, seen, stream| serve(stream, seen, &served));
    let mirrors = [format!("{}={}", server.url(""), folder.path().display())];
    let offline = Options { offline: true, ..mirrored(&mirrors) };
    let error = cache.fetch(&request(&server.url("/x"), &body), offline).unwrap_err();
    assert!(error.message().contains("neither the store nor a local mirror has part"), "{error}");
    assert!(server.seen().is_empty());
    cache.fetch(&request(&server.url("/x"), &body), mirrored(&mirrors)).unwrap();
    assert_eq!(server.seen().len(), 1);
    cache.assert_holds(&[&body], &[]);
}

#[test]
fn when_all_places_fail_all_are_named_and_wrong_bytes_decide() {
    let (body, cache, folder) = (content(5000), Cache::new(), TempDir::new().unwrap());
    write(folder.path(), "x", &[0; 5000]);
    let server = Server::start(|_, _, stream| reply(stream, "404 Not Found", b""));
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
    let server = Server::start(|_, _, stream| reply(stream, "404 Not Found", b""));
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
fn offline_names_all_that_is_missing_and_uses_the_store() {
    let (cache, progress) = (Cache::new(), Progress::silent());
    cache.store.insert(&mut &b"here"[..], None).unwrap();
    let server = Server::start(|_, _, stream| reply(stream, "200 OK", b""));
    let named =
        |title: &str, body: &[u8]| Request { title: title.to_owned(), ..request(&server.url("/x"), body) };
    let fetcher = Fetcher::new(&cache.store, Options { offline: true, ..options() }, &progress).unwrap();
    assert!(fetcher.fetch_all(&[named("kubelet", b"here")]).unwrap()[0].cached);
    let error = fetcher
        .fetch_all(&[named("kubelet", b"here"), named("runc", b"1"), named("crictl", b"2")])
        .unwrap_err();
    assert!(error.message().contains("has runc, crictl, and --offline"), "{error}");
    assert!(fetcher.document(&server.url("/x"), 10).is_err() && fetcher.length(&server.url("/x")).is_err());
    assert!(server.seen().is_empty());
}

#[test]
fn two_builds_fetch_one_file_once() {
    let (body, cache) = (content(50_000), Cache::new());
    let served = body.clone();
    let server = Server::start(move |_, seen, stream| {
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
    assert_eq!(server.seen().len(), 1);
    cache.assert_holds(&[&body], &[]);
}

#[test]
fn many_files_arrive_in_order_and_equal_ones_once() {
    let (cache, progress) = (Cache::new(), Progress::silent());
    let server = Server::start(|_, seen, stream| serve(stream, seen, seen.target.repeat(100).as_bytes()));
    let bodies: Vec<String> = (0..20).map(|number| format!("/{}", number % 15).repeat(100)).collect();
    let wanted: Vec<_> = (0..20)
        .map(|number| request(&server.url(&format!("/{}", number % 15)), bodies[number].as_bytes()))
        .collect();
    let fetched = Fetcher::new(&cache.store, options(), &progress).unwrap().fetch_all(&wanted).unwrap();
    let digests = |digests: &mut dyn Iterator<Item = Digest>| digests.collect::<Vec<_>>();
    assert_eq!(digests(&mut fetched.iter().map(|f| f.digest)), digests(&mut wanted.iter().map(|w| w.digest)));
    assert_eq!(server.seen().len(), 15);
    cache.assert_holds(&bodies.iter().map(String::as_bytes).collect::<Vec<_>>(), &[]);
}

#[test]
fn the_first_failure_stops_the_others() {
    let (cache, progress) = (Cache::new(), Progress::silent());
    let server = Server::start(|_, seen, stream| {
        if seen.target == "/absent" {
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
    let proxy = Server::start(move |_, seen, stream| match seen.method.as_str() {
        "CONNECT" => reply(stream, "407 Proxy Authentication Required", b""),
        _ => serve(stream, seen, &served),
    });
    let through = || Options {
        route: Route::Proxy(proxy.url("").replace("//", "//me:secret@")),
        retries: 0,
        ..options()
    };
    cache.fetch(&request("http://upstream.invalid/x", &body), through()).unwrap();
    assert_eq!(proxy.seen()[0].target, "http://upstream.invalid/x");
    assert_eq!(proxy.seen()[0].header("proxy-authorization"), Some("Basic bWU6c2VjcmV0"));
    let error = cache.fetch(&request(UPSTREAM, b"other"), through()).unwrap_err();
    assert_eq!(
        (proxy.seen()[1].method.as_str(), proxy.seen()[1].target.as_str()),
        ("CONNECT", "upstream.invalid:443")
    );
    assert!(error.message().contains("proxy") && !error.to_string().contains("secret"), "{error}");
    cache.assert_holds(&[&body], &[]);
}

#[test]
fn the_proxy_of_the_environment_is_honoured() {
    let body = content(5000);
    if let Ok(digest) = std::env::var("FETCH_TEST_DIGEST") {
        let (cache, digest) = (Cache::new(), digest.parse().unwrap());
        let wanted = Request { digest, ..request("http://upstream.invalid/x", &body) };
        cache.fetch(&wanted, Options { route: Route::Environment, ..options() }).unwrap();
        return;
    }
    let served = body.clone();
    let proxy = Server::start(move |_, seen, stream| serve(stream, seen, &served));
    let child = again("the_proxy_of_the_environment_is_honoured")
        .env("FETCH_TEST_DIGEST", Digest::of(&body).hex())
        .env("http_proxy", proxy.url(""))
        .env_remove("no_proxy")
        .env_remove("NO_PROXY")
        .output();
    let output = child.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(proxy.seen()[0].target, "http://upstream.invalid/x");
}

/// This very test program, to run one of its tests in another environment.
fn again(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]);
    command
}

/// A server behind TLS with a certificate of its own, and where that certificate is.
fn tls_server(folder: &Path, body: Vec<u8>) -> Option<(Server, std::path::PathBuf)> {
    let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=test",
        ])
        .args(["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-out")
        .arg(&certificate)
        .arg("-keyout")
        .arg(&key)
        .output()
        .ok()?;
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let chain = vec![CertificateDer::from_pem_file(&certificate).unwrap()];
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(&key).unwrap());
    let config = Arc::new(config.unwrap());
    let wrap = move |stream: &mut TcpStream, answer: &dyn Fn(&mut dyn ReadWrite)| {
        let mut tls = StreamOwned::new(
            ServerConnection::new(Arc::clone(&config)).unwrap(),
            stream.try_clone().unwrap(),
        );
        answer(&mut tls);
        tls.conn.send_close_notify();
        let _gone = tls.flush();
    };
    let server = Server::behind(wrap, move |_, seen, stream| match seen.target.as_str() {
        "/downgrade" => {
            head(stream, "302 Found", &[("Location", "http://127.0.0.1:9/x"), ("Content-Length", "0")])
        }
        _ => serve(stream, seen, &body),
    });
    Some((server, certificate))
}

#[test]
fn tls_is_verified_by_the_roots_of_the_system() {
    let (body, cache, folder) = (content(5000), Cache::new(), TempDir::new().unwrap());
    if let Ok(address) = std::env::var("FETCH_TEST_URL") {
        cache.fetch(&request(&format!("{address}/x"), &body), options()).unwrap();
        let error = cache.fetch(&request(&format!("{address}/downgrade"), b"other"), options()).unwrap_err();
        assert!(error.message().contains("it leads from https to http"), "{error}");
        cache.assert_holds(&[&body], &[]);
        return;
    }
    let Some((server, certificate)) = tls_server(folder.path(), body.clone()) else {
        println!("not run: tls_is_verified_by_the_roots_of_the_system: there is no openssl");
        return;
    };
    let address = server.url("").replace("http:", "https:");
    let error = cache.fetch(&request(&format!("{address}/x"), &body), options()).unwrap_err();
    assert!(error.message().contains("TLS: the certificate of 127.0.0.1 is not trusted"), "{error}");
    assert!(!error.message().contains("attempts") && server.seen().is_empty(), "{error}");
    cache.assert_holds(&[], &[]);
    let trusting = again("tls_is_verified_by_the_roots_of_the_system")
        .env("FETCH_TEST_URL", address)
        .env("SSL_CERT_FILE", certificate)
        .env_remove("SSL_CERT_DIR")
        .output();
    let output = trusting.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(server.seen().len(), 2);
}

#[test]
fn a_server_without_tls_is_named() {
    let cache = Cache::new();
    let plain = |stream: &mut TcpStream, _: &dyn Fn(&mut dyn ReadWrite)| {
        let _gone = reply(stream, "400 Bad Request", b"this is no TLS");
        thread::sleep(Duration::from_millis(200));
    };
    let server = Server::behind(plain, |_, _, _| Ok(()));
    let error = cache
        .fetch(&request(&server.url("/x").replace("http:", "https:"), b"x"), options())
        .unwrap_err();
    assert!(error.message().contains("TLS with 127.0.0.1 failed"), "{error}");
}

#[test]
fn a_file_of_which_only_sha512_is_known_enters_by_its_sha256() {
    let (body, cache, progress) = (content(300_000), Cache::new(), Progress::silent());
    let served = body.clone();
    let server = Server::start(move |number, seen, stream| match number {
        0 => faulty_server::cut(stream, &served, 1000),
        _ => serve(stream, seen, &served),
    });
    let fetcher = Fetcher::new(&cache.store, options(), &progress).unwrap();
    let expected = Expected::Sha512(Sha512::digest(&body).into());
    assert_eq!(fetcher.learn("image", &server.url("/x"), &expected).unwrap(), (Digest::of(&body), 300_000));
    assert_eq!(server.seen()[1].range(), Some(1000));
    let error = fetcher.learn("image", &server.url("/x"), &Expected::Sha512([7; 64])).unwrap_err();
    assert!(
        error.kind() == ErrorKind::Verification && error.message().contains(&expected.to_string()),
        "{error}"
    );
    assert_eq!(
        fetcher.learn("image", &server.url("/x"), &Expected::Sha256(Digest::of(&body))).unwrap().1,
        300_000
    );
    assert_eq!(server.seen().len(), 3, "the last one was in the store");
    cache.assert_holds(&[&body], &[]);
}

#[test]
fn documents_have_a_ceiling_and_do_not_enter_the_store() {
    let (cache, progress) = (Cache::new(), Progress::silent());
    let server = Server::start(|number, seen, stream| match seen.target.as_str() {
        "/chunks" => {
            head(stream, "200 OK", &[])?;
            stream.write_all(&[b'x'; 11])
        }
        "/flaky" if number == 0 => faulty_server::cut(stream, b"0123456789", 4),
        _ => serve(stream, seen, b"0123456789"),
    });
    let fetcher = Fetcher::new(&cache.store, options(), &progress).unwrap();
    assert_eq!(fetcher.document(&server.url("/flaky"), 10).unwrap(), b"0123456789");
    for (path, limit) in [("/x", 9), ("/chunks", 10)] {
        let error = fetcher.document(&server.url(path), limit).unwrap_err();
        assert!(error.message().contains(&format!("longer than the {limit} bytes")), "{error}");
    }
    cache.assert_holds(&[], &[]);
}

#[test]
fn lengths_are_learnt_without_the_file() {
    let (cache, progress, folder) = (Cache::new(), Progress::silent(), TempDir::new().unwrap());
    write(folder.path(), "upstream.invalid/v1/x", b"12345");
    let server = Server::start(|_, seen, stream| match seen.target.as_str() {
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
    assert!(server.seen().iter().all(|seen| seen.method == "HEAD"));
}
