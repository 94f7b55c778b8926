use std::time::{Duration, Instant};

use serde_json::json;

use super::*;
use crate::net::test_server::{
    ApiServer as _, Ca, Identity, Reply, TestServer, Trusted as _, message, network, status,
};
use std::net::SocketAddr;

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

fn client(ca: &Ca, server: &TestServer) -> Client {
    Client::new(&network(), server.server(), None, &ca.authorities(), &Credential::Anonymous).unwrap()
}

/// What a client sees of a server that treats every request so.
fn outcome(
    time: u64,
    reply: impl Fn(&testkit::Request) -> Reply + Send + Sync + 'static,
) -> std::result::Result<Answer, Error> {
    let ca = Ca::new();
    let server = TestServer::start(&ca, &Identity::default(), reply);
    client(&ca, &server).get("/x?a=b", Deadline::after(Duration::from_millis(time)))
}

#[test]
fn requests_share_one_connection_and_are_counted() {
    let ca = Ca::new();
    let server = TestServer::start(&ca, &Identity::default(), |asked| match asked.method.as_str() {
        "GET" => Reply::Json(200, json!({"path": asked.path})),
        _ => Reply::Json(201, serde_json::from_slice(&asked.body).unwrap()),
    });
    let token = Credential::Bearer(Secret::new("abcdef.0123456789abcdef".to_owned()));
    let mut client = Client::new(&network(), server.server(), None, &ca.authorities(), &token).unwrap();
    assert_eq!(client.get("/a?b=c", soon()).unwrap().json::<Value>().unwrap(), json!({"path": "/a?b=c"}));
    assert_eq!(client.post("/b", &json!({"x": 1}), soon()).unwrap().status, 201);
    assert_eq!(
        client.patch("/c", &json!({"y": 2}), soon()).unwrap().json::<Value>().unwrap(),
        json!({"y": 2})
    );
    let asked = server.requests();
    assert!(asked.iter().all(|asked| asked.connection == 0
        && asked.head.contains("authorization: Bearer abcdef.0123456789abcdef\r\n")));
    assert!(
        asked[0]
            .head
            .contains(&format!("user-agent: firstboot/{}\r\n", env!("CARGO_PKG_VERSION")))
    );
    assert!(asked[0].head.contains(&format!("host: {}\r\n", server.address)));
    assert!(asked[1].head.contains("content-type: application/json\r\n"));
    assert!(
        asked[2].head.contains("PATCH /c ")
            && asked[2].head.contains("content-type: application/strategic-merge-patch+json\r\n")
    );
    let traffic = client.network().traffic();
    assert_eq!((traffic.requests, traffic.connections), (3, 1));
    assert!(traffic.sent > 500 && traffic.received > 800, "{traffic:?}");
    assert!(client.dates().unwrap().0.elapsed().unwrap() < Duration::from_secs(5));
}

#[test]
fn a_connection_that_the_server_gave_up_is_replaced() {
    let ca = Ca::new();
    let server = TestServer::start(&ca, &Identity::default(), |_| Reply::ThenClose(json!({})));
    let mut client = client(&ca, &server);
    for _ in 0..3 {
        client.get("/x", soon()).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(server.requests().iter().map(|asked| asked.connection).collect::<Vec<_>>(), [0, 1, 2]);
    let closing = TestServer::start(&ca, &Identity::default(), |_| {
        Reply::With(200, "Connection: close\r\n".to_owned(), "{}".to_owned())
    });
    let mut client = self::client(&ca, &closing);
    client.get("/x", soon()).unwrap();
    client.get("/x", soon()).unwrap();
    assert_eq!(client.network().traffic().requests, 2);
}

#[test]
fn what_follows_an_answer_is_not_taken_for_the_next_one() {
    let ca = Ca::new();
    let server = TestServer::start(&ca, &Identity::default(), |_| {
        let mut bytes = message(200, "", "1");
        bytes.extend(message(200, "", "2"));
        Reply::Raw(bytes)
    });
    let mut client = client(&ca, &server);
    for _ in 0..2 {
        assert_eq!(client.get("/x", soon()).unwrap().body, b"1");
    }
    assert_eq!(client.network().traffic().connections, 2);
}

#[test]
fn every_fault_of_a_server_has_its_outcome_in_time() {
    let half = message(200, "", &"x".repeat(100))[..150].to_vec();
    let garbage = b"SSH-2.0-OpenSSH_9.2\r\n\r\n".to_vec();
    let huge = format!("HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n{}", "x".repeat(5 * 1024 * 1024))
        .into_bytes();
    let chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n".to_vec();
    let head = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(70_000)).into_bytes();
    let drip = message(200, "", "{}");
    let redirect = "Location: https://elsewhere.example.com/\r\n".to_owned();
    type Case = (&'static str, Box<dyn Fn(&testkit::Request) -> Reply + Send + Sync>, bool);
    let cases: Vec<Case> = vec![
        ("waiting for the answer: no answer within 0.", Box::new(|_| Reply::Silence), true),
        (
            "waiting for the answer: no answer within 0.",
            Box::new(move |_| Reply::Drip(drip.clone(), Duration::from_millis(20))),
            true,
        ),
        ("waiting for the answer: Connection reset by peer", Box::new(|_| Reply::Reset), true),
        ("the server closed the connection without an answer", Box::new(|_| Reply::Cut(Vec::new())), true),
        (
            "the connection broke in the middle of the answer",
            Box::new(move |_| Reply::Cut(half.clone())),
            true,
        ),
        ("429 Too Many Requests: slow down", Box::new(|_| status(429, "slow down")), true),
        ("500 Internal Server Error: oops", Box::new(|_| status(500, "oops")), true),
        ("the answer is not HTTP: ", Box::new(move |_| Reply::Raw(garbage.clone())), false),
        ("the answer is not HTTP: ", Box::new(move |_| Reply::Raw(chunks.clone())), false),
        (
            "the answer is not HTTP: its head is longer than 65536 bytes",
            Box::new(move |_| Reply::Raw(head.clone())),
            false,
        ),
        ("the answer is longer than 4194304 bytes", Box::new(move |_| Reply::Raw(huge.clone())), false),
        (
            "302 Found (to https://elsewhere.example.com/)",
            Box::new(move |_| Reply::With(302, redirect.clone(), String::new())),
            false,
        ),
    ];
    for (message, reply, transient) in cases {
        let started = Instant::now();
        // Only what never ends needs the deadline; the rest must be told before it, however slow this machine
        // is.
        let time = if message.contains("no answer") { 500 } else { 10_000 };
        let failure = outcome(time, reply).unwrap_err().failure;
        assert!(
            failure.message.starts_with("GET /x from 127.0.0.1:") && failure.message.contains(message),
            "{message}: {failure}"
        );
        assert_eq!((failure.kind, failure.transient), (ErrorKind::Unreachable, transient), "{failure}");
        assert!(started.elapsed() < Duration::from_secs(5), "{message}: {:?}", started.elapsed());
    }
}

#[test]
fn answers_that_say_no_keep_their_status_and_the_connection() {
    let ca = Ca::new();
    let server = TestServer::start(&ca, &Identity::default(), |asked| match asked.path.as_str() {
        "/401" => status(401, "Unauthorized"),
        "/403" => status(403, "nodes is forbidden"),
        "/404" => status(404, "nodes \"a\" not found"),
        "/409" => status(409, "it exists already"),
        _ => Reply::With(429, "Retry-After: 7\r\n".to_owned(), String::new()),
    });
    let mut client = client(&ca, &server);
    assert_eq!(client.get("/401", soon()).unwrap_err().failure.kind, ErrorKind::Credential);
    let error = client.get("/403", soon()).unwrap_err();
    assert!(
        error.is_forbidden()
            && error.failure.kind == ErrorKind::Credential
            && error.failure.message.ends_with("403 Forbidden: nodes is forbidden")
    );
    assert!(client.get("/404", soon()).unwrap_err().is_missing());
    assert!(client.post("/409", &json!({}), soon()).unwrap_err().is_conflict());
    assert_eq!(client.get("/429", soon()).unwrap_err().retry_after, Some(Duration::from_secs(7)));
    assert_eq!(client.network().traffic().connections, 1);
}

#[test]
fn answers_that_are_no_json_are_another_servers() {
    let answer = outcome(5000, |_| Reply::With(200, String::new(), "<html>token</html>".to_owned())).unwrap();
    let failure = answer.json::<Value>().unwrap_err();
    assert!(failure.kind == ErrorKind::Unreachable && !failure.message.contains("token"), "{failure}");
}

#[test]
fn certificates_are_verified_and_each_reason_has_its_class() {
    let cases: [(&[&str], std::ops::Range<i64>, ErrorKind, &str); 4] = [
        (
            &["10.9.9.9", "api.example.com"],
            -1..30,
            ErrorKind::Untrusted,
            "is not for that name or address, but for 10.9.9.9, api.example.com",
        ),
        (&["127.0.0.1"], -30..-1, ErrorKind::Clock, "has been invalid since"),
        (&["127.0.0.1"], 1..30, ErrorKind::Clock, "is valid only from"),
        (&[], -1..30, ErrorKind::Untrusted, "is not for that name or address, but for no name at all"),
    ];
    for (names, days, class, message) in cases {
        let ca = Ca::new();
        let identity = Identity { names, days, ..Identity::default() };
        let server = TestServer::start(&ca, &identity, |_| Reply::Json(200, json!({})));
        let failure = client(&ca, &server).get("/x", soon()).unwrap_err().failure;
        assert!(failure.kind == class && !failure.transient, "{failure:?}");
        assert!(failure.message.contains(message), "{failure}");
        assert!(server.requests().is_empty(), "something was sent to a server that is not trusted");
    }
    let ca = Ca::new();
    let server = TestServer::start(&Ca::new(), &Identity::default(), |_| Reply::Json(200, json!({})));
    let failure = client(&ca, &server).get("/x", soon()).unwrap_err().failure;
    assert_eq!(failure.kind, ErrorKind::Untrusted, "{failure}");
    assert!(server.requests().is_empty());
}

#[test]
fn the_verified_name_may_differ_from_the_address() {
    let ca = Ca::new();
    let identity = Identity { names: &["api.example.com"], ..Identity::default() };
    let server = TestServer::start(&ca, &identity, |_| Reply::Json(200, json!({})));
    let client = |name| {
        Client::new(&network(), server.server(), name, &ca.authorities(), &Credential::Anonymous).unwrap()
    };
    assert!(client(Some("api.example.com")).get("/x", soon()).is_ok());
    assert!(client(None).get("/x", soon()).is_err());
}

#[test]
fn names_are_resolved_sent_and_verified() {
    let ca = Ca::new();
    let identity = Identity { names: &["api.example.com"], ..Identity::default() };
    let server = TestServer::start(&ca, &identity, |_| Reply::Json(200, json!({})));
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("etc")).unwrap();
    std::fs::write(root.path().join("etc/hosts"), "127.0.0.1 api.example.com other.example.com\n").unwrap();
    let network = Network::new(crate::host::root::Root::at(root.path()));
    let get = |name: &str| {
        let server: Server = format!("https://{name}:{}", server.address.port()).parse().unwrap();
        Client::new(&network, server, None, &ca.authorities(), &Credential::Anonymous)
            .unwrap()
            .get("/x", soon())
    };
    get("api.example.com").unwrap();
    assert!(
        server.requests()[0]
            .head
            .contains(&format!("host: api.example.com:{}\r\n", server.address.port()))
    );
    assert_eq!(get("other.example.com").unwrap_err().failure.kind, ErrorKind::Untrusted);
    let failure = get("missing.example.com").unwrap_err().failure;
    assert!(
        failure.transient
            && failure.message.starts_with("resolving missing.example.com (name servers 127.0.0.1): "),
        "{failure}"
    );
}

#[test]
fn ipv6_addresses_are_verified_by_their_names() {
    let ca = Ca::new();
    let server = TestServer::start_at("[::1]:0", &ca, &Identity::default(), |_| Reply::Json(200, json!({})));
    client(&ca, &server).get("/x", soon()).unwrap();
    assert!(server.requests()[0].head.contains(&format!("host: [::1]:{}\r\n", server.address.port())));
}

#[test]
fn a_client_certificate_is_shown() {
    let ca = Ca::new();
    let identity = Identity { wants_client_certificate: true, ..Identity::default() };
    let server = TestServer::start(&ca, &identity, |_| Reply::Json(200, json!({})));
    let own = ca.sign(&["node"], -1..1);
    let pem = rcgen_pem(&own.certificate) + &own.key.serialize_pem();
    let pem = Secret::new(pem);
    let certificate = ClientCertificate::from_pem(&pem, &pem).unwrap();
    let credential = Credential::Certificate(certificate);
    let mut with = Client::new(&network(), server.server(), None, &ca.authorities(), &credential).unwrap();
    with.get("/x", soon()).unwrap();
    let failure = client(&ca, &server).get("/x", soon()).unwrap_err().failure;
    assert!(
        failure.kind == ErrorKind::Unreachable && failure.message.contains("CertificateRequired"),
        "{failure}"
    );
}

fn rcgen_pem(der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}

#[test]
fn a_refused_connection_is_reported_at_once_and_a_dead_address_does_not_use_up_the_deadline() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server: Server = format!("https://{free}").parse().unwrap();
    let ca = Ca::new();
    let mut client =
        Client::new(&network(), server, None, &ca.authorities(), &Credential::Anonymous).unwrap();
    let failure = client.get("/x", soon()).unwrap_err().failure;
    assert_eq!(failure.message, format!("GET /x from {free}: connecting: Connection refused"));
    assert!(failure.transient);

    let live = TestServer::start(&ca, &Identity::default(), |_| Reply::Json(200, json!({})));
    let (silent, _kept) = silent_address();
    let addresses = [silent, live.address];
    let mut network = network();
    let connect = Duration::from_millis(200);
    network.connect_timeout = connect;
    let started = Instant::now();
    let tls = transport(&ca);
    assert!(Connection::open(&addresses, &tls, &network, soon()).is_ok());
    assert!(started.elapsed() < Duration::from_secs(3));
    let tls = transport(&ca);
    let fault = Connection::open(&[silent], &tls, &network, soon().within(connect)).err().unwrap();
    assert!(matches!(fault, Fault::Io("connecting", error) if error.kind() == std::io::ErrorKind::TimedOut));
}

/// An address whose queue of connections is full, so that the kernel ignores new ones, as a dead machine
/// would; and what keeps it so.
fn transport(ca: &Ca) -> Transport {
    let config = tls::config(&Trust::Authorities(ca.authorities()), None).unwrap();
    Transport::Tls(ServerName::try_from("127.0.0.1").unwrap(), config)
}

fn silent_address() -> (SocketAddr, Vec<std::net::TcpStream>) {
    use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, listen, socket};
    let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::empty(), None).unwrap();
    bind(std::os::fd::AsRawFd::as_raw_fd(&socket), &SockaddrIn::new(127, 0, 0, 1, 0)).unwrap();
    listen(&socket, Backlog::new(0).unwrap()).unwrap();
    let address = std::net::TcpListener::from(socket);
    let at = address.local_addr().unwrap();
    std::mem::forget(address);
    let fill = || std::net::TcpStream::connect_timeout(&at, Duration::from_millis(50));
    (at, std::iter::from_fn(|| fill().ok()).take(8).collect())
}

#[test]
fn servers_that_do_not_speak_tls_are_told_apart() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        use std::io::Write;
        for socket in listener.incoming() {
            socket
                .unwrap()
                .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\nClient sent an HTTP request")
                .unwrap();
        }
    });
    let server: Server = format!("https://{address}").parse().unwrap();
    let mut client =
        Client::new(&network(), server, None, &Ca::new().authorities(), &Credential::Anonymous).unwrap();
    let failure = client.get("/x", soon()).unwrap_err().failure;
    assert!(failure.message.contains("the answer is not TLS"), "{failure}");
}

#[test]
fn watches_hand_out_lines_until_they_are_broken_off() {
    let ca = Ca::new();
    let pause = Duration::from_millis(20);
    let server = TestServer::start(&ca, &Identity::default(), move |asked| match asked.path.as_str() {
        "/ends" => Reply::Watch(vec![(pause, json!(1)), (pause, json!(2))]),
        "/breaks" => Reply::BrokenWatch(vec![(pause, json!(1))]),
        "/silent" => Reply::Watch(vec![(pause, json!(1)), (Duration::from_secs(60), json!(2))]),
        "/long" => Reply::Watch(vec![(pause, json!("x".repeat(LONGEST_LINE)))]),
        _ => status(410, "too old resource version"),
    });
    let mut client = client(&ca, &server);
    let mut seen = Vec::new();
    let mut watch = |path: &str, until: &str, time| {
        seen.clear();
        let found = client.watch(path, Deadline::after(Duration::from_millis(time)), |line| {
            let line = String::from_utf8_lossy(line).into_owned();
            seen.push(line.clone());
            if line == until { ControlFlow::Break(line) } else { ControlFlow::Continue(()) }
        });
        (found, seen.clone())
    };
    assert_eq!(watch("/ends", "2", 20_000).0.unwrap().as_deref(), Some("2"));
    let (found, seen) = watch("/ends", "3", 20_000);
    assert_eq!((found.unwrap(), seen), (None, vec!["1".to_owned(), "2".to_owned()]));
    assert!(watch("/breaks", "3", 20_000).0.unwrap_err().failure.transient);
    assert_eq!(watch("/silent", "2", 1000).0.unwrap(), None);
    assert!(
        watch("/long", "2", 20_000)
            .0
            .unwrap_err()
            .failure
            .message
            .contains("longer than 1048576 bytes")
    );
    assert_eq!(watch("/gone", "2", 20_000).0.unwrap_err().status, Some(410));
}

#[test]
fn a_ca_with_the_serial_number_0_is_a_trust_anchor_and_has_its_pin() {
    let pem = include_bytes!("../../../tests/vectors/ca.crt");
    let authorities = Authorities::from_pem(pem).unwrap();
    assert_eq!(authorities.pins(), ["7cbaa28d5486ee14ee873fca92c426e115c70c4944ef4dda11e60793650696bf"]);
    tls::config(&Trust::Authorities(authorities), None).unwrap();
    for (wrong, why) in [
        ("", "no certificate"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "cannot be read"),
    ] {
        assert!(Authorities::from_pem(wrong.as_bytes()).unwrap_err().contains(why));
    }
}
