//! Scaleway: a machine counts as booting until it says that it has booted, at every boot and whatever became of its node
//! (<https://github.com/scaleway/image-tools>, the services of its images).

use http::Method;

use super::{Reporter, Telling, Told, UP, Wish};
use crate::error::Result;
use crate::facts::Facts;
use crate::net::service::{Protocol, Request};

pub(super) const REPORTER: Reporter =
    Reporter { kind: "scaleway", when: UP, settings: &[], usual, whom, tell };

const ADDRESSES: &[&str] = &["169.254.42.42", "[fd00:42::42]"];
const PROTOCOL: Protocol =
    Protocol { headers: &[], answers_with: None, session: None, privileged_port: false };
const PATH: &str = "/state";
const BODY: &[u8] = br#"{"state_detail":"booted"}"#;

fn usual(facts: &Facts) -> bool {
    facts.text("platform") == Some("scaleway")
}

fn whom(_: &Wish, _: &Facts) -> Result<String> {
    Ok("state at 169.254.42.42".to_owned())
}

fn tell(_: &Wish, telling: &Telling) -> Result<Told> {
    let headers = [("content-type", "application/json")];
    telling.service(ADDRESSES, PROTOCOL).send(&Request {
        method: Method::PATCH,
        path: PATH,
        headers: &headers,
        body: BODY,
    })?;
    Ok(Told::Taken)
}
