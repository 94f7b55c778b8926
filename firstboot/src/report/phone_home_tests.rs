use super::*;
use crate::net::trust::Trust;
use crate::report::tests::support::{SECONDS, deliver_to, facts, ok, place, status, target};

#[test]
fn a_joined_node_calls_as_cloud_init_does() {
    for (known, body) in [
        (
            facts(&[("instance-id", "i 1"), ("hostname", "n1.example.com")]),
            "instance_id=i%201&hostname=n1&fqdn=n1.example.com",
        ),
        (facts(&[]), "instance_id=&hostname=n1&fqdn=n1"),
    ] {
        let place = place(vec![ok("")]);
        let target = target("phone-home", &[("url", &format!("http://{}/x?canary=1", place.address))]);
        let told = deliver_to("", Trust::System, &target, &known, &status(Outcome::Joined), SECONDS);
        assert_eq!(told.unwrap(), format!("told phone-home: http://{}", place.address));
        let head = format!(
            "POST /x?canary=1 HTTP/1.1\ncontent-length: {}\ncontent-type: application/x-www-form-urlencoded",
            body.len()
        );
        assert_eq!(place.shapes(), [format!("{head}\n{body}")]);
    }
    assert_eq!(REPORTER.when, [Outcome::Joined]);
}
