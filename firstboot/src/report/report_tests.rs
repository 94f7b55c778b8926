use super::test_places::{SECONDS, facts, ok, place, refuse, status, tagged, tell_to, wish};
use super::*;
use crate::config::model::NodeConfig;
use crate::config::{HostDefaults, parse};

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
    for (position, reporter) in REPORTERS.iter().enumerate() {
        assert!(REPORTERS[..position].iter().all(|other| other.kind != reporter.kind), "{}", reporter.kind);
        assert!(
            reporter.settings.iter().all(|setting| setting.name != "kind")
                && !reporter.when.contains(&Outcome::Running)
        );
        assert!(named(reporter.kind).is_some_and(|found| found.kind == reporter.kind));
    }
    assert!(named("nonsense").is_none());
}

#[test]
fn scaleway_is_told_that_the_machine_has_booted_whatever_became_of_the_node() {
    for outcome in [Outcome::Joined, Outcome::AlreadyJoined, Outcome::NoConfig, Outcome::Failed] {
        let place = place(vec![refuse(503), ok("")]);
        let told = tell_to(
            &place.address,
            Trust::System,
            &wish("scaleway", &[]),
            &facts(&[]),
            &status(outcome),
            SECONDS,
        );
        assert_eq!(told.unwrap(), "told scaleway: state at 169.254.42.42");
        let request = "PATCH /state HTTP/1.1\ncontent-length: 25\ncontent-type: application/json\n{\"state_detail\":\"booted\"}";
        assert_eq!(place.asked(), [request, request]);
        assert!(named("scaleway").unwrap().when.contains(&outcome));
    }
}

#[test]
fn a_run_on_another_root_or_without_changes_tells_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let said = [wish("webhook", &[("url", "http://127.0.0.1:1/")])];
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
    let (wishes, heard) = (
        [wish("webhook", &[("url", &format!("http://{nobody}/canary"))]), wish("hyperv", &[])],
        std::cell::RefCell::new(Vec::new()),
    );
    let limit = Duration::from_millis(300);
    send_all(&root, Some(&wishes), &Facts::default(), &mut progress, limit, &|text| {
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
fn forms_and_cuts() {
    assert_eq!(form(&[("a", "b c&d=é~-._"), ("e", "")]), "a=b%20c%26d%3D%C3%A9~-._&e=");
    assert_eq!((cut("aé", 2), cut("aé", 3), cut("", 3)), ("a", "aé", ""));
    assert!(
        check_name("pool a").is_ok()
            && check_name("").is_err()
            && check_name("a\n").is_err()
            && check_name("é").is_err()
    );
}
