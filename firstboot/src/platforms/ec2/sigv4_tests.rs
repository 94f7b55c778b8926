use serde_json::Value;

use super::*;

/// A request of the suite: its method, its headers (folded lines joined), its body.
fn request(text: &str) -> (String, Vec<(String, String)>, String) {
    let (head, body) = text.split_once("\n\n").unwrap_or((text.trim_end(), ""));
    let mut lines = head.lines();
    let method = lines.next().unwrap().split(' ').next().unwrap().to_owned();
    let mut headers: Vec<(String, String)> = Vec::new();
    for line in lines {
        if line.starts_with(' ') {
            headers.last_mut().unwrap().1.push_str(line);
        } else {
            let (name, value) = line.split_once(':').unwrap();
            headers.push((name.to_owned(), value.to_owned()));
        }
    }
    (method, headers, body.to_owned())
}

#[test]
fn signs_as_the_suite_of_aws_says() {
    let suite: Value = serde_json::from_str(include_str!("vectors/sigv4.json")).unwrap();
    let cases = suite["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 14);
    for case in cases {
        let text = |name: &str| case[name].as_str().unwrap();
        let credentials = Credentials {
            access_key: text("accessKey").to_owned(),
            secret_key: Secret::new(text("secretKey").to_owned()),
            token: case["token"].as_str().map(|token| Secret::new(token.to_owned())),
        };
        let scope =
            Scope { region: text("region"), service: text("service"), time: text("time").parse().unwrap() };
        let (method, mut headers, body) = request(text("request"));
        if case["signBody"] == true {
            headers.push(("x-amz-content-sha256".to_owned(), sha256(body.as_bytes())));
        }
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let added = sign(&credentials, &scope, &method, &headers, body.as_bytes());
        let all: Vec<(&str, &str)> =
            added[..added.len() - 1].iter().map(|(name, value)| (*name, value.reveal())).collect();
        let (canonical, _) =
            canonical((method.as_str(), "/"), &[&headers[..], &all[..]].concat(), body.as_bytes());
        assert_eq!(canonical, text("canonical"), "{}", text("name"));
        assert_eq!(string_to_sign(&scope, &canonical), text("stringToSign"), "{}", text("name"));
        let (name, authorization) = added.last().unwrap();
        assert_eq!(*name, "authorization");
        assert!(
            authorization.reveal().ends_with(&format!(", Signature={}", text("signature"))),
            "{}",
            text("name")
        );
    }
}

#[test]
fn every_part_counts() {
    let credentials = |secret: &str| Credentials {
        access_key: "a".to_owned(),
        secret_key: Secret::new(secret.to_owned()),
        token: None,
    };
    let time: DateTime = "2026-11-24T15:00:00Z".parse().unwrap();
    let later: DateTime = "2026-11-24T15:00:01Z".parse().unwrap();
    let signature = |secret: &str, region: &str, service: &str, time: DateTime, host: &str, body: &[u8]| {
        let added =
            sign(&credentials(secret), &Scope { region, service, time }, "POST", &[("host", host)], body);
        added.last().unwrap().1.reveal().rsplit_once('=').unwrap().1.to_owned()
    };
    let all = [
        signature("s", "r", "x", time, "h", b"b"),
        signature("t", "r", "x", time, "h", b"b"),
        signature("s", "q", "x", time, "h", b"b"),
        signature("s", "r", "y", time, "h", b"b"),
        signature("s", "r", "x", later, "h", b"b"),
        signature("s", "r", "x", time, "i", b"b"),
        signature("s", "r", "x", time, "h", b"c"),
    ];
    let different: std::collections::HashSet<_> = all.iter().collect();
    assert_eq!(different.len(), all.len());
    assert!(all[0].len() == 64 && now().is_some());
}
