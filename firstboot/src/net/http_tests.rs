use std::time::Duration;

use rcgen::KeyPair;
use serde_json::json;

use super::super::test_server::{
    ApiServer as _, Ca, Identity, Reply as Scripted, TestServer, Trusted as _, network,
};
use super::*;
use crate::secret::Secret;

fn post(
    network: &Network,
    url: &str,
    headers: &[(&str, &str)],
    body: &[u8],
    trust: &Trust,
    certificate: Option<&ClientCertificate>,
    deadline: Deadline,
) -> std::result::Result<Reply, Error> {
    send_ok(
        network,
        &Request { headers, body, certificate, ..Request::new(Method::POST, url, trust) },
        deadline,
    )
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

fn echo(asked: &testkit::Request) -> Scripted {
    Scripted::Json(201, json!({"body": String::from_utf8_lossy(&asked.body)}))
}

fn pins(ca: &Ca) -> Vec<String> {
    ca.authorities().pins()
}

#[test]
fn sends_what_it_is_given_and_nothing_else() {
    let ca = Ca::new();
    let server = TestServer::start(&ca, &Identity::default(), echo);
    let trust = Trust::Authorities(ca.authorities());
    let url = format!("{}/a/b?c=d#e", server.server());
    let headers = [("content-type", "text/plain"), ("authorization", "Bearer canary")];
    let answer = post(&network(), &url, &headers, b"hello", &trust, None, soon()).unwrap();
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((answer.status, body), (201, json!({"body": "hello"})));
    assert!(answer.date().is_some());
    let asked = &server.requests()[0];
    let mut lines: Vec<String> =
        asked.head.lines().map(str::to_owned).filter(|line| !line.is_empty()).collect();
    lines[1..].sort();
    let expected = [
        "POST /a/b?c=d HTTP/1.1".to_owned(),
        "authorization: Bearer canary".to_owned(),
        "content-length: 5".to_owned(),
        "content-type: text/plain".to_owned(),
        format!("host: {}", server.address),
        format!("user-agent: firstboot/{}", env!("CARGO_PKG_VERSION")),
    ];
    assert_eq!(lines, expected);
}

#[test]
fn an_empty_post_says_its_length() {
    let ca = Ca::new();
    let server = TestServer::start(&ca, &Identity::default(), echo);
    post(&network(), &server.server().to_string(), &[], b"", &Trust::Keys(pins(&ca)), None, soon())
        .unwrap_err();
    let trust = Trust::Authorities(ca.authorities());
    post(&network(), &server.server().to_string(), &[], b"", &trust, None, soon()).unwrap();
    assert!(
        server.requests()[0].head.starts_with("POST / HTTP/1.1\r\n")
            && server.requests()[0].head.contains("content-length: 0\r\n")
    );
}

#[test]
fn a_status_that_is_no_success_is_an_error_that_shows_neither_query_nor_body() {
    let ca = Ca::new();
    for (status, headers, class, transient, wait, expected) in [
        (
            302,
            "Location: https://canary/\r\n",
            ErrorKind::Unreachable,
            false,
            None,
            "302 Found: redirects are not followed",
        ),
        (400, "", ErrorKind::Refused, false, None, "400 Bad Request"),
        (401, "", ErrorKind::Credential, false, None, "401 Unauthorized"),
        (403, "", ErrorKind::Credential, false, None, "403 Forbidden"),
        (404, "", ErrorKind::Refused, false, None, "404 Not Found"),
        (429, "Retry-After: 7\r\n", ErrorKind::Unreachable, true, Some(7), "429 Too Many Requests"),
        (503, "", ErrorKind::Unreachable, true, None, "503 Service Unavailable"),
    ] {
        let reply =
            move |_: &testkit::Request| Scripted::With(status, headers.to_owned(), "canary".to_owned());
        let server = TestServer::start(&ca, &Identity::default(), reply);
        let url = format!("{}/x?token=canary", server.server());
        let error = post(&network(), &url, &[], b"", &Trust::Authorities(ca.authorities()), None, soon())
            .unwrap_err();
        assert_eq!(error.failure.message, format!("POST {}: {expected}", server.server()));
        assert_eq!(
            (error.failure.kind, error.failure.transient, error.status),
            (class, transient, Some(status))
        );
        assert_eq!(error.retry_after.map(|wait| wait.as_secs()), wait);
    }
}

#[test]
fn faults_are_told_apart_and_end_in_time() {
    let ca = Ca::new();
    type Handle = fn(&testkit::Request) -> Scripted;
    let rows: [(Handle, bool, &str); 4] = [
        (|_| Scripted::Silence, true, "no answer within"),
        (|_| Scripted::Raw(b"SSH-2.0-x\r\n\r\n".to_vec()), false, "not HTTP"),
        (
            |_| Scripted::Cut(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx".to_vec()),
            true,
            "in the middle of the answer",
        ),
        (|_| Scripted::With(200, String::new(), "x".repeat(5 * 1024 * 1024)), false, "longer than"),
    ];
    for (handle, transient, expected) in rows {
        let server = TestServer::start(&ca, &Identity::default(), handle);
        let limit = Deadline::after(Duration::from_millis(1500));
        let failure = post(
            &network(),
            &server.server().to_string(),
            &[],
            b"x",
            &Trust::Authorities(ca.authorities()),
            None,
            limit,
        )
        .unwrap_err()
        .failure;
        assert!(failure.message.contains(expected) && failure.transient == transient, "{failure}");
    }
}

#[test]
fn trust_is_by_authority_or_by_key_and_names_the_host_in_any_case() {
    let (ca, other) = (Ca::new(), Ca::new());
    let named = Identity { names: &["elsewhere"], ..Identity::default() };
    let expired = Identity { days: -9..-1, ..Identity::default() };
    let right = Identity::default();
    for (identity, trust, expected) in [
        (&right, Trust::Authorities(ca.authorities()), None),
        (
            &right,
            Trust::Authorities(other.authorities()),
            Some("is not signed by a CA that is trusted for it"),
        ),
        (&named, Trust::Authorities(ca.authorities()), Some("is not for that name or address")),
        (&right, Trust::Keys(pins(&other)), Some("has none of the keys")),
        (&expired, Trust::Authorities(ca.authorities()), Some("has been invalid since")),
    ] {
        let server = TestServer::start(&ca, identity, echo);
        let ended = post(&network(), &server.server().to_string(), &[], b"x", &trust, None, soon());
        match (ended, expected) {
            (Ok(answer), None) => assert_eq!(answer.status, 201),
            (Err(error), Some(expected)) => {
                assert!(
                    error.failure.message.contains(expected) && error.failure.help.is_none(),
                    "{}",
                    error.failure
                );
                assert!(server.requests().is_empty(), "something was sent to a server that is not trusted");
            }
            (ended, _) => panic!("{ended:?}"),
        }
    }
}

#[test]
fn a_client_certificate_is_shown_when_asked_for() {
    let ca = Ca::new();
    let identity = Identity { wants_client_certificate: true, ..Identity::default() };
    let server = TestServer::start(&ca, &identity, echo);
    let key = KeyPair::generate().unwrap();
    let own = ClientCertificate::from_pem(&Secret::new(ca.certify(&key)), &Secret::new(key.serialize_pem()))
        .unwrap();
    let trust = Trust::Authorities(ca.authorities());
    let url = server.server().to_string();
    assert_eq!(post(&network(), &url, &[], b"x", &trust, Some(&own), soon()).unwrap().status, 201);
    assert!(post(&network(), &url, &[], b"x", &trust, None, soon()).is_err());
    let stranger = KeyPair::generate().unwrap();
    let wrong =
        ClientCertificate::from_pem(&Secret::new(ca.certify(&key)), &Secret::new(stranger.serialize_pem()))
            .unwrap();
    let failure = post(&network(), &url, &[], b"x", &trust, Some(&wrong), soon()).unwrap_err().failure;
    assert_eq!(failure.kind, ErrorKind::Credential);
}

#[test]
fn only_https_without_credentials() {
    for url in ["http://a/", "https://", "https://u:canary@a/", "a", "https://a:0x1/", "ftp://a", "HTTPS://a"]
    {
        let error = post(&network(), url, &[], b"", &Trust::Keys(Vec::new()), None, soon()).unwrap_err();
        assert!(
            error.failure.kind == ErrorKind::Config && !error.failure.transient,
            "{url}: {}",
            error.failure
        );
    }
    for (url, server, path) in [
        ("https://a", "a", "/"),
        ("https://a?x", "a", "/?x"),
        ("https://a:443/b?c#d", "a", "/b?c"),
        ("https://[fe80::1%eth0]:8443/b", "[fe80::1]:8443", "/b"),
    ] {
        let read = Url::secure(url).unwrap();
        assert_eq!((read.host().as_str(), read.path.as_str()), (server, path), "{url}");
    }
}

fn answered(answer: &'static [u8], limit: usize) -> crate::error::Result<Reply> {
    use std::io::{Read, Write};

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(answer);
    });
    let url = format!("http://127.0.0.1:{port}/healthz");
    let request = Request { limit, ..Request::new(Method::GET, &url, &Trust::Nobody) };
    let answered = send(&network(), &request, Deadline::after(Duration::from_secs(5)));
    answered.map_err(Failure::from)
}

#[test]
fn plain_answers_have_status_and_body() {
    let answer = answered(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 10).unwrap();
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"ok"[..]));
    assert_eq!(answered(b"HTTP/1.0 503 no\r\n\r\n", 10).unwrap().status, 503);
    assert_eq!(
        answered(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 10)
            .unwrap()
            .body,
        b"ok"
    );
}

#[test]
fn plain_answers_that_are_cut_off_too_long_or_not_http_are_refused() {
    for (answer, why) in [
        (
            &b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"[..],
            "the connection broke in the middle of the answer",
        ),
        (b"HTTP/1.1 200", "the connection broke in the middle of the answer"),
        (b"", "the server closed the connection without an answer"),
        (b"SSH-2.0-OpenSSH\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\n\r\n01234567890", "longer than 10 bytes"),
    ] {
        let failure = answered(answer, 10).unwrap_err();
        assert!(
            failure.message.contains(why) && failure.kind == ErrorKind::Unreachable && failure.transient,
            "{failure}"
        );
    }
}
