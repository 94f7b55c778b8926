use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, DnType, KeyPair};

use super::*;
use crate::kubernetes::client::Credential;
use crate::net::test_server::{
    ApiServer as _, Ca, Identity, Reply, TestServer, Trusted as _, network, status,
};

const KUBELETS_OWN: &str = include_str!("../../../tests/vectors/kubelet-csr.pem");

fn quick() -> Backoff<'static> {
    Backoff::seeded(1).between(Duration::from_millis(5), Duration::from_millis(20))
}

/// A key, its request, and the certificate that `ca` would issue.
struct Case {
    ca: Ca,
    key: KeyPair,
    request: CertificateRequest,
    certificate: String,
}

impl Case {
    fn new() -> Self {
        let (ca, key) = (Ca::new(), KeyPair::generate().unwrap());
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::OrganizationName, "system:nodes");
        params.distinguished_name.push(DnType::CommonName, "system:node:w1");
        let csr = params.serialize_request(&key).unwrap().pem().unwrap();
        let certificate = ca.certify_node(&key, "w1");
        Self { request: CertificateRequest::new("w1", &csr).unwrap(), certificate, key, ca }
    }

    fn object(&self, status: Value) -> Value {
        object_of(&self.request, status)
    }

    fn issued(&self) -> Value {
        self.object(
            json!({"conditions": [{"type": "Approved"}], "certificate": STANDARD.encode(&self.certificate)}),
        )
    }

    /// The agent's result with a server that does this.
    fn run(
        &self,
        time: u64,
        reply: impl Fn(&testkit::Request) -> Reply + Send + Sync + 'static,
    ) -> (Result<String>, Vec<String>) {
        let server = TestServer::start(&self.ca, &Identity::default(), reply);
        let mut client =
            Client::new(&network(), server.server(), None, &self.ca.authorities(), &Credential::Anonymous)
                .unwrap();
        let outcome =
            self.request
                .submit(&mut client, Deadline::after(Duration::from_millis(time)), &mut quick());
        (
            outcome,
            server
                .lines()
                .iter()
                .map(|path| path.split('?').next().unwrap().replace(REQUESTS, ""))
                .collect(),
        )
    }
}

fn object_of(request: &CertificateRequest, status: Value) -> Value {
    json!({"metadata": {"name": request.name, "resourceVersion": "7"}, "spec": {"request": STANDARD.encode(&request.csr)}, "status": status})
}

fn event(kind: &str, object: Value) -> (Duration, Value) {
    (Duration::from_millis(10), json!({"type": kind, "object": object}))
}

#[test]
fn a_request_is_named_by_node_and_key() {
    let name = |node| CertificateRequest::new(node, KUBELETS_OWN).unwrap().name().to_owned();
    assert_eq!(name("w1"), name("w1"));
    assert_ne!(name("w1"), name("w2"));
    assert!(name("w1").starts_with("firstboot-") && name("w1").len() == 42);
    assert_ne!(Case::new().request.name, Case::new().request.name);
    for wrong in ["", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"] {
        assert!(CertificateRequest::new("w1", wrong).is_err());
    }
}

#[test]
fn one_post_and_one_watch_are_enough() {
    let case = Case::new();
    let (posted, issued) = (case.object(json!({})), case.issued());
    let approved = case.object(json!({"conditions": [{"type": "Approved"}]}));
    let name = case.request.name.clone();
    let (outcome, asked) =
        case.run(20_000, move |asked| {
            if asked.method == "POST" {
                let sent: Value = serde_json::from_slice(&asked.body).unwrap();
                assert_eq!(
                    sent["spec"]["usages"],
                    json!(["digital signature", "key encipherment", "client auth"])
                );
                assert_eq!(sent["spec"]["signerName"], "kubernetes.io/kube-apiserver-client-kubelet");
                assert_eq!(
                    (&sent["metadata"], &sent["kind"]),
                    (&json!({"name": name}), &json!("CertificateSigningRequest"))
                );
                return Reply::Json(201, posted.clone());
            }
            assert!(asked.path.contains(&format!(
                "?fieldSelector=metadata.name%3D{name}&resourceVersion=7&timeoutSeconds="
            )));
            assert!(asked.path.ends_with("&watch=true"));
            Reply::Watch(vec![
                event("BOOKMARK", json!({})),
                event("MODIFIED", approved.clone()),
                event("MODIFIED", issued.clone()),
            ])
        });
    assert_eq!(outcome.unwrap().trim(), case.certificate.replace("\r\n", "\n").trim());
    assert_eq!(asked, ["POST ", "GET "]);
}

#[test]
fn an_interrupted_agent_finds_its_own_request_again() {
    let case = Case::new();
    let (issued, name) = (case.issued(), case.request.name.clone());
    let (outcome, asked) = case.run(20_000, move |asked| match asked.method.as_str() {
        "POST" => status(409, "already exists"),
        _ => Reply::Json(200, issued.clone()),
    });
    assert_eq!(outcome.unwrap().trim(), case.certificate.replace("\r\n", "\n").trim());
    assert_eq!(asked, ["POST ".to_owned(), format!("GET /{name}")]);

    let other = object_of(&Case::new().request, json!({}));
    let (outcome, _) = case.run(20_000, move |asked| match asked.method.as_str() {
        "POST" => status(409, "already exists"),
        _ => Reply::Json(200, other.clone()),
    });
    assert!(outcome.unwrap_err().message.contains("another certificate request of the name"));
}

#[test]
fn a_watch_that_breaks_is_taken_up_again() {
    for broken in 0..4 {
        let case = Case::new();
        let (posted, issued, name) = (case.object(json!({})), case.issued(), case.request.name.clone());
        let watches = AtomicUsize::new(0);
        let (outcome, asked) = case.run(20_000, move |asked| {
            if asked.method == "POST" || asked.path.ends_with(&name) {
                return Reply::Json(200, posted.clone());
            }
            if watches.fetch_add(1, Ordering::SeqCst) > 0 {
                return Reply::Watch(vec![event("ADDED", issued.clone())]);
            }
            match broken {
                0 => Reply::BrokenWatch(Vec::new()),
                1 => Reply::Watch(Vec::new()),
                2 => Reply::Watch(vec![event("ERROR", json!({"kind": "Status", "code": 410}))]),
                _ => status(500, "oops"),
            }
        });
        assert_eq!(outcome.unwrap().trim(), case.certificate.replace("\r\n", "\n").trim(), "{broken}");
        assert_eq!(
            asked,
            ["POST ".to_owned(), "GET ".to_owned(), format!("GET /{}", case.request.name), "GET ".to_owned()],
            "{broken}"
        );
    }
}

#[test]
fn what_was_deleted_is_posted_again() {
    let case = Case::new();
    let (posted, issued) = (case.object(json!({})), case.issued());
    let posts = AtomicUsize::new(0);
    let (outcome, asked) =
        case.run(20_000, move |asked| match (asked.method.as_str(), asked.path.contains("watch=true")) {
            ("POST", _) if posts.fetch_add(1, Ordering::SeqCst) > 0 => Reply::Json(201, issued.clone()),
            ("POST", _) => Reply::Json(201, posted.clone()),
            (_, true) => Reply::Watch(vec![event("DELETED", posted.clone())]),
            _ => status(404, "not found"),
        });
    assert_eq!(outcome.unwrap().trim(), case.certificate.replace("\r\n", "\n").trim());
    assert_eq!(asked.iter().filter(|asked| *asked == "POST ").count(), 2, "{asked:?}");
}

#[test]
fn denied_and_failed_are_told_with_their_reason() {
    for (kind, what) in [("Denied", "was denied"), ("Failed", "failed")] {
        let case = Case::new();
        let posted = case.object(json!({}));
        let condition = json!({"type": kind, "reason": "Policy", "message": "not on\nmy watch"});
        let answer = case.object(json!({"conditions": [condition]}));
        let (outcome, _) = case.run(20_000, move |asked| match asked.method.as_str() {
            "POST" => Reply::Json(201, posted.clone()),
            _ => Reply::Watch(vec![event("MODIFIED", answer.clone())]),
        });
        let failure = outcome.unwrap_err();
        assert_eq!((failure.kind, failure.transient), (ErrorKind::Refused, false));
        assert!(failure.message.ends_with(&format!("{what}: Policy: not on my watch")), "{failure}");
    }
}

#[test]
fn an_unanswered_request_is_pending_at_the_deadline() {
    let case = Case::new();
    let posted = case.object(json!({}));
    let started = Instant::now();
    let (outcome, asked) = case.run(1000, move |asked| match asked.method.as_str() {
        "POST" => Reply::Json(201, posted.clone()),
        _ => Reply::Watch(vec![(Duration::from_secs(60), json!({}))]),
    });
    let failure = outcome.unwrap_err();
    assert_eq!((failure.kind, asked.len()), (ErrorKind::Pending, 2), "{failure}");
    assert!(
        failure
            .help
            .unwrap()
            .contains(&format!("kubectl certificate approve {}", case.request.name))
    );
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn certificates_that_are_not_ours_are_refused() {
    let case = Case::new();
    let other = Case::new().certificate;
    let of_another_node = case.ca.certify_node(&case.key, "w2");
    let of_nobody = case.ca.certify(&case.key);
    for (certificate, why) in [
        (STANDARD.encode(other), "it is for another key"),
        (STANDARD.encode(of_another_node), "it is not for this node"),
        (STANDARD.encode(of_nobody), "it is not for this node"),
        ("!".to_owned(), "it is not PEM"),
        (STANDARD.encode("no certificate"), "it holds no certificate"),
        (
            STANDARD.encode("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
            "it cannot be read",
        ),
    ] {
        let answer = case.object(json!({"certificate": certificate}));
        let (outcome, _) = case.run(20_000, move |_| Reply::Json(201, answer.clone()));
        let failure = outcome.unwrap_err();
        assert!(failure.kind == ErrorKind::Refused && failure.message.ends_with(why), "{failure}");
    }
}

#[test]
fn nothing_but_certificates_is_kept_of_an_answer() {
    let case = Case::new();
    let strange = KeyPair::generate().unwrap().serialize_pem();
    let text = format!("junk\n{strange}{}more junk\n{}", case.certificate, case.ca.pem());
    let answer = case.object(json!({"certificate": STANDARD.encode(text)}));
    let (outcome, _) = case.run(20_000, move |_| Reply::Json(201, answer.clone()));
    let kept = outcome.unwrap();
    assert!(!kept.contains("PRIVATE KEY") && !kept.contains("junk"), "{kept}");
    let certificates = |text: &str| {
        CertificateDer::pem_slice_iter(text.as_bytes())
            .map(std::result::Result::unwrap)
            .collect::<Vec<_>>()
    };
    assert_eq!(certificates(&kept), certificates(&format!("{}{}", case.certificate, case.ca.pem())));
}

#[test]
fn credentials_that_may_not_ask_are_told_at_once() {
    for code in [401, 403] {
        let (outcome, asked) = Case::new().run(20_000, move |_| status(code, "no"));
        let failure = outcome.unwrap_err();
        assert!(
            failure.kind == ErrorKind::Credential && failure.help.unwrap().contains("usage authentication")
        );
        assert_eq!(asked.len(), 1);
    }
}
