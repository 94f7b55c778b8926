use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use super::*;

/// A service that answers `answer`, and a token to a request for one. Returns its address and, later, the
/// requests.
fn service(answer: &str) -> (String, thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, answer) = (listener.local_addr().unwrap().to_string(), answer.to_owned());
    let asked = thread::spawn(move || {
        let mut asked = Vec::new();
        for mut stream in listener.incoming().flatten() {
            let mut head = vec![0; 4096];
            let length = stream.read(&mut head).unwrap();
            asked.push(String::from_utf8_lossy(&head[..length]).into_owned());
            let is_session = asked.last().is_some_and(|head| head.starts_with("PUT"));
            let body = if is_session { "session" } else { &answer };
            let flavor = "Metadata-Flavor: Google\r\n";
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nConnection: close\r\n{flavor}Content-Length: {}\r\n\r\n{body}",
                body.len()
            )
            .unwrap();
            if !is_session {
                return asked;
            }
        }
        asked
    });
    (address, asked)
}

#[test]
fn each_platform_signs_in_its_own_way() {
    for (platform, answer, kind, document, asked) in [
        ("ec2", "MIIC", "ec2-rsa2048", "MIIC", "GET /latest/dynamic/instance-identity/rsa2048 "),
        ("gce", "e.y.J", "gce-jwt", "e.y.J", "identity?audience=https%3A%2F%2Ft.example%2Fa&format=full "),
        (
            "azure",
            r#"{"encoding":"pkcs7","signature":"MIIE"}"#,
            "azure-attested",
            "MIIE",
            "/metadata/attested/document?api-version=",
        ),
    ] {
        let (address, requests) = service(answer);
        let found = document_at(
            Some(platform),
            "https://t.example/a",
            Some(&[&address]),
            Deadline::after(Duration::from_secs(10)),
        )
        .unwrap();
        let last = requests.join().unwrap().pop().unwrap();
        assert_eq!(
            (found["kind"].as_str(), found["document"].as_str()),
            (Some(kind), Some(document)),
            "{platform}"
        );
        assert!(last.contains(asked), "{platform}: {last}");
        let nonce = found["nonce"].as_str().unwrap();
        assert!(nonce.len() == 10 && nonce.bytes().all(|byte| byte.is_ascii_digit()), "{nonce}");
        assert!(platform != "azure" || last.contains(&format!("nonce={nonce} ")), "{last}");
    }
}

#[test]
fn who_signs_nothing_and_what_is_no_document_is_said() {
    let soon = || Deadline::after(Duration::from_secs(5));
    for platform in [None, Some("hetzner")] {
        let failure = document(platform, "https://t", soon()).unwrap_err();
        assert!(failure.message.contains("signs nothing") && failure.kind == ErrorKind::Config, "{failure}");
    }
    for answer in [
        "{}",
        "no json",
        r#"{"signature": 5}"#,
        r#"{"signature": ""}"#,
        &format!(r#"{{"signature": "{}"}}"#, "x".repeat(40_000)),
    ] {
        let (address, _) = service(answer);
        let failure = document_at(Some("azure"), "https://t", Some(&[&address]), soon()).unwrap_err();
        assert!(failure.message.ends_with("the answer holds no signed document"), "{failure}");
    }
}
