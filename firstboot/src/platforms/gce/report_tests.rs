use super::*;
use crate::host::root::Root;
use crate::net::trust::Trust;
use crate::report::tests::support::{
    SECONDS, context, deliver_to, facts, ok, place, refuse, says, status, target,
};
use crate::status::Outcome;

fn google(status: u16) -> testkit::Reply {
    says(status, "Metadata-Flavor: Google\r\n", "")
}

#[test]
fn two_attributes_are_put() {
    let place = place(vec![google(200), refuse(503), google(200)]);
    let facts = facts(&[("platform", "gce"), ("instance-id", "123"), ("hostname", "n1.c.p.internal")]);
    let told = deliver_to(
        &place.address.to_string(),
        Trust::System,
        &target("gce", &[]),
        &facts,
        &status(Outcome::Failed),
        SECONDS,
    );
    assert_eq!(told.unwrap(), "told gce: guest attributes firstboot/outcome and firstboot/verdict");
    let verdict = "{\"class\":\"untrusted\",\"exit\":12,\"hostname\":\"n1.c.p.internal\",\"instanceId\":\"123\",\
                   \"message\":\"the CA <x> & \\\"pins\\\" differ\",\"node\":\"n1\",\"outcome\":\"failed\",\"phase\":null,\
                   \"platform\":\"gce\",\"requests\":6,\"seconds\":1.5,\"warnings\":[]}";
    let put = |name: &str, value: &str| {
        let path = format!("/computeMetadata/v1/instance/guest-attributes/firstboot/{name}");
        format!("PUT {path} HTTP/1.1\ncontent-length: {}\nmetadata-flavor: Google\n{value}", value.len())
    };
    let asked = place.shapes();
    let expected: serde_json::Value = serde_json::from_str(verdict).unwrap();
    let (head, body) = asked[0].rsplit_once('\n').unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(body).unwrap(), expected);
    assert_eq!(head, put("verdict", body).rsplit_once('\n').unwrap().0);
    assert_eq!(
        (asked[1].as_str(), asked[2].as_str()),
        (put("outcome", "failed").as_str(), put("outcome", "failed").as_str())
    );
}

#[test]
fn attributes_that_are_not_enabled_and_impostors_are_said() {
    for (does, why) in [(google(403), "answers 403"), (ok(""), "someone else answers")] {
        let place = place(vec![does]);
        let told = deliver_to(
            &place.address.to_string(),
            Trust::System,
            &target("gce", &[]),
            &facts(&[]),
            &status(Outcome::Joined),
            SECONDS,
        );
        assert!(told.as_ref().unwrap_err().contains(why), "{told:?}");
    }
}

#[test]
fn reports_go_to_every_address_of_the_metadata_server() {
    let (root, facts, status) = (Root::at("/nonexistent"), facts(&[]), status(Outcome::Joined));
    let context = context(&root, &facts, &status, None, Trust::System, SECONDS);
    assert_eq!(service(&context).addresses(), ["169.254.169.254", "[fd20:ce::254]"]);
}
