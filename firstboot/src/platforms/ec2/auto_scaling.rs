//! EC2 Auto Scaling: a lifecycle hook holds a new instance until an API call completes it
//! (<https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_CompleteLifecycleAction.html>).

use super::query_api::{self, Action};
use crate::error::{ErrorKind, Failure, Result};
use crate::facts::Facts;
use crate::reporter::{Delivery, ReportContext, ReportTarget, Reporter, Setting, Urgency, check_name};
use crate::status::Outcome;

pub(super) const REPORTER: Reporter = Reporter {
    kind: "auto-scaling",
    urgency: Urgency::Awaited,
    // An instance on its way into a warm pool is held by the same hooks.
    when: &[Outcome::Joined, Outcome::Failed, Outcome::Standby],
    settings: &[
        Setting { name: "hook", is_secret: false, is_required: false, check: check_name },
        Setting { name: "group", is_secret: false, is_required: false, check: check_name },
        Setting { name: "endpoint", is_secret: false, is_required: false, check: query_api::check_endpoint },
    ],
    by_default: |facts| tag(facts, HOOK).is_some(),
    receiver,
    deliver,
};

/// The tag by which a user names the hook. Nothing else on the machine knows it.
const HOOK: &str = "firstboot-lifecycle-hook";
/// The tag that Auto Scaling gives its instances.
const GROUP: &str = "aws:autoscaling:groupName";
/// The API's message for an instance that no hook holds: after a restart, or when the hook timed out.
const NOT_HELD: &str = "No active Lifecycle Action found";

fn tag<'a>(facts: &'a Facts, name: &str) -> Option<&'a str> {
    facts.tags.value()?.get(name).map(String::as_str).filter(|value| !value.is_empty())
}

fn named<'a>(target: &'a ReportTarget, facts: &'a Facts, setting: &str, name: &str) -> Result<&'a str> {
    target.get(setting).or_else(|| tag(facts, name)).ok_or_else(|| {
        Failure::new(ErrorKind::Config, format!("there is no {setting}")).help(format!(
            "name it in the config ({setting}), or allow tags in the instance's metadata and set {name}"
        ))
    })
}

fn receiver(target: &ReportTarget, facts: &Facts) -> Result<String> {
    Ok(format!(
        "hook {} of group {}",
        named(target, facts, "hook", HOOK)?,
        named(target, facts, "group", GROUP)?
    ))
}

fn action<'a>(target: &'a ReportTarget, context: &'a ReportContext) -> Result<Action<'a>> {
    let parameters = vec![
        ("AutoScalingGroupName", named(target, context.facts, "group", GROUP)?),
        ("LifecycleHookName", named(target, context.facts, "hook", HOOK)?),
        ("InstanceId", context.fact("instance-id")?),
        ("LifecycleActionResult", if context.is_failure() { "ABANDON" } else { "CONTINUE" }),
    ];
    Ok(Action { service: "autoscaling", version: "2011-01-01", name: "CompleteLifecycleAction", parameters })
}

fn deliver(target: &ReportTarget, context: &ReportContext) -> Result<Delivery> {
    let action = action(target, context)?;
    match query_api::act(target, context, &action)? {
        Ok(()) => Ok(Delivery::Accepted),
        Err(refusal) if refusal.message.contains(NOT_HELD) => {
            Ok(Delivery::NotAwaited("no hook holds this instance"))
        }
        Err(refusal) => Err(refusal.failure(action.name, "autoscaling:CompleteLifecycleAction")),
    }
}

#[cfg(test)]
#[path = "auto_scaling_tests.rs"]
mod tests;
