use super::super::{HostDefaults, parse};

fn read(report: &str) -> crate::error::Result<super::super::NodeConfig> {
    let text = format!(
        "apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\ndiscovery: {{bootstrapToken: {{apiServerEndpoint: 'a:6443', \
         token: 'abcdef.0123456789abcdef', unsafeSkipCAVerification: true}}}}\n---\napiVersion: firstboot.kiln/v1\n\
         kind: FirstbootConfiguration\n{report}\n"
    );
    parse(text.as_bytes(), &HostDefaults { hostname: "n1".to_owned() })
}

#[test]
fn reports_are_read_with_their_settings() {
    assert_eq!(read("deadline: 9m").unwrap().agent.report, None);
    assert_eq!(read("report: []").unwrap().agent.report, Some(Vec::new()));
    let config = read(
        "report: [{kind: auto-scaling, hook: my-hook, group: g}, {kind: webhook, url: 'https://a/canary', bearerToken: canary-x}]",
    );
    let agent = config.unwrap().agent;
    let wishes = agent.report.as_ref().unwrap();
    assert_eq!(
        (wishes[0].get("hook"), wishes[0].get("group"), wishes[0].get("endpoint")),
        (Some("my-hook"), Some("g"), None)
    );
    assert_eq!(wishes[1].get("url"), Some("https://a/canary"));
    assert!(!format!("{agent:?}").contains("canary"));
}

#[test]
fn mistakes_are_named_without_values() {
    for (report, expected) in [
        ("report: yes-please", "report: cannot unmarshal a string into a list"),
        ("report: [x]", "report[0]: cannot unmarshal a string into a map"),
        ("report: [{}]", "report[0].kind: Required value: one of azure, "),
        (
            "report: [{kind: autoscaling}]",
            "report[0].kind: Unsupported value: \"autoscaling\": supported values: \"azure\", ",
        ),
        ("report: [{kind: azure, hook: h}]", "unknown field \"report[0].hook\"; azure has the fields kind"),
        ("report: [{kind: auto-scaling, hok: h}]", "unknown field \"report[0].hok\"; did you mean \"hook\"?"),
        ("report: [{kind: azure}, {kind: webhook}]", "report[1].url: Required value: webhook needs it"),
        (
            "report: [{kind: webhook, url: 'http://canary.example/'}]",
            "report[0].url: Invalid value: must begin with https://",
        ),
        (
            "report: [{kind: webhook, url: 'https://a', caCert: canary}]",
            "report[0].caCert: Invalid value: the CA bundle holds no certificate",
        ),
        (
            "report: [{kind: webhook, url: 'https://a', bearerToken: 'canary x'}]",
            "report[0].bearerToken: Invalid value: must be printable",
        ),
        ("report: [{kind: webhook, url: 7}]", "report[0].url: cannot unmarshal a number into a string"),
        (
            "report: [{kind: azure},{kind: azure},{kind: azure},{kind: azure},{kind: azure},{kind: azure},{kind: azure},{kind: azure},{kind: azure},{kind: azure},{kind: azure},{kind: azure},{kind: azure},{kind: azure},{kind: azure},{kind: azure},{kind: azure}]",
            "Too many: 17",
        ),
    ] {
        let message = read(report).unwrap_err().message;
        assert!(message.contains(expected) && !message.contains("canary"), "{report}: {message}");
    }
}
