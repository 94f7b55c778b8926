use super::*;
use crate::platforms::ec2::query_api::tests::{REFUSED, Told as Answered, run};
use crate::report::tests::support::{facts, tagged, target};
use crate::status::Outcome;

fn instance() -> Facts {
    facts(&[
        ("platform", "ec2"),
        ("instance-id", "i-1"),
        ("region", "cn-north-1"),
        ("domain", "amazonaws.com.cn"),
    ])
}

#[test]
fn signals_the_resource_of_the_config_or_of_the_tags() {
    let tags = &[("aws:cloudformation:stack-name", "s"), ("aws:cloudformation:logical-id", "Nodes")];
    for (settings, tags, outcome, expected) in [
        (
            &[][..],
            &tags[..],
            Outcome::Joined,
            "StackName=s&LogicalResourceId=Nodes&UniqueId=i-1&Status=SUCCESS",
        ),
        (
            &[("resource", "Other")],
            tags,
            Outcome::Failed,
            "StackName=s&LogicalResourceId=Other&UniqueId=i-1&Status=FAILURE",
        ),
        (
            &[("stack", "t"), ("resource", "R")],
            &[],
            Outcome::Joined,
            "StackName=t&LogicalResourceId=R&UniqueId=i-1&Status=SUCCESS",
        ),
    ] {
        let run = run(
            &target("cloudformation", settings),
            &tagged(instance(), tags),
            outcome,
            vec![Answered(200, "")],
        );
        assert!(run.said.is_ok());
        assert_eq!(run.bodies, [format!("Action=SignalResource&Version=2010-05-15&{expected}")]);
    }
    assert!(!(REPORTER.by_default)(&tagged(instance(), tags)));
}

#[test]
fn a_stack_that_waits_no_more_is_no_trouble_and_what_is_missing_is_said() {
    let done = "<ErrorResponse><Error><Code>ValidationError</Code><Message>Resource Nodes is in CREATE_COMPLETE state and cannot be \
                signaled</Message></Error></ErrorResponse>";
    let named = target("cloudformation", &[("stack", "s"), ("resource", "Nodes")]);
    let told = |answer| run(&named, &instance(), Outcome::Joined, vec![Answered(400, answer)]).said;
    assert_eq!(
        told(done).unwrap(),
        "cloudformation: resource Nodes of stack s: the resource waits for no signal"
    );
    assert!(told(REFUSED).unwrap_err().contains("SignalResource: AccessDenied: User r may not"));
    let nameless = run(&target("cloudformation", &[("stack", "s")]), &instance(), Outcome::Joined, vec![]);
    assert!(nameless.said.unwrap_err().contains("there is no resource"));
}
