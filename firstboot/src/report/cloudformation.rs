//! AWS CloudFormation: a resource with a creation or update policy waits for a signal of each of its instances
//! (<https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_SignalResource.html>).
//!
//! The tags name the stack of any instance that a stack made, whether or not it waits, so only a config asks for this.

use super::aws::{self, Action};
use super::{DONE, Reporter, Setting, Telling, Told, Wish, check_name, never};
use crate::error::{ErrorKind, Failure, Result};
use crate::facts::Facts;

pub(super) const REPORTER: Reporter = Reporter {
    kind: "cloudformation",
    when: DONE,
    settings: &[
        Setting { name: "stack", is_required: false, check: check_name },
        Setting { name: "resource", is_required: false, check: check_name },
        Setting { name: "endpoint", is_required: false, check: aws::check_endpoint },
    ],
    usual: never,
    whom,
    tell,
};

/// Tags that CloudFormation gives what it makes; an Auto Scaling group hands them on to its instances, so the resource is the group.
const STACK: &str = "aws:cloudformation:stack-name";
const RESOURCE: &str = "aws:cloudformation:logical-id";
/// What the API says of a resource that waits for nothing any more.
const NOT_AWAITED: &str = "cannot be signaled";

fn named<'a>(wish: &'a Wish, facts: &'a Facts, setting: &str, tag: &str) -> Result<&'a str> {
    let tagged = || facts.tags.value()?.get(tag).map(String::as_str);
    wish.get(setting).or_else(tagged).ok_or_else(|| {
        Failure::new(ErrorKind::Config, format!("there is no {setting}"))
            .help(format!("name it in the config ({setting}), or allow tags in the instance's metadata, which then has {tag}"))
    })
}

fn whom(wish: &Wish, facts: &Facts) -> Result<String> {
    Ok(format!(
        "resource {} of stack {}",
        named(wish, facts, "resource", RESOURCE)?,
        named(wish, facts, "stack", STACK)?
    ))
}

fn action<'a>(wish: &'a Wish, telling: &'a Telling) -> Result<Action<'a>> {
    let parameters = vec![
        ("StackName", named(wish, telling.facts, "stack", STACK)?),
        ("LogicalResourceId", named(wish, telling.facts, "resource", RESOURCE)?),
        ("UniqueId", telling.fact("instance-id")?),
        ("Status", if telling.is_failure() { "FAILURE" } else { "SUCCESS" }),
    ];
    Ok(Action { service: "cloudformation", version: "2010-05-15", name: "SignalResource", parameters })
}

fn tell(wish: &Wish, telling: &Telling) -> Result<Told> {
    let action = action(wish, telling)?;
    match aws::act(wish, telling, &action)? {
        Ok(()) => Ok(Told::Taken),
        Err(refusal) if refusal.message.contains(NOT_AWAITED) => {
            Ok(Told::NotAwaited("the resource waits for no signal"))
        }
        Err(refusal) => Err(refusal.failure(action.name, "cloudformation:SignalResource")),
    }
}

#[cfg(test)]
#[path = "cloudformation_tests.rs"]
mod tests;
