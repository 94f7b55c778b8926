use std::time::Duration;

use super::*;
use crate::config::{HostDefaults, parse as parse_config};
use crate::net::test_server::{ApiServer as _, Ca, Identity, Reply, TestServer, Trusted as _, network};

const TOKEN: &str = "abcdef.0123456789abcdef";
const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn from(server: &TestServer, ca: &Ca) -> TokenFrom {
    TokenFrom {
        url: Secret::new(format!("{}/token?key=canary", server.server())),
        ca_cert: Some(ca.pem()),
        ca_cert_hashes: Vec::new(),
        identity: Proof::None,
        client: None,
        timeout: Duration::from_secs(20),
    }
}

fn asked(from: &TokenFrom, root: &Root, limit: Duration) -> Result<TokenResponse> {
    send(&network(), root, from, br#"{"kind":"TokenRequest"}"#, Deadline::after(limit), &mut Backoff::new())
}

fn answering(ca: &Ca, status: u16, body: &str) -> Result<TokenResponse> {
    let body = body.to_owned();
    let server = TestServer::start(ca, &Identity::default(), move |_: &testkit::Request| {
        Reply::With(status, String::new(), body.clone())
    });
    asked(&from(&server, ca), &Root::default(), Duration::from_secs(20))
}

fn root() -> (tempfile::TempDir, Root) {
    let folder = tempfile::tempdir().unwrap();
    let root = Root::at(folder.path());
    (folder, root)
}

#[test]
fn a_token_is_given_to_whom_the_config_trusts() {
    let ca = Ca::new();
    let server = TestServer::start(&ca, &Identity::default(), |_: &testkit::Request| {
        Reply::Json(
            200,
            json!({"token": TOKEN, "expires": "2999-01-02T03:04:05Z", "endpoint": "10.0.0.1:6443", "caCertHashes": [format!("sha256:{HEX}")], "more": 1}),
        )
    });
    let given = asked(&from(&server, &ca), &Root::default(), Duration::from_secs(20)).unwrap();
    assert_eq!((given.token.bearer(), given.pins.as_slice()), (TOKEN, &[HEX.to_owned()][..]));
    assert_eq!(given.endpoint.map(|endpoint| endpoint.to_string()).as_deref(), Some("10.0.0.1:6443"));
    let seen = &server.requests()[0];
    assert!(
        seen.head.starts_with("POST /token?key=canary HTTP/1.1")
            && seen.body == br#"{"kind":"TokenRequest"}"#,
        "{}",
        seen.head
    );
    let pinned = TokenFrom { ca_cert: None, ca_cert_hashes: ca.authorities().pins(), ..from(&server, &ca) };
    assert!(
        asked(&pinned, &Root::default(), Duration::from_secs(20)).is_err(),
        "the CA's key is not in what the server sends"
    );
}

#[test]
fn a_server_that_is_not_trusted_gets_no_request() {
    let (ca, other) = (Ca::new(), Ca::new());
    let server = TestServer::start(&ca, &Identity::default(), |_: &testkit::Request| {
        Reply::Json(200, json!({"token": TOKEN}))
    });
    let pin = TokenFrom { ca_cert: None, ca_cert_hashes: vec![HEX.to_owned()], ..from(&server, &ca) };
    for wrong in [from(&server, &other), pin] {
        let failure = asked(&wrong, &Root::default(), Duration::from_secs(20)).unwrap_err();
        assert!(failure.kind == ErrorKind::Untrusted && !failure.message.contains("canary"), "{failure}");
    }
    assert!(server.requests().is_empty());
}

#[test]
fn a_client_certificate_is_shown() {
    let ca = Ca::new();
    let identity = Identity { wants_client_certificate: true, ..Identity::default() };
    let server =
        TestServer::start(&ca, &identity, |_: &testkit::Request| Reply::Json(200, json!({"token": TOKEN})));
    let (_folder, root) = root();
    let key = rcgen::KeyPair::generate().unwrap();
    files::write(&root.path("/etc/node.crt"), ca.certify(&key).as_bytes(), 0o644).unwrap();
    files::write(&root.path("/etc/node.key"), key.serialize_pem().as_bytes(), 0o600).unwrap();
    let client = Some(("/etc/node.crt".into(), "/etc/node.key".into()));
    let with = TokenFrom { identity: Proof::Certificate, client, ..from(&server, &ca) };
    assert_eq!(asked(&with, &root, Duration::from_secs(20)).unwrap().token.bearer(), TOKEN);
    assert!(
        asked(&from(&server, &ca), &root, Duration::from_secs(2)).is_err(),
        "without one there is no token"
    );
    std::fs::remove_file(root.path("/etc/node.key")).unwrap();
    assert!(
        asked(&with, &root, Duration::from_secs(2))
            .unwrap_err()
            .message
            .contains("/etc/node.key: there is no such file")
    );
}

#[test]
fn refusals_and_bad_answers_end_at_once_and_say_no_secret() {
    let ca = Ca::new();
    let huge = format!(r#"{{"token": "{}"}}"#, "canary".repeat(20_000));
    for (status, body, class, expected) in [
        (403, "canary", ErrorKind::Credential, "403 Forbidden"),
        (404, "canary", ErrorKind::Refused, "404 Not Found"),
        (302, "canary", ErrorKind::Unreachable, "redirects are not followed"),
        (200, "canary", ErrorKind::Credential, "no JSON object"),
        (200, "{\"canary\"", ErrorKind::Credential, "at line 1"),
        (200, r#"{"token": ["canary"]}"#, ErrorKind::Credential, "at line 1"),
        (200, r#"{"token": "canary"}"#, ErrorKind::Credential, "token: "),
        (200, &huge, ErrorKind::Credential, "longer than 65536 bytes"),
        (
            200,
            r#"{"token": "abcdef.0123456789abcdef", "expires": "2020-01-02T03:04:05Z"}"#,
            ErrorKind::Credential,
            "has expired",
        ),
        (
            200,
            r#"{"token": "abcdef.0123456789abcdef", "expires": "canary"}"#,
            ErrorKind::Credential,
            "expires: ",
        ),
        (
            200,
            r#"{"token": "abcdef.0123456789abcdef", "endpoint": "canary"}"#,
            ErrorKind::Credential,
            "endpoint: ",
        ),
        (
            200,
            r#"{"token": "abcdef.0123456789abcdef", "caCertHashes": ["canary"]}"#,
            ErrorKind::Credential,
            "caCertHashes: ",
        ),
    ] {
        let failure = answering(&ca, status, body).unwrap_err();
        assert!(
            failure.kind == class && failure.message.contains(expected),
            "{status} {body:.60}: {failure}"
        );
        assert!(
            !failure.message.contains("canary") && !format!("{failure:?}").contains("0123456789abcdef"),
            "{failure:?}"
        );
    }
}

#[test]
fn a_late_server_is_waited_for_and_a_dead_one_is_not() {
    let ca = Ca::new();
    let server =
        TestServer::start(&ca, &Identity::default(), |asked: &testkit::Request| match asked.connection {
            0 => Reply::Json(503, json!({})),
            1 => Reply::Reset,
            _ => Reply::Json(200, json!({"token": TOKEN})),
        });
    assert_eq!(
        asked(&from(&server, &ca), &Root::default(), Duration::from_secs(30)).unwrap().token.id(),
        "abcdef"
    );
    let silent = TestServer::start(&ca, &Identity::default(), |_: &testkit::Request| Reply::Silence);
    let started = std::time::Instant::now();
    let failure = asked(&from(&silent, &ca), &Root::default(), Duration::from_secs(1)).unwrap_err();
    assert!(
        failure.kind == ErrorKind::Unreachable && started.elapsed() < Duration::from_secs(5),
        "{failure}"
    );
}

fn config(discovery: &str, agent: &str) -> Result<crate::config::model::NodeConfig> {
    let text = format!(
        "apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\n{discovery}---\napiVersion: firstboot.kiln/v1\nkind: FirstbootConfiguration\n{agent}"
    );
    parse_config(text.as_bytes(), &HostDefaults { hostname: "n1".to_owned() })
}

#[test]
fn a_config_without_a_token_is_complete_with_the_answer() {
    let agent = "tokenFrom: {url: 'https://t.example/x', identity: platform, timeout: 5s}\n";
    let given = |endpoint: Option<&str>, pins: &[&str]| TokenResponse {
        token: TOKEN.parse().unwrap(),
        endpoint: endpoint.map(|text| text.parse().unwrap()),
        pins: pins.iter().map(|pin| (*pin).to_owned()).collect(),
    };
    let own = format!(
        "discovery: {{bootstrapToken: {{apiServerEndpoint: 'own:6443', caCertHashes: ['sha256:{HEX}']}}}}\n"
    );
    let merged = |discovery: &str, given: TokenResponse| {
        merge(&config(discovery, agent).unwrap().join.discovery, given)
    };
    let shown = |discovery: Discovery| match discovery {
        Discovery::Token { endpoints, pins, token, .. } => {
            (endpoints[0].to_string(), pins, token.id().to_owned())
        }
        other => panic!("{other:?}"),
    };
    let own_counts = shown(merged(&own, given(Some("theirs:6443"), &["f"])).unwrap());
    assert_eq!(own_counts, ("own:6443".to_owned(), vec![HEX.to_owned()], "abcdef".to_owned()));
    let theirs = shown(merged("", given(Some("theirs:6443"), &["f"])).unwrap());
    assert_eq!(theirs, ("theirs:6443".to_owned(), vec!["f".to_owned()], "abcdef".to_owned()));
    assert!(merged("", given(None, &["f"])).unwrap_err().message.contains("the endpoint"));
    assert!(merged("", given(Some("a:1"), &[])).unwrap_err().message.contains("caCertHashes"));
    let config = config(&own, agent).unwrap();
    assert_eq!(config.agent.token_from.as_ref().map(|from| from.identity), Some(Proof::Platform));
    assert!(!format!("{config:?}").contains("t.example"), "a URL may hold a secret");
}

#[test]
fn what_is_wrong_with_token_from_is_said() {
    let token = format!("discovery: {{bootstrapToken: {{token: '{TOKEN}'}}}}\n");
    for (discovery, agent, expected) in [
        (token.as_str(), "{url: 'https://t'}", "cannot both be set"),
        ("discovery: {file: {kubeConfigPath: /x}}\n", "{url: 'https://t'}", "cannot both be set"),
        ("", "{}", "tokenFrom.url: Required value"),
        ("", "{url: 'http://canary'}", "tokenFrom.url: Invalid value: the URL does not begin with https://"),
        ("", "{url: 'https://t', caCert: canary}", "tokenFrom.caCert: Invalid value"),
        ("", "{url: 'https://t', caCertHashes: [x]}", "tokenFrom.caCertHashes[0]"),
        ("", "{url: 'https://t', identity: certificate}", "identity: certificate needs it"),
        (
            "",
            "{url: 'https://t', identity: tpm}",
            "supported values: \"none\", \"platform\", \"certificate\"",
        ),
        ("", "{url: 'https://t', clientKey: /x}", "go together"),
        ("", "{url: 'https://t', timeout: 0s}", "must be greater than 0"),
        ("", "{url: 'https://t', token: x}", "unknown field \"tokenFrom.token\""),
    ] {
        let failure = config(discovery, &format!("tokenFrom: {agent}\n")).unwrap_err();
        assert!(
            failure.message.contains(expected) && !failure.message.contains("canary"),
            "{agent}: {failure}"
        );
    }
}

#[test]
fn answers_are_taken_as_the_libraries_of_other_languages_write_them() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_323_044);
    let parsed = |more: &str| parse(format!(r#"{{"token": "{TOKEN}"{more}}}"#).as_bytes(), now);
    for more in [
        r#", "expires": null, "endpoint": null, "caCertHashes": null"#,
        r#", "expires": "", "endpoint": "", "caCertHashes": []"#,
        r#", "expires": "2026-01-02T03:04:05.123456789Z""#,
        r#", "expires": "2026-01-02T03:04:05.5+00:00""#,
        r#", "expires": "2026-01-02T03:04:05+00:00""#,
    ] {
        let given = parsed(more).unwrap();
        assert!(given.endpoint.is_none() && given.pins.is_empty(), "{more}");
    }
    for (expires, why) in [
        ("2026-01-02T03:04:04.9Z", "has expired"),
        ("2026-01-02T03:04:05", "no time of the form"),
        ("2026-01-02T03:04:05+02:00", "no time of the form"),
        ("2026-01-02T03:04:0\u{e4}Z", "no time of the form"),
    ] {
        let failure = parsed(&format!(r#", "expires": "{expires}""#)).unwrap_err();
        assert!(failure.message.contains(why), "{expires}: {failure}");
    }
}
