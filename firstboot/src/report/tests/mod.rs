pub(crate) mod support;

use super::*;
use crate::config::model::NodeConfig;
use crate::config::{HostDefaults, parse};
use crate::status::{self, Outcome};
use support::{facts, place, tagged, target};

fn config(report: &str) -> NodeConfig {
    let text = format!(
        "apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\ndiscovery: {{bootstrapToken: {{apiServerEndpoint: 'a:6443', \
         token: 'abcdef.0123456789abcdef', unsafeSkipCAVerification: true}}}}\n---\napiVersion: firstboot.kiln/v1\n\
         kind: FirstbootConfiguration\n{report}\n"
    );
    parse(text.as_bytes(), &HostDefaults { hostname: "n1".to_owned() }).unwrap()
}

#[test]
fn who_is_told_follows_the_config_or_else_the_platform() {
    let ec2 = || {
        tagged(
            facts(&[("platform", "ec2")]),
            &[("aws:autoscaling:groupName", "g"), ("aws:cloudformation:stack-name", "s")],
        )
    };
    let hooked = || {
        tagged(
            facts(&[("platform", "ec2")]),
            &[("aws:autoscaling:groupName", "g"), ("firstboot-lifecycle-hook", "h")],
        )
    };
    for (report, facts, expected) in [
        ("", facts(&[("platform", "azure")]), vec!["azure: health at 168.63.129.16"]),
        ("", facts(&[("platform", "scaleway")]), vec!["scaleway: state at 169.254.42.42"]),
        ("", facts(&[("phone-home-url", "http://t.example/canary")]), vec!["equinix: http://t.example"]),
        ("", facts(&[("platform", "gce")]), vec![]),
        ("", ec2(), vec![]),
        ("", hooked(), vec!["auto-scaling: hook h of group g"]),
        ("", Facts::default(), vec![]),
        ("report: []", facts(&[("platform", "azure")]), vec![]),
        ("report: ~", facts(&[("platform", "azure")]), vec!["azure: health at 168.63.129.16"]),
        (
            "report: [{kind: webhook, url: 'https://h.example/canary'}, {kind: azure}]",
            ec2(),
            vec!["azure: health at 168.63.129.16", "webhook: https://h.example"],
        ),
        (
            "report: [{kind: cloudformation, resource: r}, {kind: auto-scaling}]",
            ec2(),
            vec![
                "auto-scaling: it cannot be told: there is no hook",
                "cloudformation: resource r of stack s",
            ],
        ),
    ] {
        assert_eq!(planned(config(report).agent.report.as_deref(), &facts), expected, "{report}");
    }
}

#[test]
fn every_reporter_has_a_kind_of_its_own_and_plain_settings() {
    let all = reporters();
    for (position, reporter) in all.iter().enumerate() {
        assert!(all[..position].iter().all(|other| other.kind != reporter.kind), "{}", reporter.kind);
        assert!(
            reporter.settings.iter().all(|setting| setting.name != "kind")
                && !reporter.when.contains(&Outcome::Running)
        );
        assert!(named(reporter.kind).is_some_and(|found| found.kind == reporter.kind));
    }
    assert!(named("nonsense").is_none());
}

#[test]
fn a_run_on_another_root_or_without_changes_tells_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let said = [target("webhook", &[("url", "http://127.0.0.1:1/")])];
    let heard = std::cell::RefCell::new(Vec::new());
    let line = |text: &str| heard.borrow_mut().push(text.to_owned());
    let elsewhere = Root::at(folder.path());
    send(&elsewhere, Some(&said), &Facts::default(), &mut Progress::begin(&elsewhere), &line);
    let here = Root::default();
    let mut unpublished = Progress::unpublished(&here);
    unpublished.status().outcome = Outcome::Joined;
    send(&here, Some(&said), &Facts::default(), &mut unpublished, &line);
    assert!(heard.borrow().is_empty());
}

#[test]
fn a_report_that_fails_is_a_warning_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let root = Root::at(folder.path());
    let mut progress = Progress::begin(&root);
    let line = progress.end(Outcome::Joined);
    let nobody = place(vec![]).address;
    let (targets, heard) = (
        [target("webhook", &[("url", &format!("http://{nobody}/canary"))]), target("hyperv", &[])],
        std::cell::RefCell::new(Vec::new()),
    );
    let limit = Duration::from_millis(300);
    send_all(&root, Some(&targets), &Facts::default(), &mut progress, limit, &|text| {
        heard.borrow_mut().push(text.to_owned())
    });
    let status = status::read(&root).unwrap().unwrap();
    assert_eq!((status.outcome, status.failure.is_none(), status.warnings.len()), (Outcome::Joined, true, 2));
    assert!(
        status.warnings[0].starts_with("the verdict could not be told to hyperv (key FIRSTBOOT_VERDICT"),
        "{:?}",
        status.warnings
    );
    assert!(
        status.warnings[1]
            .starts_with(&format!("the verdict could not be told to webhook (http://{nobody}): "))
    );
    assert!(
        !status.warnings[1].contains("canary")
            && heard.borrow().iter().all(|text| text.starts_with("warning: the verdict"))
    );
    assert!(line.contains("\"outcome\":\"joined\"") && progress.status().outcome == Outcome::Joined);
}

#[test]
fn the_warnings_of_a_failed_run_are_reported() {
    let (root, facts) = (Root::at("/nonexistent"), support::facts(&[]));
    let mut status = support::status(Outcome::Failed);
    status.warnings.push("unknown field \"a\"".to_owned());
    let context = support::context(&root, &facts, &status, None, Trust::System, support::SECONDS);
    assert!(context.message().ends_with("differ; warning: unknown field \"a\""), "{}", context.message());
    assert_eq!(context.summary()["warnings"], serde_json::json!(["unknown field \"a\""]));
}
