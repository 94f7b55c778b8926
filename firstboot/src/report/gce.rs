//! Google Compute Engine: guest attributes, which `gcloud compute instances get-guest-attributes` shows
//! (<https://cloud.google.com/compute/docs/metadata/manage-guest-attributes>). They must be enabled on the instance.

use http::Method;

use super::{DONE, Reporter, Telling, Told, Wish, never, word};
use crate::error::Result;
use crate::facts::Facts;
use crate::net::service::{Protocol, Request};

pub(super) const REPORTER: Reporter =
    Reporter { kind: "gce", when: DONE, settings: &[], usual: never, whom, tell };

const ADDRESSES: &[&str] = &["169.254.169.254"];
const PROTOCOL: Protocol = Protocol {
    headers: &[("metadata-flavor", "Google")],
    answers_with: Some(("metadata-flavor", "Google")),
    session: None,
    privileged_port: false,
};
/// The namespace.
const ATTRIBUTES: &str = "/computeMetadata/v1/instance/guest-attributes/firstboot";

fn whom(_: &Wish, _: &Facts) -> Result<String> {
    Ok("guest attributes firstboot/outcome and firstboot/verdict".to_owned())
}

/// The attributes: the whole verdict first, so that whoever waits for the outcome finds it.
fn attributes(telling: &Telling) -> [(String, String); 2] {
    let (verdict, outcome) = (telling.summary().to_string(), word(telling.status.outcome));
    [(format!("{ATTRIBUTES}/verdict"), verdict), (format!("{ATTRIBUTES}/outcome"), outcome)]
}

fn tell(_: &Wish, telling: &Telling) -> Result<Told> {
    let mut service = telling.service(ADDRESSES, PROTOCOL);
    for (path, value) in attributes(telling) {
        let ended =
            service.send(&Request { method: Method::PUT, path: &path, headers: &[], body: value.as_bytes() });
        ended.map_err(|failure| {
            failure.help("set enable-guest-attributes=TRUE in the instance's or the project's metadata")
        })?;
    }
    Ok(Told::Taken)
}

#[cfg(test)]
#[path = "gce_tests.rs"]
mod tests;
