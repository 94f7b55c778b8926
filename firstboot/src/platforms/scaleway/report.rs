//! Scaleway: a machine counts as booting until it reports at every boot, whatever the outcome for its node
//! (<https://github.com/scaleway/image-tools>, the services of its images).

use http::Method;

use super::{ADDRESSES, NAME};
use crate::error::Result;
use crate::facts::Facts;
use crate::net::service::{Protocol, Request};
use crate::reporter::{Delivery, ReportContext, ReportTarget, Reporter, UP, Urgency};

pub(super) const REPORTER: Reporter = Reporter {
    kind: "scaleway",
    urgency: Urgency::Provisioning,
    when: UP,
    settings: &[],
    by_default,
    receiver,
    deliver,
};

const PROTOCOL: Protocol =
    Protocol { headers: &[], answers_with: None, session: None, privileged_port: false };
const PATH: &str = "/state";
const BODY: &[u8] = br#"{"state_detail":"booted"}"#;

fn by_default(facts: &Facts) -> bool {
    facts.text("platform") == Some(NAME)
}

fn receiver(_: &ReportTarget, _: &Facts) -> Result<String> {
    Ok(format!("state at {}", ADDRESSES[0]))
}

fn deliver(_: &ReportTarget, context: &ReportContext) -> Result<Delivery> {
    let headers = [("content-type", "application/json")];
    context.service(ADDRESSES, PROTOCOL).send(&Request {
        method: Method::PATCH,
        path: PATH,
        headers: &headers,
        body: BODY,
    })?;
    Ok(Delivery::Accepted)
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
