use super::*;

const OLD: Version = Version { major: 1, minor: 20, patch: 2 };

fn version(minor: u16) -> Version {
    Version { minor, ..OLD }
}

fn network(name: &str, kind: Kind) -> Network {
    Network { name: name.to_owned(), kind, pods: Some("10.244.0.0/16".to_owned()) }
}

fn inputs<'a>(cluster: &'a Value, flannel: &'a Network) -> Inputs<'a> {
    Inputs {
        cluster: Some(cluster),
        node_config: None,
        version: version(36),
        node: "n1",
        drive: "C:",
        flannel: Some(flannel),
        is_network_in_environment: false,
    }
}

/// As kubeadm stores it where nobody chose anything.
fn of_kubeadm() -> Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration", "mode": "", "clusterCIDR": "10.32.0.0/12",
        "bindAddress": "0.0.0.0", "hostnameOverride": "", "featureGates": null,
        "clientConnection": {"kubeconfig": "/var/lib/kube-proxy/kubeconfig.conf", "qps": 0},
        "winkernel": {"enableDSR": false, "networkName": "", "sourceVip": ""},
    })
}

#[test]
fn the_clusters_configuration_becomes_one_for_windows() {
    let flannel = network("cbr0", Kind::Bridge);
    let made = configuration(&inputs(&of_kubeadm(), &flannel)).unwrap();
    let mut expected = of_kubeadm();
    expected["mode"] = json!("kernelspace");
    expected["hostnameOverride"] = json!("n1");
    expected["featureGates"] = json!({});
    expected["clientConnection"]["kubeconfig"] = json!("C:/var/lib/kube-proxy/kubeconfig.conf");
    expected["winkernel"] = json!({"enableDSR": true, "networkName": "cbr0", "sourceVip": ""});
    assert_eq!(made, expected);
    assert!(!lacks_source_vip(&made, Some(&flannel)));
}

#[test]
fn without_a_configuration_of_the_cluster_flannel_says_what_pods_have() {
    let flannel = network("vxlan0", Kind::Overlay);
    let made = configuration(&Inputs { cluster: None, ..inputs(&Value::Null, &flannel) }).unwrap();
    assert_eq!((&made["clusterCIDR"], &made["kind"]), (&json!("10.244.0.0/16"), &json!(PROXY_KIND)));
    assert!(lacks_source_vip(&made, Some(&flannel)) && !lacks_source_vip(&made, None));
}

#[test]
fn the_node_configs_document_lies_over_the_clusters() {
    let (cluster, flannel) = (of_kubeadm(), network("vxlan0", Kind::Overlay));
    let own = json!({"clientConnection": {"kubeconfig": "D:/mine"}, "mode": "iptables", "hostnameOverride": "other",
        "winkernel": {"networkName": "Calico", "sourceVip": "10.1.1.2", "enableDSR": false}});
    let made = configuration(&Inputs { node_config: Some(&own), ..inputs(&cluster, &flannel) }).unwrap();
    assert_eq!(made["clientConnection"], json!({"kubeconfig": "D:/mine", "qps": 0}));
    assert_eq!(made["winkernel"], own["winkernel"]);
    assert_eq!((&made["mode"], &made["hostnameOverride"]), (&json!("kernelspace"), &json!("n1")));
    assert!(!lacks_source_vip(&made, Some(&flannel)), "it is another network than flannel's");
}

#[test]
fn direct_return_follows_the_release_and_the_choice_of_the_node_config() {
    let (flannel, on, off) = (network("cbr0", Kind::Bridge), Some(true), Some(false));
    for (minor, cluster, node, expected, gates) in [
        (20, off, None, false, json!({})),
        (32, None, None, false, json!({})),
        (32, on, None, true, json!({"WinDSR": true})),
        (20, off, on, true, json!({"WinDSR": true})),
        (33, off, None, true, json!({})),
        (33, off, off, false, json!({})),
        (34, off, None, true, json!({})),
        (36, on, off, false, json!({})),
    ] {
        let choice = |choice: Option<bool>| choice.map(|on| json!({"winkernel": {"enableDSR": on}}));
        let (cluster, own) = (choice(cluster).unwrap_or_else(|| json!({})), choice(node));
        let inputs =
            Inputs { node_config: own.as_ref(), version: version(minor), ..inputs(&cluster, &flannel) };
        let made = configuration(&inputs).unwrap();
        let found = (&made["winkernel"]["enableDSR"], &made["featureGates"]);
        assert_eq!(found, (&json!(expected), &gates), "1.{minor} {cluster} {own:?}");
    }
}

#[test]
fn gates_that_are_needed_are_on_and_those_that_cannot_change_are_not_named() {
    let flannel = network("vxlan0", Kind::Overlay);
    for (minor, before, after) in [
        (20, json!({"WinOverlay": false, "X": false}), json!({"WinOverlay": true, "X": false})),
        (20, json!({}), json!({})),
        (33, json!({"WinDSR": false}), json!({"WinDSR": true})),
        (34, json!({"WinDSR": false, "WinOverlay": false, "X": true}), json!({"X": true})),
    ] {
        let cluster = json!({ "featureGates": before });
        let made = configuration(&Inputs { version: version(minor), ..inputs(&cluster, &flannel) }).unwrap();
        assert_eq!(made["featureGates"], after, "1.{minor}");
    }
}

#[test]
fn the_network_must_be_known() {
    let (cluster, flannel) = (of_kubeadm(), network("cbr0", Kind::Bridge));
    let unknown = || Inputs { flannel: None, ..inputs(&cluster, &flannel) };
    let failure = configuration(&unknown()).unwrap_err();
    assert!(failure.help.unwrap().contains("winkernel.networkName"), "{}", failure.message);
    let made = configuration(&Inputs { is_network_in_environment: true, ..unknown() }).unwrap();
    assert_eq!(made["winkernel"]["networkName"], "");
}

#[test]
fn a_document_that_is_no_configuration_is_refused() {
    let flannel = network("cbr0", Kind::Bridge);
    for (cluster, word) in [
        (json!([]), "it is no mapping"),
        (json!({"winkernel": "x"}), "winkernel is no mapping"),
        (json!({"featureGates": [1]}), "featureGates is no mapping"),
        (json!({"clientConnection": true}), "clientConnection is no mapping"),
    ] {
        let failure = configuration(&inputs(&cluster, &flannel)).unwrap_err();
        assert!(failure.message.ends_with(word), "{failure}");
    }
}

#[test]
fn the_service_has_its_log_runner_its_configuration_and_the_nodes_name() {
    let runner = r"C:\k\kube-log-runner.exe --log-file=C:\x.log C:\k\kube-proxy.exe";
    let rest = r"--windows-service --config=C:\var\lib\kube-proxy\config.conf --hostname-override=n1";
    for (before, start) in [
        (Some(format!("{runner} --windows-service --proxy-mode=kernelspace")), runner),
        (Some(format!("{runner} {rest}")), runner),
        (Some(r"C:\k\kube-proxy.exe --windows-service".to_owned()), r"C:\k\kube-proxy.exe"),
        (None, r"C:\k\kube-proxy.exe"),
    ] {
        let programs = Programs {
            before: before.as_deref(),
            program: r"C:\k\kube-proxy.exe",
            log: r"C:\x.log",
            is_there: &|_| false,
        };
        assert_eq!(command_line(&programs, "C:", "n1"), format!("{start} {rest}"));
    }
}
