//! Google Compute Engine: guest attributes, which `gcloud compute instances get-guest-attributes` shows
//! (<https://cloud.google.com/compute/docs/metadata/manage-guest-attributes>). They must be enabled on the
//! instance.

use http::Method;

use super::{ADDRESSES, PROTOCOL};
use crate::error::Result;
use crate::facts::Facts;
use crate::net::service::{Request, Service};
use crate::reporter::{DONE, Delivery, ReportContext, ReportTarget, Reporter, Urgency, never, word};

pub(super) const REPORTER: Reporter = Reporter {
    kind: "gce",
    urgency: Urgency::Information,
    when: DONE,
    settings: &[],
    by_default: never,
    receiver,
    deliver,
};

/// The namespace.
const ATTRIBUTES: &str = "/computeMetadata/v1/instance/guest-attributes/firstboot";

fn receiver(_: &ReportTarget, _: &Facts) -> Result<String> {
    Ok("guest attributes firstboot/outcome and firstboot/verdict".to_owned())
}

/// The attributes, the whole verdict first: it is there once the outcome appears.
fn attributes(context: &ReportContext) -> [(String, String); 2] {
    let (verdict, outcome) = (context.summary().to_string(), word(context.status.outcome));
    [(format!("{ATTRIBUTES}/verdict"), verdict), (format!("{ATTRIBUTES}/outcome"), outcome)]
}

fn service(context: &ReportContext) -> Service {
    context.service(ADDRESSES, PROTOCOL)
}

fn deliver(_: &ReportTarget, context: &ReportContext) -> Result<Delivery> {
    let mut service = service(context);
    for (path, value) in attributes(context) {
        let ended =
            service.send(&Request { method: Method::PUT, path: &path, headers: &[], body: value.as_bytes() });
        ended.map_err(|failure| {
            failure.help("set enable-guest-attributes=TRUE in the instance's or the project's metadata")
        })?;
    }
    Ok(Delivery::Accepted)
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
