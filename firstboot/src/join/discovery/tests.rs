use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::{CertificateParams, KeyPair};
use ring::hmac;
use serde_json::{Value, json};

use super::*;
use crate::join::certificate_request::CertificateRequest;
use crate::join::cluster::{self, ConfigMap};
use crate::net::Endpoint;
use crate::net::test_server::{
    ApiServer as _, Ca, Identity, Reply, TestServer, Trusted as _, network, status,
};

const TOKEN: &str = "abcdef.0123456789abcdef";

fn token(text: &str) -> Token {
    text.parse().unwrap()
}

fn quick() -> Backoff<'static> {
    Backoff::seeded(1).between(Duration::from_millis(5), Duration::from_millis(20))
}

/// The cluster-info for this CA and URL, signed with `signer`.
pub(super) fn cluster_info(ca: &Ca, url: &str, signer: &str) -> Value {
    let authorities = STANDARD.encode(ca.pem());
    let kubeconfig = format!(
        "apiVersion: v1\nclusters:\n- cluster:\n    certificate-authority-data: {authorities}\n    server: {url}\n  name: \"\"\n\
         contexts: null\ncurrent-context: \"\"\nkind: Config\nusers: null\n"
    );
    signed(&kubeconfig, signer)
}

fn signed(kubeconfig: &str, signer: &str) -> Value {
    let signer = token(signer);
    let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"HS256","kid":"{}"}}"#, signer.id()));
    let key = hmac::Key::new(hmac::HMAC_SHA256, signer.secret().as_bytes());
    let tag = hmac::sign(&key, format!("{header}.{}", URL_SAFE_NO_PAD.encode(kubeconfig)).as_bytes());
    let signature = format!("{header}..{}", URL_SAFE_NO_PAD.encode(tag));
    json!({"data": {"kubeconfig": kubeconfig, format!("jws-kubeconfig-{}", signer.id()): signature}})
}

/// A server whose script can use the server's URL.
fn start(
    ca: &Ca,
    identity: &Identity<'_>,
    reply: impl Fn(&str, &testkit::Request) -> Reply + Send + Sync + 'static,
) -> TestServer {
    let url = Arc::new(Mutex::new(String::new()));
    let own = url.clone();
    let server = TestServer::start(ca, identity, move |asked| reply(&own.lock().unwrap(), asked));
    *url.lock().unwrap() = server.server().to_string();
    server
}

/// A cluster that publishes its cluster-info and answers other requests with 404.
fn publishing(ca: Arc<Ca>, identity: &Identity<'_>) -> TestServer {
    start(&ca.clone(), identity, move |url, asked| match asked.path.as_str() {
        CLUSTER_INFO => Reply::Json(200, cluster_info(&ca, url, TOKEN)),
        _ => status(404, "not found"),
    })
}

fn by_token(servers: &[&TestServer], pins: &[String], text: &str) -> Discovery {
    Discovery::Token {
        endpoints: servers.iter().map(|server| server.server().endpoint).collect(),
        token: token(text),
        pins: pins.to_vec(),
        unsafe_skip_ca_verification: false,
    }
}

fn run_on(network: &Network, discovery: &Discovery, time: u64) -> Result<Cluster> {
    let deadline = Deadline::after(Duration::from_millis(time));
    discover(network, &Request { discovery, tls_bootstrap_token: None, deadline }, &mut quick())
}

fn run(discovery: &Discovery, time: u64) -> Result<Cluster> {
    run_on(&network(), discovery, time)
}

fn failure(outcome: Result<Cluster>) -> Failure {
    match outcome {
        Ok(_) => panic!("discovery succeeded"),
        Err(failure) => failure,
    }
}

#[test]
fn a_join_is_four_requests_on_one_connection_and_the_token_comes_last() {
    let (ca, key) = (Arc::new(Ca::new()), KeyPair::generate().unwrap());
    let csr = CertificateParams::new(Vec::new())
        .unwrap()
        .serialize_request(&key)
        .unwrap()
        .pem()
        .unwrap();
    let request = CertificateRequest::new("w1", &csr).unwrap();
    let (issued, own) = (ca.certify_node(&key, "w1"), ca.clone());
    let server = start(&ca, &Identity::default(), move |url, asked| {
        match (asked.method.as_str(), asked.path.as_str()) {
            (_, CLUSTER_INFO) => Reply::Json(200, cluster_info(&own, url, TOKEN)),
            (_, "/api/v1/nodes/w1") => status(404, "not found"),
            ("POST", _) => Reply::Json(201, json!({"metadata": {"resourceVersion": "7"}})),
            _ => {
                let object = json!({"metadata": {}, "status": {"certificate": STANDARD.encode(&issued)}});
                Reply::Watch(vec![(Duration::from_millis(20), json!({"type": "MODIFIED", "object": object}))])
            }
        }
    });
    let network = network();
    let pins = ca.authorities().pins();
    let mut cluster = run_on(&network, &by_token(&[&server], &pins, TOKEN), 5000).unwrap();
    assert_eq!(cluster.verified_by, Verification::Pin(pins[0].clone()));
    assert_eq!(
        (cluster.server.to_string(), cluster.authorities.pem()),
        (server.server().to_string(), ca.pem().as_bytes())
    );
    let deadline = Deadline::after(Duration::from_secs(5));
    assert_eq!(cluster::node(&mut cluster.client, "w1", deadline, &mut quick()).unwrap(), None);
    request.submit(&mut cluster.client, deadline, &mut quick()).unwrap();

    let asked = server.requests();
    assert_eq!(asked.len(), 4);
    assert!(asked.iter().all(|asked| asked.connection == 0));
    let with_token: Vec<_> = asked
        .iter()
        .map(|asked| asked.head.contains(&format!("authorization: Bearer {TOKEN}\r\n")))
        .collect();
    assert_eq!(with_token, [false, true, true, true]);
    assert!(!asked[0].head.to_lowercase().contains("authorization"));
    let traffic = network.traffic();
    assert_eq!((traffic.requests, traffic.connections), (4, 1));
    let bootstrap = cluster.bootstrap_kubeconfig("lab", false).unwrap();
    assert!(
        bootstrap.reveal().contains(TOKEN)
            && cluster.kubelet_kubeconfig("/x.pem", false).contains("client-key: /x.pem")
    );
}

#[test]
fn wrong_pins_secrets_and_tokens_are_refused_in_kubeadms_words() {
    let ca = Arc::new(Ca::new());
    let server = publishing(ca.clone(), &Identity::default());
    let (right, wrong) = (ca.authorities().pins(), vec!["0".repeat(64)]);
    let not_pinned = format!(
        "cluster CA found in cluster-info ConfigMap is invalid: none of the public keys \"sha256:{}\" are pinned",
        right[0]
    );
    for (pins, text, class, message) in [
        (&wrong, TOKEN, ErrorKind::Untrusted, not_pinned.as_str()),
        (&vec![], TOKEN, ErrorKind::Untrusted, not_pinned.as_str()),
        (
            &right,
            "abcdef.0000000000000000",
            ErrorKind::Untrusted,
            "failed to verify JWS signature of received cluster info object, can't trust this API Server",
        ),
        (
            &right,
            "aaaaaa.bbbbbbbbbbbbbbbb",
            ErrorKind::Credential,
            "could not find a JWS signature in the cluster-info ConfigMap for token ID \"aaaaaa\"",
        ),
    ] {
        let started = Instant::now();
        let failure = failure(run(
            &by_token(&[&server], pins, text),
            if class == ErrorKind::Credential { 3000 } else { 10_000 },
        ));
        assert_eq!((failure.kind, failure.message.as_str(), failure.transient), (class, message, false));
        assert!(failure.help.is_some() && started.elapsed() < Duration::from_secs(6));
    }
    assert!(server.requests().iter().all(|asked| !asked.head.to_lowercase().contains("authorization")));
}

#[test]
fn a_man_in_the_middle_gets_no_token() {
    let (ca, other) = (Arc::new(Ca::new()), Ca::new());
    let own = ca.clone();
    // It forwards the real, signed cluster-info, with its own certificate.
    let middle =
        start(&other, &Identity::default(), move |url, _| Reply::Json(200, cluster_info(&own, url, TOKEN)));
    let failure = failure(run(&by_token(&[&middle], &ca.authorities().pins(), TOKEN), 8000));
    assert_eq!((failure.kind, failure.transient), (ErrorKind::Untrusted, false), "{failure}");
    assert_eq!(middle.requests().len(), 1);
    assert!(!middle.requests()[0].head.to_lowercase().contains("authorization"));
}

#[test]
fn the_chain_of_the_first_connection_is_verified_by_name_and_time() {
    for (names, days, class, message) in [
        (
            vec!["api.example.com"],
            -1..30,
            ErrorKind::Untrusted,
            "is not for that name or address, but for api.example.com",
        ),
        // The server's Date shows that the clock is right: the certificate has expired.
        (vec!["127.0.0.1"], -30..-1, ErrorKind::Untrusted, "expired on "),
        (vec!["127.0.0.1"], 1..30, ErrorKind::Clock, "is valid only from "),
    ] {
        let ca = Arc::new(Ca::new());
        let server = publishing(ca.clone(), &Identity { names: &names, days, ..Identity::default() });
        let failure = failure(run(&by_token(&[&server], &ca.authorities().pins(), TOKEN), 8000));
        assert!(failure.kind == class && failure.message.contains(message), "{failure}");
        assert_eq!(server.requests().len(), 1);
    }
}

/// rustls ignores the validity dates of a CA that it trusts.
#[test]
fn a_ca_that_does_not_hold_now_is_not_trusted() {
    for (days, class, message) in [
        (-30..-1, ErrorKind::Untrusted, "the cluster's CA expired on "),
        (1..30, ErrorKind::Clock, "the cluster's CA is valid only from "),
    ] {
        let ca = Arc::new(Ca::valid(days));
        let server = publishing(ca.clone(), &Identity::default());
        let failure = failure(run(&by_token(&[&server], &ca.authorities().pins(), TOKEN), 8000));
        assert!(failure.kind == class && failure.message.starts_with(message), "{failure}");
        assert_eq!(server.requests().len(), 1);
        // Without a date from the server, either the clock or the certificate may be wrong.
        let unasked =
            Client::new(&network(), server.server(), None, &ca.authorities(), &Credential::Anonymous);
        assert_eq!(unasked.err().map(|failure| failure.kind), Some(ErrorKind::Clock));
    }
}

/// While a CA is replaced, the bundle holds its successor too.
#[test]
fn an_expired_ca_beside_a_good_one_does_no_harm_and_vouches_for_nobody() {
    let (old, new) = (Ca::valid(-30..-1), Ca::new());
    let both = Authorities::from_pem(format!("{}{}", old.pem(), new.pem()).as_bytes()).unwrap();
    for (ca, is_trusted) in [(&new, true), (&old, false)] {
        let server = TestServer::start(ca, &Identity::default(), |_| Reply::Json(200, json!({})));
        let mut client =
            Client::new(&network(), server.server(), None, &both, &Credential::Anonymous).unwrap();
        let answer = client.get("/x", Deadline::after(Duration::from_secs(3)));
        assert_eq!(
            answer.map(drop).map_err(|error| error.failure.kind),
            if is_trusted { Ok(()) } else { Err(ErrorKind::Untrusted) }
        );
    }
}

#[test]
fn a_server_that_closes_after_each_answer_is_still_verified() {
    let ca = Arc::new(Ca::new());
    let own = ca.clone();
    let server =
        start(&ca, &Identity::default(), move |url, _| Reply::ThenClose(cluster_info(&own, url, TOKEN)));
    let mut cluster = run(&by_token(&[&server], &ca.authorities().pins(), TOKEN), 8000).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    cluster.client.get("/x", Deadline::after(Duration::from_secs(3))).unwrap();
    assert_eq!(server.requests().iter().map(|asked| asked.connection).collect::<Vec<_>>(), [0, 1]);
    assert!(server.requests()[1].head.contains("authorization"));
}

#[test]
fn the_server_that_cluster_info_names_is_asked_from_then_on() {
    let ca = Arc::new(Ca::new());
    let named = TestServer::start(&ca, &Identity::default(), |_| status(404, "not found"));
    let (own, url) = (ca.clone(), named.server().to_string());
    let endpoint =
        start(&ca, &Identity::default(), move |_, _| Reply::Json(200, cluster_info(&own, &url, TOKEN)));
    let mut cluster = run(&by_token(&[&endpoint], &ca.authorities().pins(), TOKEN), 8000).unwrap();
    assert!(cluster.server.is_same(&named.server()));
    cluster.client.get("/x", Deadline::after(Duration::from_secs(3))).unwrap_err();
    assert_eq!((endpoint.requests().len(), named.requests().len()), (1, 1));
    assert!(named.requests()[0].head.contains("authorization"));
}

/// Whoever knows the token can sign a bundle with the real CA and one of their own.
#[test]
fn a_ca_beside_the_pinned_one_vouches_for_no_server() {
    let (real, evil) = (Arc::new(Ca::new()), Ca::new());
    let pins = real.authorities().pins();
    let bundle = STANDARD.encode(format!("{}{}", real.pem(), evil.pem()));
    let signed_for = move |url: &str| {
        signed(
            &format!(
                "clusters: [{{cluster: {{certificate-authority-data: {bundle}, server: '{url}'}}}}]\nkind: Config\n"
            ),
            TOKEN,
        )
    };
    let answer = signed_for.clone();
    let middle = start(&evil, &Identity::default(), move |url, _| Reply::Json(200, answer(url)));
    let refused = failure(run(&by_token(&[&middle], &pins, TOKEN), 8000));
    assert_eq!(refused.kind, ErrorKind::Untrusted, "{refused}");

    // The same, behind the real server.
    let named = middle.server().to_string();
    let answer = signed_for.clone();
    let front = start(&real, &Identity::default(), move |_, _| Reply::Json(200, answer(&named)));
    let mut cluster = run(&by_token(&[&front], &pins, TOKEN), 8000).unwrap();
    let error = cluster.client.get("/x", Deadline::after(Duration::from_secs(3))).unwrap_err();
    assert_eq!(error.failure.kind, ErrorKind::Untrusted);
    assert!(middle.requests().iter().all(|asked| !asked.head.to_lowercase().contains("authorization")));

    // The real server is trusted, the whole bundle is for the kubelet.
    let honest = start(&real, &Identity::default(), move |url, _| Reply::Json(200, signed_for(url)));
    let cluster = run(&by_token(&[&middle, &honest], &pins, TOKEN), 8000);
    assert_eq!(
        cluster.err().map(|failure| failure.kind),
        Some(ErrorKind::Untrusted),
        "no endpoint is passed over"
    );
    let cluster = run(&by_token(&[&honest], &pins, TOKEN), 8000).unwrap();
    assert_eq!(cluster.authorities.pins().len(), 2);
}

#[test]
fn without_pins_the_signature_must_be_said_to_be_enough() {
    let ca = Arc::new(Ca::new());
    let server = publishing(ca.clone(), &Identity::default());
    let endpoints = vec![server.server().endpoint];
    let discovery = |pins: Vec<String>| Discovery::Token {
        endpoints: endpoints.clone(),
        token: token(TOKEN),
        pins,
        unsafe_skip_ca_verification: true,
    };
    assert_eq!(run(&discovery(Vec::new()), 3000).unwrap().verified_by, Verification::SignatureAlone);
    // Pins are always checked if there are any.
    assert_eq!(failure(run(&discovery(vec!["0".repeat(64)]), 3000)).kind, ErrorKind::Untrusted);
    // The agent sends the token only to a server with a certificate of the CA in the signed cluster-info.
    let own = ca.clone();
    let middle = start(&Ca::new(), &Identity::default(), move |url, _| {
        Reply::Json(200, cluster_info(&own, url, TOKEN))
    });
    let discovery = Discovery::Token {
        endpoints: vec![middle.server().endpoint],
        token: token(TOKEN),
        pins: Vec::new(),
        unsafe_skip_ca_verification: true,
    };
    assert_eq!(failure(run(&discovery, 3000)).kind, ErrorKind::Untrusted);
}

#[test]
fn endpoints_are_tried_in_turn_and_again() {
    let ca = Arc::new(Ca::new());
    let dead = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string()
        .parse::<Endpoint>()
        .unwrap();
    let tries = AtomicUsize::new(0);
    let own = ca.clone();
    let slow = start(&ca, &Identity::default(), move |url, _| match tries.fetch_add(1, Ordering::SeqCst) {
        0 => status(503, "starting"),
        1 => Reply::Reset,
        _ => Reply::Json(200, cluster_info(&own, url, TOKEN)),
    });
    let at = |endpoints: Vec<Endpoint>| Discovery::Token {
        endpoints,
        token: token(TOKEN),
        pins: ca.authorities().pins(),
        unsafe_skip_ca_verification: false,
    };
    let both = at(vec![dead.clone(), slow.server().endpoint]);
    let request = Request {
        discovery: &both,
        tls_bootstrap_token: None,
        deadline: Deadline::after(Duration::from_secs(5)),
    };
    assert!(discover(&network(), &request, &mut quick()).is_ok());
    assert_eq!(slow.requests().len(), 3);

    let failure = failure(run(&at(vec![dead.clone()]), 200));
    assert!(failure.kind == ErrorKind::Unreachable && failure.transient);
    let expected = format!(
        "failed to request the cluster-info ConfigMap: GET {CLUSTER_INFO} from {dead}: connecting: Connection refused (tried "
    );
    assert!(failure.message.starts_with(&expected), "{failure}");
}

/// The deadline cut the last try short, so its error says only that time ran out.
#[test]
fn out_of_time_the_telling_reason_is_given() {
    let ca = Arc::new(Ca::new());
    let once = |code: u16| {
        let (tries, own) = (AtomicUsize::new(0), ca.clone());
        start(&ca, &Identity::default(), move |url, _| match (tries.fetch_add(1, Ordering::SeqCst), code) {
            (0, 200) => Reply::Json(200, cluster_info(&own, url, "zzzzzz.0123456789abcdef")),
            (0, code) => status(code, "why"),
            _ => Reply::Silence,
        })
    };
    let (silent, broken, again, unsigned) =
        (start(&ca, &Identity::default(), |_, _| Reply::Silence), once(500), once(503), once(200));
    for (servers, time, message) in [
        (vec![&again], 800, "503 Service Unavailable: why (tried 2 times"),
        (vec![&broken, &silent], 800, "500 Internal Server Error: why (tried once"),
        (vec![&unsigned], 3500, "could not find a JWS signature"),
    ] {
        let failure = failure(run(&by_token(&servers, &ca.authorities().pins(), TOKEN), time));
        assert!(failure.message.contains(message), "{failure}");
    }
}

#[test]
fn a_cluster_that_is_not_ready_is_given_a_moment() {
    let ca = Arc::new(Ca::new());
    for first in [404, 403, 200] {
        let tries = AtomicUsize::new(0);
        let own = ca.clone();
        let server = start(&ca, &Identity::default(), move |url, _| {
            match (tries.fetch_add(1, Ordering::SeqCst), first) {
                (0, 200) => Reply::Json(200, cluster_info(&own, url, "zzzzzz.0123456789abcdef")),
                (0, code) => status(code, "not yet"),
                _ => Reply::Json(200, cluster_info(&own, url, TOKEN)),
            }
        });
        assert!(run(&by_token(&[&server], &ca.authorities().pins(), TOKEN), 8000).is_ok(), "{first}");
        assert_eq!(server.requests().len(), 2);
    }
}

#[test]
fn anonymous_clients_that_are_locked_out_are_told_about_file_discovery() {
    for (code, time) in [(401, 10_000), (403, 1500)] {
        let ca = Ca::new();
        let server = TestServer::start(&ca, &Identity::default(), move |_| status(code, "no"));
        let started = Instant::now();
        let failure = failure(run(&by_token(&[&server], &ca.authorities().pins(), TOKEN), time));
        assert!(
            failure.kind == ErrorKind::Credential
                && failure.help.as_ref().unwrap().contains("discovery.file"),
            "{failure:?}"
        );
        assert!(started.elapsed() < Duration::from_secs(4));
    }
}

#[test]
fn cluster_infos_that_cannot_be_used_are_refused() {
    let open = |value: Value| {
        open_cluster_info(&serde_json::from_value::<ConfigMap>(value).unwrap(), &token(TOKEN), None)
    };
    for (value, message) in [
        (json!({"data": null}), "there is no kubeconfig in the cluster-info ConfigMap"),
        (json!({"data": {"kubeconfig": ""}}), "there is no kubeconfig in the cluster-info ConfigMap"),
        (signed("users: null", TOKEN), "neither a cluster without a name"),
        (
            signed("clusters: [{name: '', cluster: {server: 'https://a:1'}}]", TOKEN),
            "it has no certificate-authority-data",
        ),
        (
            signed(
                "clusters: [{name: '', cluster: {server: 'https://a:1', certificate-authority: /etc/shadow}}]",
                TOKEN,
            ),
            "it has no certificate-authority-data",
        ),
        (
            signed(
                "clusters: [{name: '', cluster: {server: 'https://a:1', certificate-authority-data: eA==}}]",
                TOKEN,
            ),
            "the CA bundle holds no certificate",
        ),
    ] {
        match open(value) {
            Err(Rejected::ForGood(failure)) => {
                assert!(failure.kind == ErrorKind::Refused && failure.message.contains(message), "{failure}")
            }
            other => panic!("{other:?}"),
        }
    }
}

/// The recorded cluster of 1.36.2, and the output of the real kubeadm 1.36.2 for it.
#[test]
fn a_recorded_cluster_is_opened_or_refused_as_kubeadm_did() {
    let recorded = include_str!("../../../../tests/vectors/v1.36.2/cluster/cluster-info.yaml");
    let config_map: ConfigMap = serde_yaml_ng::from_str(recorded).unwrap();
    let pin = "f85e5279bb962da2be209a8246ca851b22f330123c05c47f71bf660a0051f55e".to_owned();
    let open = |text: &str, pin: &String| {
        open_cluster_info(&config_map, &token(text), Some(std::slice::from_ref(pin)))
    };
    assert!(open("9vr73a.a8uxyaju799qwdjv", &pin).is_ok());
    for (text, pin, output) in [
        (
            "9vr73a.a8uxyaju799qwdjv",
            "0".repeat(64),
            include_str!("../../../../tests/vectors/v1.36.2/join/50-bad-hash/output.txt"),
        ),
        (
            "aaaaaa.bbbbbbbbbbbbbbbb",
            pin.clone(),
            include_str!("../../../../tests/vectors/v1.36.2/join/51-unknown-token/output.txt"),
        ),
        (
            "9vr73a.0000000000000000",
            pin.clone(),
            include_str!("../../../../tests/vectors/v1.36.2/join/52-wrong-secret/output.txt"),
        ),
    ] {
        match open(text, &pin).unwrap_err() {
            Rejected::NotYet(failure) | Rejected::ForGood(failure) => {
                assert!(output.contains(&failure.message), "{failure}")
            }
            Rejected::Unreachable(error) => panic!("{error:?}"),
        }
    }
}
