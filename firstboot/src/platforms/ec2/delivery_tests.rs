use std::sync::Mutex;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::facts::Facts;
use crate::host::files;
use crate::host::root::Root;
use crate::net::test_server::{ApiServer as _, Ca, Identity, Reply as Scripted, TestServer, Trusted as _};
use crate::net::{Deadline, Network};
use crate::report::tests::support::{facts, ok, place};

const ROLE: &str = "{\"Code\":\"Success\",\"AccessKeyId\":\"AKID\",\"SecretAccessKey\":\"canary-key\",\"Token\":\"canary-token\"}";

/// What a delivery gives, or why it fails; and what the API was asked, without the time and the signature.
struct Run {
    said: std::result::Result<String, String>,
    asked: Vec<String>,
}

fn boothook(get: &str, endpoint: &str, count: usize) -> String {
    format!(
        "#cloud-boothook\nREGION=\"eu-west-1\"\nENDPOINT=\"--endpoint-url {endpoint}\"\nSECRET_PREFIX=\"a/b\"\n\
         CHUNKS=\"{count}\"\naws {get}\n"
    )
}

/// A machine's way to the metadata service `service` and to servers that `trust` accepts.
fn reach<'a>(
    facts: &'a Facts,
    root: Root,
    trust: &'a dyn Fn() -> Result<Trust>,
    service: &'a str,
) -> Reach<'a> {
    let deadline = Deadline::after(Duration::from_secs(5));
    Reach { facts, network: Network::new(root), deadline, trust, service: Some(service) }
}

/// Follows what `named` makes of the server's URL; the API answers so. `deletes` also deletes what is left.
fn run(named: &dyn Fn(&str) -> String, answers: &[(u16, String)], deletes: bool) -> Run {
    let roles = [ok("T"), ok("role\n"), ok(ROLE)];
    let (ca, service) = (Ca::new(), place(roles.iter().chain(&roles).cloned().collect()));
    let answers = Mutex::new(std::collections::VecDeque::from(answers.to_vec()));
    let server =
        TestServer::start(&ca, &Identity::default(), move |_| match answers.lock().unwrap().pop_front() {
            Some((status, body)) => Scripted::With(status, String::new(), body),
            None => Scripted::Reset,
        });
    let (root, facts) = (Root::at("/nonexistent"), facts(&[("region", "eu-west-1")]));
    let address = service.address.to_string();
    let trust = || Ok(Trust::Authorities(ca.authorities()));
    let reach = reach(&facts, root, &trust, &address);
    let text = named(&server.server().to_string());
    let named = if text.starts_with('#') { Named::Boothook(text.as_bytes()) } else { Named::Ignition(&text) };
    let followed = follow(&reach, named);
    let said = followed.map_err(|failure| format!("{failure:?}")).and_then(|delivered| {
        let Some(delivered) = delivered else { return Ok("nothing".to_owned()) };
        if deletes {
            let remains = delivered.remains.expect("something is left");
            (remains.delete)(&reach).map_err(|failure| format!("{failure:?}"))?;
        }
        Ok(String::from_utf8_lossy(delivered.document.bytes()).into_owned())
    });
    let asked = server
        .requests()
        .iter()
        .map(|asked| {
            let is_signed = asked.head.contains("AWS4-HMAC-SHA256") && asked.head.contains("canary-token");
            let action = asked.head.lines().find_map(|line| {
                let (name, value) = line.split_once(": ")?;
                name.eq_ignore_ascii_case("x-amz-target").then(|| value.to_owned())
            });
            format!("{} {} {}", is_signed, action.unwrap_or_default(), String::from_utf8_lossy(&asked.body))
        })
        .collect();
    Run { said, asked }
}

fn secret(piece: &str) -> (u16, String) {
    (200, json!({ "SecretBinary": STANDARD.encode(piece) }).to_string())
}

#[test]
fn secrets_are_joined_in_order_and_deleted_when_asked() {
    let deleted = || (200, "{}".to_owned());
    let run = run(
        &|url| boothook("secretsmanager get-secret-value", url, 2),
        &[secret("#cloud-"), secret("config\n"), deleted(), deleted()],
        true,
    );
    assert_eq!(run.said.as_deref(), Ok("#cloud-config\n"));
    assert_eq!(
        run.asked,
        [
            "true secretsmanager.GetSecretValue {\"SecretId\":\"a/b-0\"}",
            "true secretsmanager.GetSecretValue {\"SecretId\":\"a/b-1\"}",
            "true secretsmanager.DeleteSecret {\"ForceDeleteWithoutRecovery\":true,\"SecretId\":\"a/b-0\"}",
            "true secretsmanager.DeleteSecret {\"ForceDeleteWithoutRecovery\":true,\"SecretId\":\"a/b-1\"}",
        ]
    );
}

#[test]
fn parameters_are_pieces_of_one_text() {
    let whole = STANDARD.encode("#cloud-config\n");
    let (first, second) = whole.split_at(7);
    let answer = |text: &str| (200, json!({ "Parameter": { "Value": text } }).to_string());
    let run = run(&|url| boothook("ssm get-parameter", url, 2), &[answer(first), answer(second)], false);
    assert_eq!(run.said.as_deref(), Ok("#cloud-config\n"));
    assert_eq!(run.asked[1], "true AmazonSSM.GetParameter {\"Name\":\"a/b/1\",\"WithDecryption\":true}");
}

#[test]
fn throttling_passes_and_other_errors_say_what_to_do_without_secrets() {
    let error = |kind: &str| (400, json!({ "__type": kind, "message": "canary" }).to_string());
    let get = |url: &str| boothook("secretsmanager get-secret-value", url, 1);
    let after = run(&get, &[error("ThrottlingException"), (503, String::new()), secret("x")], false);
    assert_eq!(after.said.as_deref(), Ok("x"));
    for (answer, expected) in [
        (error("AccessDeniedException"), "allow secretsmanager:GetSecretValue"),
        (error("a#ResourceNotFoundException"), "make a new machine"),
        ((200, "{}".to_owned()), "holds no user data"),
        ((200, "canary".to_owned()), "no JSON"),
        ((200, "{\"SecretBinary\":\"canary!\"}".to_owned()), "not base64"),
    ] {
        let said = run(&get, &[answer], false).said.unwrap_err();
        assert!(said.contains(expected) && !said.contains("canary"), "{said}");
    }
}

#[test]
fn a_signed_url_needs_no_credentials_and_nothing_else_is_followed() {
    let got = run(&|url| format!("{url}/o?X-Amz-Signature=canary"), &[(200, "{}".to_owned())], false);
    assert_eq!((got.said.as_deref(), got.asked), (Ok("{}"), vec!["false  ".to_owned()]));
    let gone = run(&|url| format!("{url}/o?canary"), &[(403, "canary".to_owned())], false);
    assert!(
        gone.said.as_ref().is_err_and(|said| said.contains("403") && !said.contains("canary")),
        "{:?}",
        gone.said
    );
    for url in ["http://a.example/o", "tftp://a/o", "data:,x"] {
        assert_eq!(run(&|_| url.to_owned(), &[], false).said.as_deref(), Ok("nothing"), "{url}");
    }
    for url in ["s3://", "s3://bucket", "s3://a@b/c", "s3:///c"] {
        assert!(run(&|_| url.to_owned(), &[], false).said.is_err(), "{url}");
    }
}

/// The name of S3 leads to the server here.
#[test]
fn an_object_of_s3_is_asked_for_with_the_role() {
    const NAME: &str = "s3.eu-west-1.amazonaws.com";
    let (ca, folder) = (Ca::new(), tempfile::tempdir().unwrap());
    let identity = Identity { names: &[NAME], ..Identity::default() };
    let server = TestServer::start(&ca, &identity, |asked| match asked.path.as_str() {
        "/bucket/node/user%3Ddata" => Scripted::With(200, String::new(), "{}".to_owned()),
        _ => Scripted::With(404, String::new(), "canary".to_owned()),
    });
    let root = Root::at(folder.path());
    files::write(&root.path("/etc/hosts"), format!("127.0.0.1 {NAME}\n").as_bytes(), files::PUBLIC).unwrap();
    let role = [ok("T"), ok("role\n"), ok(ROLE)];
    let service = place(role.iter().chain(&role).cloned().collect());
    let (address, domain) = (service.address.to_string(), format!("amazonaws.com:{}", server.address.port()));
    let facts = facts(&[("region", "eu-west-1"), ("domain", &domain)]);
    let trust = || Ok(Trust::Authorities(ca.authorities()));
    let reach = reach(&facts, root, &trust, &address);
    let got = follow(&reach, Named::Ignition("s3://bucket/node/user=data")).unwrap().unwrap();
    assert!(got.document.bytes() == b"{}" && got.remains.is_none());
    let gone = follow(&reach, Named::Ignition("s3://bucket/other")).err().unwrap();
    let gone = format!("{gone:?}");
    assert!(gone.contains("404") && !gone.contains("canary"), "{gone}");
    let head = &server.requests()[0].head;
    for part in ["Credential=AKID/", "/eu-west-1/s3/aws4_request, ", "canary-token", "x-amz-content-sha256"] {
        assert!(head.contains(part), "{part}: {head}");
    }
}

#[test]
fn credentials_are_not_sent_in_the_clear_to_another_machine() {
    let get = |_: &str| boothook("secretsmanager get-secret-value", "http://203.0.113.5", 1);
    let said = run(&get, &[], false).said.unwrap_err();
    assert!(said.contains("http://"), "{said}");
}
