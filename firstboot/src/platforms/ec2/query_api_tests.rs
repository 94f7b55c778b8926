use std::sync::Mutex;
use std::time::Duration;

use super::*;
use crate::facts::Facts;
use crate::host::root::Root;
use crate::net::test_server::{ApiServer as _, Ca, Identity, Reply as Scripted, TestServer, Trusted as _};
use crate::net::trust::Trust;
use crate::report::tests::support::{context, facts, ok, place, refuse, status, target};
use crate::report::{deliver, named};
use crate::secret::Secret;
use crate::status::Outcome;

/// An answer of the API: its status and its body.
#[derive(Clone, Copy)]
pub struct Told(pub u16, pub &'static str);

/// What came of it: what is said of it, what the API was sent, what the metadata service was asked.
pub struct Run {
    pub said: std::result::Result<String, String>,
    pub bodies: Vec<String>,
    asked: Vec<testkit::Request>,
    metadata: Vec<String>,
}

pub const REFUSED: &str = "<ErrorResponse><Error><Code>AccessDenied</Code><Message>User r may not</Message></Error></ErrorResponse>";
const ROLE: &str = "{\"Code\":\"Success\",\"AccessKeyId\":\"AKID\",\"SecretAccessKey\":\"canary-key\",\"Token\":\"canary-token\"}";

/// Tells with a metadata service that has a role, and an API that answers so.
pub fn run(target: &ReportTarget, facts: &Facts, outcome: Outcome, answers: Vec<Told>) -> Run {
    with_metadata(target, facts, outcome, answers, vec![ok("T"), ok("role\n"), ok(ROLE)])
}

fn with_metadata(
    target: &ReportTarget,
    facts: &Facts,
    outcome: Outcome,
    answers: Vec<Told>,
    metadata: Vec<testkit::Reply>,
) -> Run {
    let (ca, place) = (Ca::new(), place(metadata));
    let answers = Mutex::new(answers.into_iter());
    let server =
        TestServer::start(&ca, &Identity::default(), move |_| match answers.lock().unwrap().next() {
            Some(Told(status, body)) => Scripted::With(status, String::new(), body.to_owned()),
            None => Scripted::Reset,
        });
    let mut target = target.clone();
    target.set("endpoint", Secret::new(server.server().to_string()));
    let (root, status) = (Root::at("/nonexistent"), status(outcome));
    let trust = Trust::Authorities(ca.authorities());
    let context =
        context(&root, facts, &status, Some(place.address.to_string()), trust, Duration::from_secs(3));
    let said = deliver(named(target.kind).unwrap(), &target, &context);
    let asked = server.requests();
    let bodies = asked.iter().map(|asked| String::from_utf8(asked.body.clone()).unwrap()).collect();
    Run { said, bodies, asked, metadata: place.shapes() }
}

fn hook() -> ReportTarget {
    target("auto-scaling", &[("hook", "h"), ("group", "g")])
}

fn instance() -> Facts {
    facts(&[("instance-id", "i-1"), ("region", "eu-central-1"), ("domain", "amazonaws.com")])
}

#[test]
fn the_request_is_signed_by_the_role_of_the_instance() {
    let run = run(&hook(), &instance(), Outcome::Joined, vec![Told(200, "<ok/>")]);
    assert_eq!(run.said.unwrap(), "told auto-scaling: hook h of group g");
    let roles = "GET /latest/meta-data/iam/security-credentials/";
    let session = "HTTP/1.1\nx-aws-ec2-metadata-token: T";
    assert_eq!(run.metadata[1..], [format!("{roles} {session}"), format!("{roles}role {session}")]);
    assert!(run.metadata[0].starts_with("PUT /latest/api/token HTTP/1.1\n"));
    let asked = &run.asked[0];
    let header = |name: &str| {
        asked
            .head
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{name}: ")))
            .unwrap()
            .to_owned()
    };
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", "/"));
    assert_eq!(
        (header("content-type").as_str(), header("x-amz-security-token").as_str()),
        (CONTENT_TYPE, "canary-token")
    );
    let date = header("x-amz-date");
    let time = format!(
        "{}-{}-{}T{}:{}:{}Z",
        &date[..4],
        &date[4..6],
        &date[6..8],
        &date[9..11],
        &date[11..13],
        &date[13..15]
    );
    let scope = Scope { region: "eu-central-1", service: "autoscaling", time: time.parse().unwrap() };
    let credentials = read_credentials(ROLE.as_bytes()).unwrap();
    let host = header("host");
    let signed = sigv4::sign(
        &credentials,
        &scope,
        "POST",
        &[("host", &host), ("content-type", CONTENT_TYPE)],
        &asked.body,
    );
    assert_eq!(header("authorization"), signed.last().unwrap().1.reveal());
    assert!(
        header("authorization").contains("SignedHeaders=content-type;host;x-amz-date;x-amz-security-token, ")
    );
}

#[test]
fn what_passes_is_tried_again_and_what_does_not_is_named_without_secrets() {
    const LEAK: &str = "<ErrorResponse><Error><Code>SignatureDoesNotMatch</Code><Message>x-amz-security-token:canary-token</Message></Error></ErrorResponse>";
    const SLOWER: &str = "<ErrorResponse><Error><Code>Throttling</Code><Message>Rate exceeded</Message></Error></ErrorResponse>";
    for (answers, expected, times) in [
        (vec![Told(500, ""), Told(200, "")], Ok(()), 2),
        (vec![Told(503, "<html>"), Told(400, SLOWER), Told(200, "")], Ok(()), 3),
        (vec![Told(403, LEAK)], Err("CompleteLifecycleAction: SignatureDoesNotMatch"), 1),
        (vec![Told(403, REFUSED)], Err("AccessDenied: User r may not"), 1),
        (vec![Told(403, "")], Err("403 Forbidden"), 1),
        (vec![Told(302, "")], Err("redirects are not followed"), 1),
    ] {
        let run = run(&hook(), &instance(), Outcome::Joined, answers);
        assert_eq!(run.bodies.len(), times, "{:?}", run.said);
        match (&run.said, expected) {
            (Ok(_), Ok(())) => {}
            (Err(said), Err(expected)) => {
                assert!(said.contains(expected) && !said.contains("canary"), "{said}")
            }
            _ => panic!("{:?}", run.said),
        }
    }
}

#[test]
fn credentials_that_come_late_are_waited_for() {
    let late = vec![ok("T"), refuse(404), ok("role"), refuse(404), ok(ROLE)];
    let run = with_metadata(&hook(), &instance(), Outcome::Joined, vec![Told(200, "")], late);
    assert!(run.said.is_ok() && run.metadata.len() == 5, "{:?}", run.said);
    for (bad, why) in [
        ("{}", "has no credentials"),
        ("canary", "has no credentials"),
        (
            "{\"Code\":\"AssumeRoleUnauthorizedAccess\",\"AccessKeyId\":\"a\",\"SecretAccessKey\":\"canary\",\"Token\":\"t\"}",
            "could not be made",
        ),
    ] {
        let run =
            with_metadata(&hook(), &instance(), Outcome::Joined, vec![], vec![ok("T"), ok("role"), ok(bad)]);
        let said = run.said.unwrap_err();
        assert!(said.contains(why) && !said.contains("canary") && run.bodies.is_empty(), "{said}");
    }
    let none = with_metadata(
        &hook(),
        &instance(),
        Outcome::Joined,
        vec![],
        vec![ok("T"), refuse(403), ok("U"), refuse(403)],
    );
    let said = none.said.unwrap_err();
    assert!(said.contains("answers 403"), "{said}");
}

#[test]
fn endpoints_are_of_the_region_and_the_partition() {
    let (root, status) = (Root::at("/nonexistent"), status(Outcome::Joined));
    let china = facts(&[("region", "cn-north-1"), ("domain", "amazonaws.com.cn")]);
    let known = context(&root, &china, &status, None, Trust::System, Duration::from_secs(1));
    assert_eq!(
        endpoint(&hook(), &known, "autoscaling").unwrap(),
        "https://autoscaling.cn-north-1.amazonaws.com.cn"
    );
    let unknown = facts(&[("region", "r")]);
    let unknown = context(&root, &unknown, &status, None, Trust::System, Duration::from_secs(1));
    assert!(endpoint(&hook(), &unknown, "autoscaling").unwrap_err().message.contains("domain"));
    for (text, good) in [
        ("https://a.b", true),
        ("https://a.b/", true),
        ("https://a.b/c", false),
        ("https://a?b", false),
        ("http://a", false),
    ] {
        assert_eq!(check_endpoint(text).is_ok(), good, "{text}");
    }
}

#[test]
fn only_errors_that_tell_names_are_repeated() {
    let answer = |code: &str, message: &str| {
        format!("<E xmlns='urn:x'><Error><Code>{code}</Code><Message>{message}</Message></Error></E>")
    };
    for (body, expected) in [
        (answer("ValidationError", "no group g"), Some(("ValidationError", "no group g"))),
        (answer("InvalidClientTokenId", "canary"), Some(("InvalidClientTokenId", ""))),
        (answer("", "x"), None),
        ("<html>".to_owned(), None),
        ("<a/>".to_owned(), None),
    ] {
        let found = refusal(body.as_bytes());
        assert_eq!(
            found.as_ref().map(|refusal| (refusal.code.as_str(), refusal.message.as_str())),
            expected,
            "{body}"
        );
    }
    assert_eq!(refusal(b"\xff"), None);
    let denied = Refusal { code: "AccessDenied".to_owned(), message: String::new() };
    assert!(denied.failure("A", "a:A").help.unwrap().contains("allow a:A to the role"));
}
