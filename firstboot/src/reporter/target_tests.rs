use super::*;
use crate::report::tests::support::{SECONDS, deliver_to, facts, place, status, target};
use crate::status::Outcome;

#[test]
fn urls_are_https_or_near() {
    for (url, good) in [
        ("https://hooks.example.com/x?y", true),
        ("http://127.0.0.1:8080/x", true),
        ("http://169.254.169.254/x", true),
        ("http://[::1]/", true),
        ("http://[fe80::1%eth0]:80/", true),
        ("http://10.0.0.1/", false),
        ("http://[fd00::1]/", false),
        ("http://localhost/", false),
        ("http://example.com/", false),
        ("http://127.0.0.1@example.com/", false),
        ("http://127.0.0.1:80 /", false),
        ("http://127.0.0.1/a b", false),
        ("https://u:p@example.com/", false),
        ("ftp://127.0.0.1/", false),
        ("", false),
    ] {
        assert_eq!(check_url(url).is_ok(), good, "{url}");
    }
    assert!(
        check_token("a.b-c").is_ok()
            && check_token("a b").is_err()
            && check_token("").is_err()
            && check_token("a\n").is_err()
    );
}

#[test]
fn only_scheme_and_host_are_shown() {
    for (url, expected) in [
        ("https://a/canary?canary", "https://a"),
        ("https://a:1?canary", "https://a:1"),
        ("http://[::1]/canary", "http://[::1]"),
    ] {
        assert_eq!(host(&target("webhook", &[("url", url)])).unwrap(), expected);
    }
}

#[test]
fn a_token_is_not_sent_without_tls() {
    let place = place(vec![]);
    let target =
        target("webhook", &[("url", &format!("http://{}/", place.address)), ("bearerToken", "canary")]);
    let said =
        deliver_to("", Trust::System, &target, &facts(&[]), &status(Outcome::Joined), SECONDS).unwrap_err();
    assert!(said.contains("not sent without TLS") && !said.contains("canary"), "{said}");
}
