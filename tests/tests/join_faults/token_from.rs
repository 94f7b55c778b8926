//! Joins with `tokenFrom` in the config. The token server answers at the API server's address.

use kiln_tests::fault_proxy::{Action, FaultProxy};
use kiln_tests::netns::{self, NetworkNamespace};
use serde_json::json;
use testkit::{Ca, Door};

use super::environment::{API, Lab, NOW, Seen, attempt, finish};

const ASKED: &str = "POST /v1/token";

/// The token server's answer to the request with this many requests before it; `given` is the answer with the
/// token.
type Giver = fn(before: usize, given: &'static str) -> Action;

/// Gives at once.
pub fn gives(_: usize, given: &'static str) -> Action {
    Action::Answer("200 OK", "", given)
}

/// Is not ready for the first two.
pub fn gives_late(before: usize, given: &'static str) -> Action {
    if before < 2 {
        Action::Answer("503 Service Unavailable", "Retry-After: 1\r\n", "")
    } else {
        gives(before, given)
    }
}

/// Does not know this machine.
pub fn denies(_: usize, _: &'static str) -> Action {
    Action::Answer("403 Forbidden", "", "{}")
}

/// Repeats the token where it does not belong.
pub fn gives_nonsense(_: usize, given: &'static str) -> Action {
    Action::Answer("200 OK", "", &given[..given.len() - 1])
}

/// A machine whose config holds no token, endpoint or pin; it must have asked `times`.
pub fn asked(lab: &Lab, name: &'static str, giver: Giver, times: usize) -> Seen {
    with(lab, name, lab.control_plane.authority(), giver, times)
}

/// The server is not the one that the config trusts, so it must not get any request.
pub fn stranger(lab: &Lab, name: &'static str) -> Seen {
    let mut seen = with(lab, name, Ca::new(), gives, 0);
    let message = seen.run.verdict["message"].as_str().unwrap_or_default().to_owned();
    seen.demand(
        message.contains("is not signed by a CA that is trusted for it"),
        "it does not say who is not trusted",
    );
    seen
}

fn with(lab: &Lab, name: &'static str, authority: Ca, giver: Giver, times: usize) -> Seen {
    let (node, mut config) = attempt(lab, name);
    let token = std::mem::take(&mut config.token);
    let given = json!({"token": token, "endpoint": std::mem::take(&mut config.endpoint), "caCertHashes": [std::mem::take(&mut config.pin)]});
    let given: &'static str = given.to_string().leak();
    config.agent.extend([format!(
        "tokenFrom: {{url: 'https://{API}/v1/token', timeout: 10s, caCert: {}}}",
        json!(lab.control_plane.ca())
    )]);
    let netns = NetworkNamespace::of_api_server();
    let identity = authority.sign(&[netns::API_ADDRESS], NOW);
    let judge = move |request: &str, before: usize| {
        if request == ASKED { giver(before, given) } else { Action::Pass }
    };
    let proxy = FaultProxy::start(&netns.pid(), API, &lab.control_plane, identity, Door::Open, judge);
    let mut seen = Seen { token, ..finish(node, &config, netns.command("env"), false) };
    let count = proxy.requests().iter().filter(|request| *request == ASKED).count();
    seen.demand(count == times, &format!("asked {count} times for a token instead of {times}"));
    seen
}
