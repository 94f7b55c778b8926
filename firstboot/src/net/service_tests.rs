use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;

use super::*;

/// A service that answers each request with the next of `answers`, one connection per request; and the
/// requests.
struct Scripted {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

fn scripted(answers: &[&'static str]) -> Scripted {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (log, answers) = (asked.clone(), answers.to_vec());
    thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut bytes = vec![0; 8192];
            let length = stream.read(&mut bytes).unwrap();
            log.lock().unwrap().push(String::from_utf8_lossy(&bytes[..length]).into_owned());
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    Scripted { address, asked }
}

fn ok(body: &'static str) -> String {
    format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn leaked(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

fn service(scripted: &Scripted, protocol: Protocol, limit: Duration) -> Service {
    Service::new(&[&scripted.address], protocol, Deadline::after(limit))
}

const SECONDS: Duration = Duration::from_secs(5);
const NONE: &str = "HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

#[test]
fn what_must_be_there_is_waited_for_and_what_may_be_missing_is_not() {
    let server = scripted(&[
        NONE,
        "HTTP/1.1 500 no\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        leaked(ok(" a\n")),
        NONE,
    ]);
    let mut service = service(&server, Protocol::default(), SECONDS);
    assert_eq!(service.text("/id").unwrap(), "a");
    assert_eq!(service.find("/user-data").unwrap(), None);
    assert_eq!(server.asked.lock().unwrap().len(), 4);
    assert_eq!(service.url("/x?token=1"), format!("http://{}/x", server.address));
}

#[test]
fn a_session_is_begun_carried_and_renewed() {
    const PROTOCOL: Protocol = Protocol {
        headers: &[("x-plain", "1")],
        answers_with: None,
        session: Some(Session { path: "/token", ask: ("x-ttl", "300"), carry: "x-token" }),
        privileged_port: false,
    };
    let refused = "HTTP/1.1 401 Unauthorized\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let server = scripted(&[leaked(ok("T1")), leaked(ok("a")), refused, leaked(ok("T2")), leaked(ok("b"))]);
    let mut service = service(&server, PROTOCOL, SECONDS);
    assert_eq!((service.text("/a").unwrap(), service.text("/b").unwrap()), ("a".to_owned(), "b".to_owned()));
    let asked = server.asked.lock().unwrap();
    assert!(
        asked[0].starts_with("PUT /token")
            && asked[0].contains("x-ttl: 300")
            && !asked[0].contains("x-token")
    );
    assert!(
        asked[1].starts_with("GET /a") && asked[1].contains("x-token: T1") && asked[1].contains("x-plain: 1")
    );
    assert!(asked[4].starts_with("GET /b") && asked[4].contains("x-token: T2"));
}

#[test]
fn what_is_no_answer_of_the_service_is_an_error_that_names_the_url() {
    const GOOGLE: Protocol = Protocol {
        headers: &[],
        answers_with: Some(("metadata-flavor", "Google")),
        session: None,
        privileged_port: false,
    };
    let redirect = "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let forbidden = "HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    for (answer, protocol, expected) in [
        (redirect, Protocol::default(), "a redirect"),
        (forbidden, Protocol::default(), "answers 403"),
        ("SSH-2.0-OpenSSH_9\r\n\r\n", Protocol::default(), "not HTTP"),
        (leaked(ok("x")), GOOGLE, "lacks the header metadata-flavor"),
        (leaked(ok("a\u{1b}[2J")), Protocol::default(), "control characters"),
    ] {
        let server = scripted(&[answer]);
        let failure = service(&server, protocol, SECONDS).text("/id").unwrap_err();
        assert!(failure.kind == ErrorKind::Source && failure.message.contains(expected), "{failure}");
        assert!(failure.message.starts_with("http://127.0.0.1:"), "{failure}");
    }
}

#[test]
fn an_absent_service_is_reported_before_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let mut service = Service::new(
        &[&address, "nonsense"],
        Protocol::default(),
        Deadline::after(Duration::from_millis(500)),
    );
    let began = std::time::Instant::now();
    let failure = service.text("/id").unwrap_err();
    assert!(
        failure.transient && failure.message.contains("refused") && began.elapsed() < Duration::from_secs(2),
        "{failure}"
    );
}

#[test]
fn a_link_local_address_is_tried_on_every_interface() {
    let found = candidates("[fe80::a9fe:a9fe%]");
    assert!(
        found.iter().any(|(text, address)| text == "[fe80::a9fe:a9fe%lo]" && address.port() == 80),
        "{found:?}"
    );
    assert_eq!(without_zone("[fe80::a9fe:a9fe%eth0]"), "[fe80::a9fe:a9fe]");
    assert_eq!(without_zone("169.254.169.254"), "169.254.169.254");
}

#[test]
fn addresses_stand_in_urls_as_they_must() {
    for (address, expected) in [
        ("169.254.169.254", "169.254.169.254"),
        ("127.0.0.1:8080", "127.0.0.1:8080"),
        ("fd00:ec2::254", "[fd00:ec2::254]"),
        ("fe80::a9fe:a9fe", "[fe80::a9fe:a9fe%]"),
        ("[fe80::a9fe:a9fe%eth0]", "[fe80::a9fe:a9fe%eth0]"),
    ] {
        assert_eq!(in_url(address), expected);
    }
}
