//! AWS CloudFormation: a resource with a creation or update policy waits for a signal of each of its
//! instances (<https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_SignalResource.html>).
//!
//! The tags name the stack of every instance, whether or not the stack waits, so only a config enables this
//! report.

use super::query_api::{self, Action};
use crate::error::{ErrorKind, Failure, Result};
use crate::facts::Facts;
use crate::reporter::{
    DONE, Delivery, ReportContext, ReportTarget, Reporter, Setting, Urgency, check_name, never,
};

pub(super) const REPORTER: Reporter = Reporter {
    kind: "cloudformation",
    urgency: Urgency::Awaited,
    when: DONE,
    settings: &[
        Setting { name: "stack", is_secret: false, is_required: false, check: check_name },
        Setting { name: "resource", is_secret: false, is_required: false, check: check_name },
        Setting { name: "endpoint", is_secret: false, is_required: false, check: query_api::check_endpoint },
    ],
    by_default: never,
    receiver,
    deliver,
};

/// Tags that CloudFormation sets on its resources. An Auto Scaling group passes them on to its instances, so
/// the resource is the group.
const STACK: &str = "aws:cloudformation:stack-name";
const RESOURCE: &str = "aws:cloudformation:logical-id";
/// The API's message for a resource that no longer waits.
const NOT_AWAITED: &str = "cannot be signaled";

fn named<'a>(target: &'a ReportTarget, facts: &'a Facts, setting: &str, tag: &str) -> Result<&'a str> {
    let tagged = || facts.tags.value()?.get(tag).map(String::as_str);
    target.get(setting).or_else(tagged).ok_or_else(|| {
        Failure::new(ErrorKind::Config, format!("there is no {setting}"))
            .help(format!("name it in the config ({setting}), or allow tags in the instance's metadata, which then has {tag}"))
    })
}

fn receiver(target: &ReportTarget, facts: &Facts) -> Result<String> {
    Ok(format!(
        "resource {} of stack {}",
        named(target, facts, "resource", RESOURCE)?,
        named(target, facts, "stack", STACK)?
    ))
}

fn action<'a>(target: &'a ReportTarget, context: &'a ReportContext) -> Result<Action<'a>> {
    let parameters = vec![
        ("StackName", named(target, context.facts, "stack", STACK)?),
        ("LogicalResourceId", named(target, context.facts, "resource", RESOURCE)?),
        ("UniqueId", context.fact("instance-id")?),
        ("Status", if context.is_failure() { "FAILURE" } else { "SUCCESS" }),
    ];
    Ok(Action { service: "cloudformation", version: "2010-05-15", name: "SignalResource", parameters })
}

fn deliver(target: &ReportTarget, context: &ReportContext) -> Result<Delivery> {
    let action = action(target, context)?;
    match query_api::act(target, context, &action)? {
        Ok(()) => Ok(Delivery::Accepted),
        Err(refusal) if refusal.message.contains(NOT_AWAITED) => {
            Ok(Delivery::NotAwaited("the resource waits for no signal"))
        }
        Err(refusal) => Err(refusal.failure(action.name, "cloudformation:SignalResource")),
    }
}

#[cfg(test)]
#[path = "cloudformation_tests.rs"]
mod tests;
