//! A webhook: the verdict as JSON, as on the console, with fields that identify the machine.

use crate::error::Result;
use crate::facts::Facts;
use crate::reporter::target::{self, SETTINGS};
use crate::reporter::{DONE, Delivery, ReportContext, ReportTarget, Reporter, Urgency, never};

pub(super) const REPORTER: Reporter = Reporter {
    kind: "webhook",
    urgency: Urgency::Information,
    when: DONE,
    settings: SETTINGS,
    by_default: never,
    receiver,
    deliver,
};

fn receiver(report: &ReportTarget, _: &Facts) -> Result<String> {
    target::host(report)
}

fn deliver(report: &ReportTarget, context: &ReportContext) -> Result<Delivery> {
    target::post(report, context, "application/json", context.summary().to_string().as_bytes())
        .map(|()| Delivery::Accepted)
}

#[cfg(test)]
#[path = "webhook_tests.rs"]
mod tests;
