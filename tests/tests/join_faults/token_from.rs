//! Joins whose config says where to ask for a token (`tokenFrom`). Who gives it answers beside the API server, on the same address.

use kiln_tests::authority::{Authority, Validity};
use kiln_tests::island::{self, Island};
use kiln_tests::liar::{Deed, Door, Liar};
use serde_json::json;

use super::surroundings::{API, Lab, Seen, attempt, finish};

const ASKED: &str = "POST /v1/token";

/// What whoever gives tokens answers to the request with this many before it; `given` is the answer that holds the token.
type Giver = fn(before: usize, given: &'static str) -> Deed;

/// Gives at once.
pub fn gives(_: usize, given: &'static str) -> Deed {
    Deed::Answer("200 OK", "", given)
}

/// Is not ready for the first two.
pub fn gives_late(before: usize, given: &'static str) -> Deed {
    if before < 2 {
        Deed::Answer("503 Service Unavailable", "Retry-After: 1\r\n", "")
    } else {
        gives(before, given)
    }
}

/// Does not know this machine.
pub fn denies(_: usize, _: &'static str) -> Deed {
    Deed::Answer("403 Forbidden", "", "{}")
}

/// Repeats the token where it does not belong.
pub fn gives_nonsense(_: usize, given: &'static str) -> Deed {
    Deed::Answer("200 OK", "", &given[..given.len() - 1])
}

/// A machine whose config holds no token, endpoint or pin; it must have asked `times`.
pub fn asked(lab: &Lab, name: &'static str, giver: Giver, times: usize) -> Seen {
    with(lab, name, Authority::of(&lab.control_plane), giver, times)
}

/// The one who answers is not the one whom the config trusts: nothing may be asked of him.
pub fn stranger(lab: &Lab, name: &'static str) -> Seen {
    let mut seen = with(lab, name, Authority::stranger(), gives, 0);
    let message = seen.run.verdict["message"].as_str().unwrap_or_default().to_owned();
    seen.demand(
        message.contains("is not signed by a CA that is trusted for it"),
        "it does not say who is not trusted",
    );
    seen
}

fn with(lab: &Lab, name: &'static str, authority: Authority, giver: Giver, times: usize) -> Seen {
    let (node, mut config) = attempt(lab, name);
    let token = std::mem::take(&mut config.token);
    let given = json!({"token": token, "endpoint": std::mem::take(&mut config.endpoint), "caCertHashes": [std::mem::take(&mut config.pin)]});
    let given: &'static str = given.to_string().leak();
    config.agent.extend([format!(
        "tokenFrom: {{url: 'https://{API}/v1/token', timeout: 10s, caCert: {}}}",
        json!(lab.control_plane.ca())
    )]);
    let island = Island::of_api_server();
    let identity = authority.server(&[island::API_ADDRESS], Validity::Now);
    let judge =
        move |request: &str, before: usize| if request == ASKED { giver(before, given) } else { Deed::Pass };
    let liar = Liar::start(&island.pid(), API, &lab.control_plane, identity, Door::Open, judge);
    let mut seen = Seen { token, ..finish(node, &config, island.command("env"), false) };
    let count = liar.requests().iter().filter(|request| *request == ASKED).count();
    seen.demand(count == times, &format!("asked {count} times for a token instead of {times}"));
    seen
}
