use crate::net::trust::Trust;
use crate::report::named;
use crate::report::tests::support::{SECONDS, deliver_to, facts, ok, place, refuse, status, target};
use crate::status::Outcome;

#[test]
fn scaleway_is_told_that_the_machine_has_booted_whatever_became_of_the_node() {
    for outcome in [Outcome::Joined, Outcome::AlreadyJoined, Outcome::NoConfig, Outcome::Failed] {
        let place = place(vec![refuse(503), ok("")]);
        let told = deliver_to(
            &place.address.to_string(),
            Trust::System,
            &target("scaleway", &[]),
            &facts(&[]),
            &status(outcome),
            SECONDS,
        );
        assert_eq!(told.unwrap(), "told scaleway: state at 169.254.42.42");
        let request = "PATCH /state HTTP/1.1\ncontent-length: 25\ncontent-type: application/json\n{\"state_detail\":\"booted\"}";
        assert_eq!(place.shapes(), [request, request]);
        assert!(named("scaleway").unwrap().when.contains(&outcome));
    }
}
