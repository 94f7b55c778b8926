use std::collections::BTreeMap;

use super::*;

fn node(arguments: &[(&str, &str)], taints: &[(&str, &str, &str)]) -> NodeRegistration {
    let argument =
        |(name, value): &(&str, &str)| Argument { name: (*name).to_owned(), value: (*value).to_owned() };
    let taint = |(key, value, effect): &(&str, &str, &str)| Taint {
        key: (*key).to_owned(),
        value: (*value).to_owned(),
        effect: (*effect).to_owned(),
    };
    NodeRegistration {
        name: "w1".to_owned(),
        is_named: true,
        cri_socket: None,
        taints: Some(taints.iter().map(taint).collect()),
        kubelet_extra_args: arguments.iter().map(argument).collect(),
        ignore_preflight_errors: Vec::new(),
    }
}

fn line(kubelet: &str, node: &NodeRegistration, cri_socket: &str, hostname: &str) -> String {
    let features = KubeletFeatures::of(kubelet.parse().unwrap(), &BTreeMap::new());
    let inputs =
        FlagInputs { features: &features, cri_socket, image_repository: "r.io", hostname, from_facts: &[] };
    let text = environment_file(&arguments(node, &inputs), false).unwrap();
    text.strip_prefix("KUBELET_KUBEADM_ARGS=\"")
        .unwrap()
        .strip_suffix("\"\n")
        .unwrap()
        .to_owned()
}

const CONTAINERD: &str = "unix:///c.sock";

/// The output of each minor version of kubeadm for a worker with a minimal config.
#[test]
fn each_minor_version_writes_its_own_flags() {
    let (runtime, endpoint) = ("--container-runtime=remote ", "--container-runtime-endpoint=unix:///c.sock");
    let pause = |tag: &str| format!(" --pod-infra-container-image=r.io/pause:{tag}");
    let table = [
        (20, format!("{runtime}{endpoint}")),
        (21, format!("{runtime}{endpoint}{}", pause("3.4.1"))),
        (22, format!("{runtime}{endpoint}{}", pause("3.5"))),
        (23, format!("{runtime}{endpoint}{}", pause("3.6"))),
        (24, format!("{runtime}{endpoint}{}", pause("3.7"))),
        (25, format!("{runtime}{endpoint}{}", pause("3.8"))),
        (26, format!("{endpoint}{}", pause("3.9"))),
        (27, format!("{endpoint}{}", pause("3.9"))),
        (28, format!("{endpoint}{}", pause("3.9"))),
        (29, format!("{endpoint}{}", pause("3.9"))),
        (30, format!("{endpoint}{}", pause("3.9"))),
        (31, format!("{endpoint}{}", pause("3.10"))),
        (32, format!("{endpoint}{}", pause("3.10"))),
        (33, format!("{endpoint}{}", pause("3.10"))),
        (34, pause("3.10.1").trim_start().to_owned()),
        (35, String::new()),
        (36, String::new()),
    ];
    for (minor, expected) in table {
        assert_eq!(line(&format!("1.{minor}.0"), &node(&[], &[]), CONTAINERD, "W1\n"), expected, "1.{minor}");
    }
}

#[test]
fn docker_has_flags_of_its_own_up_to_1_23() {
    let expected = "--network-plugin=cni --pod-infra-container-image=r.io/pause:3.2";
    assert_eq!(line("1.20.2", &node(&[], &[]), "/var/run/dockershim.sock", "w1"), expected);
    assert_eq!(
        line("1.23.0", &node(&[], &[]), "/var/run/dockershim.sock", "w1"),
        "--network-plugin=cni --pod-infra-container-image=r.io/pause:3.6"
    );
}

/// From a recorded join with kubeadm 1.20.2.
#[test]
fn the_line_of_1_20_2() {
    let arguments = [
        ("node-labels", "example.com/x=y"),
        ("cgroups-per-qos", "false"),
        ("enforce-node-allocatable", ""),
        ("register-with-taints", "a=b:NoSchedule"),
    ];
    let expected = "--cgroups-per-qos=false --container-runtime=remote --container-runtime-endpoint=unix:///c.sock --enforce-node-allocatable= \
                    --hostname-override=w1 --node-labels=example.com/x=y --register-with-taints=a=b:NoSchedule";
    assert_eq!(line("1.20.2", &node(&arguments, &[]), CONTAINERD, "host"), expected);
}

#[test]
fn the_user_wins_and_the_order_depends_on_the_version() {
    let arguments = [
        ("x", "1"),
        ("b", "2"),
        ("b", "1"),
        ("hostname-override", "Zed"),
        ("container-runtime-endpoint", "unix:///mine"),
    ];
    let taints = [("a", "b", "NoSchedule"), ("c", "", "NoExecute"), ("d", "e", "NoExecute")];
    let node = node(&arguments, &taints);
    let sorted = "--b=1 --b=2 --container-runtime-endpoint=unix:///mine --hostname-override=Zed --pod-infra-container-image=r.io/pause:3.10 \
                  --register-with-taints=a=b:NoSchedule,c:NoExecute,d=e:NoExecute --x=1";
    assert_eq!(line("1.31.0", &node, CONTAINERD, "host"), sorted);
    let kept = "--register-with-taints=a=b:NoSchedule,c:NoExecute,d=e:NoExecute --x=1 --b=2 --b=1 --hostname-override=Zed --container-runtime-endpoint=unix:///mine";
    assert_eq!(line("1.36.0", &node, CONTAINERD, "host"), kept);
}

#[test]
fn values_that_a_shell_or_systemd_would_change_are_quoted() {
    for (value, written) in [
        ("a=b,c=d", "--x=a=b,c=d"),
        ("openstack:///'5f0e7a52'", "--x=openstack:///'5f0e7a52'"),
        ("memory.available<5%", "--x=memory.available<5%"),
        ("é", "--x=é"),
        ("", "--x="),
        ("a b", "'--x=a b'"),
        ("q\"uote", "'--x=q\\\"uote'"),
        ("back\\slash", "'--x=back\\\\slash'"),
        ("$(id)`id`", "'--x=\\$(id)\\`id\\`'"),
    ] {
        assert_eq!(line("1.36.2", &node(&[("x", value)], &[]), CONTAINERD, "w1"), written);
    }
}

#[test]
fn a_value_that_the_file_cannot_hold_ends_the_join() {
    for value in ["canary\n", "canary\t", "it's canary", "'canary' $X"] {
        let failure = environment_file(&node(&[("x", value)], &[]).kubelet_extra_args, false).unwrap_err();
        assert!(failure.kind == ErrorKind::Config && failure.message.contains("\"x\""), "{failure}");
        assert!(!format!("{failure:?}").contains("canary"), "values stay out of messages");
    }
}
