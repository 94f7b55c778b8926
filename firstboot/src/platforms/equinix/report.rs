//! Equinix Metal: the metadata names the receiver (`phone_home_url`); states go there, events to `/events`
//! below it, as JSON.

use serde_json::json;

use super::PHONE_HOME_URL;
use crate::error::Result;
use crate::reporter::{DONE, Delivery, ReportContext, ReportTarget, Reporter, Urgency, fact, target};

pub(super) const REPORTER: Reporter = Reporter {
    kind: "equinix",
    urgency: Urgency::Provisioning,
    when: DONE,
    settings: &[],
    by_default: |facts| facts.text(PHONE_HOME_URL).is_some(),
    receiver: |_, facts| fact(facts, PHONE_HOME_URL).map(crate::net::url::shown),
    deliver,
};

/// The URLs in their order, and the body for both.
fn requests(context: &ReportContext) -> Result<([String; 2], String)> {
    let base = context.fact(PHONE_HOME_URL)?.trim_end_matches('/');
    let state = if context.is_failure() { "failed" } else { "succeeded" };
    Ok((
        [format!("{base}/events"), base.to_owned()],
        json!({ "state": state, "message": context.message() }).to_string(),
    ))
}

fn deliver(_: &ReportTarget, context: &ReportContext) -> Result<Delivery> {
    let (urls, body) = requests(context)?;
    for url in urls {
        target::post_anywhere(context, &url, "application/json", body.as_bytes())?;
    }
    Ok(Delivery::Accepted)
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
