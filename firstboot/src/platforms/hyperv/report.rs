//! Hyper-V: the guest's key-value pool, which the daemon of the integration services hands to the host
//! (<https://learn.microsoft.com/en-us/virtualization/hyper-v-on-windows/reference/integration-services#hyper-v-data-exchange-service-kvp>).

use crate::error::Result;
use crate::facts::Facts;
use crate::host::kvp::SHOWN_VALUE;
use crate::host::pools;
use crate::reporter::{DONE, Delivery, ReportContext, ReportTarget, Reporter, Urgency, cut, never};

pub(super) const REPORTER: Reporter = Reporter {
    kind: "hyperv",
    urgency: Urgency::Information,
    when: DONE,
    settings: &[],
    by_default: never,
    receiver,
    deliver,
};

const KEY: &str = "FIRSTBOOT_VERDICT";

fn receiver(_: &ReportTarget, _: &Facts) -> Result<String> {
    Ok(format!("key {KEY} of the guest's pool"))
}

fn deliver(_: &ReportTarget, context: &ReportContext) -> Result<Delivery> {
    pools::append(context.root, KEY, &value(context)).map(|()| Delivery::Accepted)
}

/// The verdict without its warnings, and with its message shortened to fit.
fn value(context: &ReportContext) -> String {
    let mut summary = context.summary();
    if let Some(fields) = summary.as_object_mut() {
        fields.remove("warnings");
    }
    let message = summary["message"].as_str().unwrap_or_default().to_owned();
    let mut most = message.len();
    loop {
        let text = summary.to_string();
        if text.len() <= SHOWN_VALUE || most == 0 {
            return cut(&text, SHOWN_VALUE).to_owned();
        }
        most = most.saturating_sub(text.len() - SHOWN_VALUE);
        summary["message"] = cut(&message, most).into();
    }
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
