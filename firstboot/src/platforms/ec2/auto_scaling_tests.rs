use super::*;
use crate::platforms::ec2::query_api::tests::{REFUSED, Told as Answered, run};
use crate::report::tests::support::{facts, tagged, target};
use crate::status::Outcome;

fn instance() -> Facts {
    facts(&[
        ("platform", "ec2"),
        ("instance-id", "i-1"),
        ("region", "eu-central-1"),
        ("domain", "amazonaws.com"),
    ])
}

#[test]
fn continues_or_abandons_the_hook_of_the_config_or_of_the_tags() {
    let group = &[("aws:autoscaling:groupName", "pool a/é")];
    let both = &[("aws:autoscaling:groupName", "pool a/é"), ("firstboot-lifecycle-hook", "tagged")];
    for (settings, tags, outcome, expected) in [
        (
            &[("hook", "h"), ("group", "g")][..],
            &[][..],
            Outcome::Joined,
            "g&LifecycleHookName=h&InstanceId=i-1&LifecycleActionResult=CONTINUE",
        ),
        (
            &[("hook", "h")],
            group,
            Outcome::Failed,
            "pool%20a%2F%C3%A9&LifecycleHookName=h&InstanceId=i-1&LifecycleActionResult=ABANDON",
        ),
        (
            &[],
            both,
            Outcome::Joined,
            "pool%20a%2F%C3%A9&LifecycleHookName=tagged&InstanceId=i-1&LifecycleActionResult=CONTINUE",
        ),
        (
            &[("hook", "h")],
            both,
            Outcome::Joined,
            "pool%20a%2F%C3%A9&LifecycleHookName=h&InstanceId=i-1&LifecycleActionResult=CONTINUE",
        ),
    ] {
        let run = run(
            &target("auto-scaling", settings),
            &tagged(instance(), tags),
            outcome,
            vec![Answered(200, "")],
        );
        assert!(run.said.unwrap().starts_with("told auto-scaling: hook "), "{expected}");
        assert_eq!(
            run.bodies,
            [format!("Action=CompleteLifecycleAction&Version=2011-01-01&AutoScalingGroupName={expected}")]
        );
    }
}

#[test]
fn an_instance_that_nothing_holds_is_no_trouble_and_what_is_missing_is_said() {
    let not_held = "<ErrorResponse xmlns=\"http://autoscaling.amazonaws.com/doc/2011-01-01/\"><Error><Type>Sender</Type><Code>ValidationError</Code>\
                    <Message>No active Lifecycle Action found with instance ID i-1</Message></Error></ErrorResponse>";
    let named = target("auto-scaling", &[("hook", "h"), ("group", "g")]);
    let told = |answer| run(&named, &instance(), Outcome::Joined, vec![Answered(400, answer)]).said;
    assert_eq!(told(not_held).unwrap(), "auto-scaling: hook h of group g: no hook holds this instance");
    assert!(
        told(REFUSED)
            .unwrap_err()
            .contains("CompleteLifecycleAction: AccessDenied: User r may not")
    );
    let nameless = run(&target("auto-scaling", &[("hook", "h")]), &instance(), Outcome::Joined, vec![]);
    assert!(nameless.said.unwrap_err().contains("there is no group"));
    assert!(
        (REPORTER.by_default)(&tagged(instance(), &[(HOOK, "h")]))
            && !(REPORTER.by_default)(&tagged(instance(), &[(HOOK, ""), (GROUP, "g")]))
    );
}
