use std::time::Duration;

use serde_json::json;

use crate::net::test_server::{ApiServer as _, Ca, Identity, Reply, TestServer, Trusted as _};
use crate::net::trust::Trust;
use crate::report::tests::support::{SECONDS, deliver_to, facts, status, target};
use crate::status::Outcome;

const SECRET: &str = "/services/canary/x?key=canary";

#[test]
fn the_verdict_is_posted_to_a_server_of_the_pinned_ca() {
    let (ca, other) = (Ca::new(), Ca::new());
    let server = TestServer::start(&ca, &Identity::default(), |_| Reply::Json(200, json!({})));
    let url = format!("{}{SECRET}", server.server());
    let facts = facts(&[("platform", "metal"), ("instance-id", "u-1"), ("hostname", "n1")]);
    let with =
        |pem: String| target("webhook", &[("url", &url), ("caCert", &pem), ("bearerToken", "canary-bearer")]);
    let told = deliver_to("", Trust::System, &with(ca.pem()), &facts, &status(Outcome::Failed), SECONDS);
    assert_eq!(told.unwrap(), format!("told webhook: {}", server.server()));
    let asked = &server.requests()[0];
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", SECRET));
    assert!(
        asked.head.contains("authorization: Bearer canary-bearer\r\n")
            && asked.head.contains("content-type: application/json\r\n")
    );
    let expected = json!({"outcome": "failed", "node": "n1", "class": "untrusted", "exit": 12, "phase": null, "seconds": 1.5, "requests": 6, "warnings": [],
        "message": "the CA <x> & \"pins\" differ", "platform": "metal", "instanceId": "u-1", "hostname": "n1"});
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&asked.body).unwrap(), expected);
    let untrusted =
        deliver_to("", Trust::System, &with(other.pem()), &facts, &status(Outcome::Failed), SECONDS)
            .unwrap_err();
    assert!(
        untrusted.contains("is not signed by a CA that is trusted") && !untrusted.contains("canary"),
        "{untrusted}"
    );
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn trouble_never_shows_the_path_or_the_token() {
    let ca = Ca::new();
    type Handle = fn(&testkit::Request) -> Reply;
    let rows: [(Handle, &str); 5] = [
        (|_| Reply::With(403, String::new(), "canary".to_owned()), "403 Forbidden"),
        (
            |_| Reply::With(301, "Location: https://canary/\r\n".to_owned(), String::new()),
            "redirects are not followed",
        ),
        (|_| Reply::With(500, String::new(), String::new()), "500 Internal Server Error"),
        (|_| Reply::Silence, "no answer within"),
        (|_| Reply::Reset, "waiting for the answer"),
    ];
    for (handle, why) in rows {
        let server = TestServer::start(&ca, &Identity::default(), handle);
        let target = target(
            "webhook",
            &[("url", &format!("{}{SECRET}", server.server())), ("bearerToken", "canary-bearer")],
        );
        let trust = Trust::Authorities(ca.authorities());
        let said =
            deliver_to("", trust, &target, &facts(&[]), &status(Outcome::Joined), Duration::from_millis(700))
                .unwrap_err();
        assert!(
            said.contains(why) && !said.contains("canary") && !format!("{target:?}").contains("canary"),
            "{said}"
        );
    }
}

#[test]
fn a_server_that_is_in_trouble_for_a_moment_is_told_later() {
    let ca = Ca::new();
    let times = std::sync::atomic::AtomicUsize::new(0);
    let server = TestServer::start(&ca, &Identity::default(), move |_| {
        let number = times.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Reply::With([500, 429, 204].get(number).copied().unwrap_or(500), String::new(), String::new())
    });
    let target = target("webhook", &[("url", &server.server().to_string())]);
    let trust = Trust::Authorities(ca.authorities());
    deliver_to("", trust, &target, &facts(&[]), &status(Outcome::Joined), SECONDS).unwrap();
    assert_eq!(server.requests().len(), 3);
}
