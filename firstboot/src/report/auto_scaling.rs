//! EC2 Auto Scaling: a lifecycle hook holds a new instance until someone says whether it is good
//! (<https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_CompleteLifecycleAction.html>).

use super::aws::{self, Action};
use super::{Reporter, Setting, Telling, Told, Wish, check_name};
use crate::error::{ErrorKind, Failure, Result};
use crate::facts::Facts;
use crate::status::Outcome;

pub(super) const REPORTER: Reporter = Reporter {
    kind: "auto-scaling",
    // An instance on its way into a warm pool is held by the same hooks.
    when: &[Outcome::Joined, Outcome::Failed, Outcome::Standby],
    settings: &[
        Setting { name: "hook", is_required: false, check: check_name },
        Setting { name: "group", is_required: false, check: check_name },
        Setting { name: "endpoint", is_required: false, check: aws::check_endpoint },
    ],
    usual: |facts| tag(facts, HOOK).is_some(),
    whom,
    tell,
};

/// The tag by which a user names the hook. Nothing else on the machine knows it.
const HOOK: &str = "firstboot-lifecycle-hook";
/// The tag that Auto Scaling gives its instances.
const GROUP: &str = "aws:autoscaling:groupName";
/// What the API says of an instance that no hook holds: one that was started again, or whose hook timed out.
const NOT_HELD: &str = "No active Lifecycle Action found";

fn tag<'a>(facts: &'a Facts, name: &str) -> Option<&'a str> {
    facts.tags.value()?.get(name).map(String::as_str).filter(|value| !value.is_empty())
}

fn named<'a>(wish: &'a Wish, facts: &'a Facts, setting: &str, name: &str) -> Result<&'a str> {
    wish.get(setting).or_else(|| tag(facts, name)).ok_or_else(|| {
        Failure::new(ErrorKind::Config, format!("there is no {setting}")).help(format!(
            "name it in the config ({setting}), or allow tags in the instance's metadata and set {name}"
        ))
    })
}

fn whom(wish: &Wish, facts: &Facts) -> Result<String> {
    Ok(format!("hook {} of group {}", named(wish, facts, "hook", HOOK)?, named(wish, facts, "group", GROUP)?))
}

fn action<'a>(wish: &'a Wish, telling: &'a Telling) -> Result<Action<'a>> {
    let parameters = vec![
        ("AutoScalingGroupName", named(wish, telling.facts, "group", GROUP)?),
        ("LifecycleHookName", named(wish, telling.facts, "hook", HOOK)?),
        ("InstanceId", telling.fact("instance-id")?),
        ("LifecycleActionResult", if telling.is_failure() { "ABANDON" } else { "CONTINUE" }),
    ];
    Ok(Action { service: "autoscaling", version: "2011-01-01", name: "CompleteLifecycleAction", parameters })
}

fn tell(wish: &Wish, telling: &Telling) -> Result<Told> {
    let action = action(wish, telling)?;
    match aws::act(wish, telling, &action)? {
        Ok(()) => Ok(Told::Taken),
        Err(refusal) if refusal.message.contains(NOT_HELD) => {
            Ok(Told::NotAwaited("no hook holds this instance"))
        }
        Err(refusal) => Err(refusal.failure(action.name, "autoscaling:CompleteLifecycleAction")),
    }
}

#[cfg(test)]
#[path = "auto_scaling_tests.rs"]
mod tests;
