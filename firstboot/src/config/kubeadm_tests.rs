use super::*;
use crate::config::flags::JoinFlags;
use crate::config::model::{Argument, NodeConfig};
use crate::config::role::Role;
use crate::config::{HostDefaults, flags, parse};
use crate::host::cri::CgroupDriver;
use crate::join::phases::kubeadm::registration;
use crate::kubernetes::version::Version;

const TOKEN: &str = "abcdef.0123456789abcdef";
const SOCKET: &str = "unix:///run/x.sock";

fn host() -> HostDefaults {
    HostDefaults { hostname: "n1".to_owned() }
}

/// The documents that kubeadm reads of this config.
fn read_by_kubeadm(config: &NodeConfig, version: &str) -> Vec<Value> {
    let version: Version = version.parse().unwrap();
    let node = registration(config, SOCKET, None);
    let text = config.kubeadm.as_ref().unwrap().file(&node, version);
    crate::config::documents::values_of(text.as_bytes()).unwrap()
}

#[test]
fn kubeadm_init_gets_its_documents_with_the_node_completed() {
    let text = format!(
        "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nclusterName: c\n---\n\
         apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\nbootstrapTokens: [{{token: {TOKEN}, ttl: 1h}}]\n\
         nodeRegistration: {{taints: [], kubeletExtraArgs: [{{name: node-labels, value: a=b}}]}}\n---\n\
         apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nmaxPods: 3\n---\n\
         apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nmode: nftables\n---\n\
         apiVersion: firstboot.kiln/v1\nkind: FirstbootConfiguration\n"
    );
    let mut config = parse(text.as_bytes(), &host()).unwrap();
    assert_eq!((config.join.role, config.warnings.len()), (Role::FirstControlPlane, 0));
    config.from_facts = vec![Argument { name: "node-ip".to_owned(), value: "10.0.0.1".to_owned() }];
    let documents = read_by_kubeadm(&config, "v1.36.2");
    let kinds: Vec<&str> = documents.iter().filter_map(|document| document["kind"].as_str()).collect();
    assert_eq!(
        kinds,
        ["InitConfiguration", "ClusterConfiguration", "KubeProxyConfiguration", "KubeletConfiguration"]
    );
    let node = json!({"name": "n1", "criSocket": SOCKET, "taints": [], "kubeletExtraArgs": [
        {"name": "node-ip", "value": "10.0.0.1"}, {"name": "node-labels", "value": "a=b"}]});
    assert_eq!(documents[0]["nodeRegistration"], node);
    assert_eq!(documents[0]["bootstrapTokens"][0]["token"], TOKEN);
    assert!(!format!("{config:?}").contains("0123456789abcdef"));
}

#[test]
fn older_documents_keep_their_form_and_a_cluster_configuration_is_enough() {
    let text = "apiVersion: kubeadm.k8s.io/v1beta2\nkind: ClusterConfiguration\nkubernetesVersion: v1.20.2\n";
    let config = parse(text.as_bytes(), &host()).unwrap();
    let documents = read_by_kubeadm(&config, "v1.20.2");
    let node = json!({"name": "n1", "criSocket": SOCKET, "kubeletExtraArgs": {}});
    let init = json!({"apiVersion": "kubeadm.k8s.io/v1beta2", "kind": "InitConfiguration", "nodeRegistration": node});
    assert_eq!(documents[0], init);
}

#[test]
fn the_first_kubelet_gets_the_cgroup_driver_of_its_runtime_unless_something_names_one() {
    let base = "apiVersion: kubeadm.k8s.io/v1beta2\nkind: InitConfiguration\n";
    let document = "---\napiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n";
    let rows = [
        ("", Some("systemd")),
        (&format!("{document}maxPods: 3\n"), Some("systemd")),
        (&format!("{document}cgroupDriver: \"\"\n"), Some("systemd")),
        (&format!("{document}cgroupDriver: cgroupfs\n"), Some("cgroupfs")),
        ("nodeRegistration: {kubeletExtraArgs: {cgroup-driver: cgroupfs}}\n", None),
    ];
    for (more, expected) in rows {
        let config = parse(format!("{base}{more}").as_bytes(), &host()).unwrap();
        let node = registration(&config, SOCKET, Some(CgroupDriver::Systemd));
        let driver = node.kubelet.as_ref().and_then(|document| document["cgroupDriver"].as_str());
        assert_eq!(driver, expected, "{more}");
    }
    let config = parse(base.as_bytes(), &host()).unwrap();
    assert_eq!(registration(&config, SOCKET, None).kubelet, None);
}

#[test]
fn a_control_plane_that_joins_by_flags_gets_a_file_in_the_version_that_its_kubeadm_reads() {
    let flags = JoinFlags {
        given: vec!["token", "control-plane", "certificate-key"],
        endpoints: vec!["a:6443".to_owned()],
        token: Some(Secret::new(TOKEN.to_owned())),
        ca_cert_hashes: vec![format!("sha256:{}", "0".repeat(64))],
        control_plane: true,
        certificate_key: Some(Secret::new("5".repeat(64))),
        ..JoinFlags::default()
    };
    let config = flags::node_config(&flags, None, &host()).unwrap();
    for (kubelet, version) in [("v1.20.2", "v1beta2"), ("v1.30.0", "v1beta3"), ("v1.36.2", "v1beta4")] {
        let document = read_by_kubeadm(&config, kubelet).remove(0);
        assert_eq!(document["apiVersion"], format!("kubeadm.k8s.io/{version}"));
        assert_eq!(document["controlPlane"]["certificateKey"], "5".repeat(64));
        let token = json!({"apiServerEndpoint": "a:6443", "token": TOKEN, "unsafeSkipCAVerification": false,
            "caCertHashes": [format!("sha256:{}", "0".repeat(64))]});
        assert_eq!(document["discovery"], json!({"bootstrapToken": token, "tlsBootstrapToken": TOKEN}));
    }
}

#[test]
fn secrets_shape_no_node_and_everything_else_does() {
    let text = |token: &str, name: &str| {
        format!(
            "apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\nbootstrapTokens: [{{token: {token}}}]\n\
             certificateKey: {token}\n---\napiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nclusterName: {name}\n"
        )
    };
    let fingerprint =
        |token: &str, name: &str| parse(text(token, name).as_bytes(), &host()).unwrap().fingerprint(b"");
    assert_eq!(fingerprint(TOKEN, "a"), fingerprint("fedcba.0123456789abcdef", "a"));
    assert_ne!(fingerprint(TOKEN, "a"), fingerprint(TOKEN, "b"));
}

#[test]
fn the_command_decides_which_document_counts() {
    let both = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\ndiscovery: {file: {kubeConfigPath: /x}}\n---\n\
        apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n";
    let init = JoinFlags {
        init: Some(vec!["--upload-certs".to_owned()]),
        given: vec!["config"],
        ..JoinFlags::default()
    };
    let join = JoinFlags { given: vec!["config"], ..JoinFlags::default() };
    assert_eq!(parse(both.as_bytes(), &host()).unwrap().join.role, Role::Worker);
    let config = flags::node_config(&init, Some(both.as_bytes()), &host()).unwrap();
    assert_eq!(config.join.role, Role::FirstControlPlane);
    assert_eq!(config.kubeadm.as_ref().unwrap().flags(), ["--upload-certs"]);
    let alone = both.split("---\n").nth(1).unwrap();
    let failure = flags::node_config(&join, Some(alone.as_bytes()), &host()).unwrap_err();
    assert!(failure.message.starts_with("no JoinConfiguration found"), "{failure}");
    assert!(failure.help.unwrap().starts_with("firstboot init"));
    let explain = JoinFlags { is_either: true, ..join };
    let config = flags::node_config(&explain, Some(alone.as_bytes()), &host()).unwrap();
    assert_eq!(config.join.role, Role::FirstControlPlane);
    assert!(flags::node_config(&init, None, &host()).unwrap_err().message.contains("no config"));
}

#[test]
fn a_control_plane_does_not_ask_for_its_token() {
    let text = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\ncontrolPlane: {}\n\
        discovery: {bootstrapToken: {apiServerEndpoint: 'a:1', unsafeSkipCAVerification: true}}\n---\n\
        apiVersion: firstboot.kiln/v1\nkind: FirstbootConfiguration\ntokenFrom: {url: 'https://t/'}\n";
    assert!(
        parse(text.as_bytes(), &host())
            .unwrap_err()
            .message
            .starts_with("tokenFrom: a control plane")
    );
}
