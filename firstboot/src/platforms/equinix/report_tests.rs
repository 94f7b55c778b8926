use super::*;
use crate::net::trust::Trust;
use crate::report::tests::support::{SECONDS, deliver_to, facts, ok, place, refuse, status, target};
use crate::status::Outcome;

#[test]
fn the_state_and_an_event_go_to_the_url_of_the_metadata() {
    for (outcome, state, message) in [
        (Outcome::Joined, "succeeded", "joined as n1"),
        (Outcome::Failed, "failed", "untrusted: the CA <x> & \"pins\" differ"),
    ] {
        let place = place(vec![refuse(500), ok(""), ok("")]);
        let url = format!("http://{}/phone-home/", place.address);
        let facts = facts(&[("phone-home-url", &url)]);
        assert!((REPORTER.by_default)(&facts));
        let told = deliver_to("", Trust::System, &target("equinix", &[]), &facts, &status(outcome), SECONDS);
        assert_eq!(told.unwrap(), format!("told equinix: http://{}", place.address));
        let asked = place.shapes();
        let body = json!({"state": state, "message": message}).to_string();
        let request = |path: &str| {
            format!(
                "POST {path} HTTP/1.1\ncontent-length: {}\ncontent-type: application/json\n{body}",
                body.len()
            )
        };
        assert_eq!(
            asked,
            [request("/phone-home/events"), request("/phone-home/events"), request("/phone-home")]
        );
    }
    assert!(!(REPORTER.by_default)(&facts(&[("platform", "equinix")])));
}
