//! The call of cloud-init's `phone_home`, without host keys: Kiln's images have none
//! (<https://cloudinit.readthedocs.io/en/latest/reference/modules.html#phone-home>). Receivers take any call
//! as "it is up", so a failed join does not call; a webhook gets both.

use crate::error::Result;
use crate::facts::Facts;
use crate::reporter::target::{self, SETTINGS};
use crate::reporter::{Delivery, ReportContext, ReportTarget, Reporter, Urgency, form, never};
use crate::status::Outcome;

pub(super) const REPORTER: Reporter = Reporter {
    kind: "phone-home",
    urgency: Urgency::Information,
    when: &[Outcome::Joined],
    settings: SETTINGS,
    by_default: never,
    receiver,
    deliver,
};

fn receiver(report: &ReportTarget, _: &Facts) -> Result<String> {
    target::host(report)
}

fn body(context: &ReportContext) -> String {
    let fqdn = context.facts.text("hostname").or(context.status.node.as_deref()).unwrap_or_default();
    let hostname = fqdn.split('.').next().unwrap_or_default();
    form(&[
        ("instance_id", context.facts.text("instance-id").unwrap_or_default()),
        ("hostname", hostname),
        ("fqdn", fqdn),
    ])
}

fn deliver(report: &ReportTarget, context: &ReportContext) -> Result<Delivery> {
    target::post(report, context, "application/x-www-form-urlencoded", body(context).as_bytes())
        .map(|()| Delivery::Accepted)
}

#[cfg(test)]
#[path = "phone_home_tests.rs"]
mod tests;
