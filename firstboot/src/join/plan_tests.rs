//! Compares with files that real kubeadms wrote, see tests/vectors.

use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::json;

use super::*;
use crate::config::{HostDefaults, parse};

/// All these joins found this socket.
const CONTAINERD: &str = "unix:///var/run/containerd/containerd.sock";
const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors");
const CA: &str = "-----BEGIN CERTIFICATE-----\n";

fn documents(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_yaml_ng::Deserializer::from_str(&text)
        .map(|document| Value::deserialize(document).unwrap())
        .collect()
}

fn read_config(bytes: &[u8]) -> NodeConfig {
    parse(bytes, &HostDefaults { hostname: "node1".to_owned() }).unwrap()
}

/// A join with this `nodeRegistration`.
fn node_config(registration: &Value) -> NodeConfig {
    let discovery = json!({"bootstrapToken": {"apiServerEndpoint": "10.99.0.1:6443", "token": "9vr73a.a8uxyaju799qwdjv", "unsafeSkipCAVerification": true}});
    let join = json!({
        "apiVersion": "kubeadm.k8s.io/v1beta4", "kind": "JoinConfiguration", "discovery": discovery, "nodeRegistration": registration,
    });
    read_config(join.to_string().as_bytes())
}

fn cluster(version: &str) -> ClusterFacts {
    let folder = Path::new(VECTORS).join(version).join("cluster");
    let inner = |file: &str, key: &str| -> Value {
        serde_yaml_ng::from_str(documents(&folder.join(file))[0]["data"][key].as_str().unwrap()).unwrap()
    };
    let configuration = inner("kubeadm-config.yaml", "ClusterConfiguration");
    let text = |value: &Value| value.as_str().map(str::to_owned);
    ClusterFacts {
        kubernetes_version: Some(configuration["kubernetesVersion"].as_str().unwrap().parse().unwrap()),
        cluster_name: text(&configuration["clusterName"]).unwrap(),
        image_repository: text(&configuration["imageRepository"]).unwrap(),
        feature_gates: BTreeMap::new(),
        service_subnet: text(&configuration["networking"]["serviceSubnet"]),
        dns_domain: text(&configuration["networking"]["dnsDomain"]),
        certificates_dir: text(&configuration["certificatesDir"]),
        kubelet_config: inner("kubelet-config.yaml", "kubelet"),
        server: "https://10.99.0.1:6443".to_owned(),
        ca_pem: CA.to_owned(),
    }
}

fn host(version: &str, patches: Vec<PatchFile>) -> HostFacts {
    HostFacts {
        hostname: "node1".to_owned(),
        kubelet_version: version.parse().unwrap(),
        services: Services::Systemd,
        drive: None,
        resolved_is_active: true,
        runtime_cgroup_driver: None,
        cri_socket: CONTAINERD.to_owned(),
        patches,
        proposed: Map::new(),
        resources: Resources::default(),
    }
}

/// Mode, owner and type of each planned file, in the format of `tree.txt`.
fn tree_line(file: &PlannedFile) -> String {
    format!("{:o} 0:0 f {} -> ", file.mode, file.path.display())
}

#[test]
fn every_accepted_join_gives_kubeadms_bytes() {
    for version in ["v1.31.14", "v1.34.9", "v1.36.2"] {
        let cluster = cluster(version);
        let folder = Path::new(VECTORS).join(version).join("join");
        let cases = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut cases: Vec<_> = cases.filter(|case| case.join("config.yaml").exists()).collect();
        cases.sort();
        assert_eq!(cases.len(), 14, "{version}");
        for case in cases {
            let patches = case.join("patches");
            let patches = if patches.is_dir() {
                crate::join::patches::read(&crate::host::root::Root::default(), &patches).unwrap()
            } else {
                Vec::new()
            };
            // kubeadm ignores a KubeletConfiguration after the JoinConfiguration. Another test covers that
            // the agent uses it.
            let mut config = read_config(&fs::read(case.join("join.yaml")).unwrap());
            config.kubelet = None;
            let plan = plan(&config, &cluster, &host(version, patches)).unwrap();
            compare(&case, &plan);
        }
    }
}

fn compare(case: &Path, plan: &Plan) {
    let tree = fs::read_to_string(case.join("tree.txt")).unwrap();
    let mut expected = vec!["ca.crt", "kubeadm-flags.env"];
    expected.extend(["instance-config.yaml"].iter().filter(|name| case.join(name).exists()));
    expected.push("config.yaml");
    let names: Vec<_> =
        plan.files.iter().map(|file| file.path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, expected, "{}", case.display());
    for (file, name) in plan.files.iter().zip(expected) {
        assert!(
            tree.lines().any(|line| line == tree_line(file)),
            "{}: no line {}",
            case.display(),
            tree_line(file)
        );
        let golden =
            if name == "ca.crt" { CA.to_owned() } else { fs::read_to_string(case.join(name)).unwrap() };
        assert_eq!(String::from_utf8_lossy(&file.bytes), golden, "{}/{name}", case.display());
    }
    assert_eq!(plan.cri_socket_annotation.is_some(), !case.join("instance-config.yaml").exists());
    assert_eq!((plan.healthz.clone(), plan.warnings.len()), (Some(("127.0.0.1".to_owned(), 10248)), 0));
}

#[test]
fn a_kubelet_document_changes_what_it_says_and_nothing_else() {
    let case = Path::new(VECTORS).join("v1.36.2/join/13-with-kubelet-doc");
    let config = read_config(&fs::read(case.join("join.yaml")).unwrap());
    let plan = plan(&config, &cluster("v1.36.2"), &host("v1.36.2", Vec::new())).unwrap();
    let golden = fs::read_to_string(case.join("config.yaml")).unwrap();
    let expected = golden.replace("memorySwap: {}\n", "maxPods: 33\nmemorySwap: {}\n");
    assert_eq!(String::from_utf8_lossy(&plan.files.last().unwrap().bytes), expected);
}

/// kubeadm 1.20.2 wrote the ConfigMap's text unchanged.
#[test]
fn a_worker_of_1_20_2() {
    let golden = fs::read_to_string(Path::new(VECTORS).join("kubelet-config-1.20.data.kubelet")).unwrap();
    let mut cluster = cluster("v1.31.14");
    cluster.kubernetes_version = Some("v1.20.2".parse().unwrap());
    cluster.image_repository = String::new();
    cluster.kubelet_config = serde_yaml_ng::from_str(&golden).unwrap();
    let host = HostFacts {
        resolved_is_active: false,
        cri_socket: "/var/run/dockershim.sock".to_owned(),
        ..host("v1.20.2", Vec::new())
    };
    let plan = plan(&node_config(&json!({"name": "w1"})), &cluster, &host).unwrap();
    let text = |position: usize| String::from_utf8_lossy(&plan.files[position].bytes).into_owned();
    let flags = "KUBELET_KUBEADM_ARGS=\"--hostname-override=w1 --network-plugin=cni --pod-infra-container-image=k8s.gcr.io/pause:3.2\"\n";
    assert_eq!((plan.files.len(), text(1), text(2)), (3, flags.to_owned(), golden));
    assert_eq!(plan.cri_socket_annotation.as_deref(), Some("/var/run/dockershim.sock"));
}

#[test]
fn the_kubelets_version_decides_about_files_and_the_clusters_about_the_registry() {
    let cluster = cluster("v1.36.2");
    let config = node_config(&json!({"name": "node1"}));
    let old = plan(&config, &cluster, &host("v1.33.5", Vec::new())).unwrap();
    let flags = "KUBELET_KUBEADM_ARGS=\"--container-runtime-endpoint=unix:///var/run/containerd/containerd.sock \
                 --pod-infra-container-image=registry.k8s.io/pause:3.10\"\n";
    assert_eq!((old.files.len(), String::from_utf8_lossy(&old.files[1].bytes).as_ref()), (3, flags));

    let mut gated = cluster.clone();
    gated.feature_gates.insert("NodeLocalCRISocket".to_owned(), true);
    assert_eq!(plan(&config, &gated, &host("v1.33.5", Vec::new())).unwrap().files.len(), 4);
    let new = plan(&config, &cluster, &host("v1.36.2", Vec::new())).unwrap();
    assert_eq!(String::from_utf8_lossy(&new.files[1].bytes), "KUBELET_KUBEADM_ARGS=\"\"\n");
}

#[test]
fn warns_about_what_will_not_work() {
    let mut cluster = cluster("v1.36.2");
    cluster.kubelet_config["resolvConf"] = json!(kubelet_config::RESOLVED);
    let config = node_config(&json!({"name": "n"}));
    let host = HostFacts {
        resolved_is_active: false,
        ..host("v1.36.2", vec![PatchFile { name: "x.yaml".to_owned(), bytes: b"a: 1".to_vec() }])
    };
    let warnings = plan(&config, &cluster, &host).unwrap().warnings;
    assert!(warnings.len() == 2 && warnings[0].contains("x.yaml") && warnings[1].contains("resolved"));
}

/// A cluster made by kubeadm before 1.22 does not set the cgroup driver, and the kubelet's default may differ
/// from the runtime's.
#[test]
fn without_a_configured_cgroup_driver_the_runtimes_is_used() {
    use CgroupDriver::{Cgroupfs, Systemd};
    let (none, argument) = (
        json!({"name": "n"}),
        json!({"name": "n", "kubeletExtraArgs": [{"name": "cgroup-driver", "value": "cgroupfs"}]}),
    );
    for (version, said, registration, runtime, expected) in [
        ("v1.20.2", None, &none, None, None),
        ("v1.20.2", None, &none, Some(Cgroupfs), None),
        ("v1.20.2", None, &none, Some(Systemd), Some("systemd")),
        ("v1.20.2", Some("cgroupfs"), &none, Some(Systemd), Some("cgroupfs")),
        ("v1.20.2", Some(""), &none, Some(Systemd), Some("systemd")),
        ("v1.20.2", None, &argument, Some(Systemd), None),
        ("v1.22.0", None, &none, None, Some("systemd")),
        ("v1.22.0", None, &none, Some(Systemd), Some("systemd")),
        ("v1.22.0", None, &none, Some(Cgroupfs), Some("cgroupfs")),
        ("v1.22.0", None, &argument, Some(Cgroupfs), Some("systemd")),
        ("v1.22.0", Some("systemd"), &none, Some(Cgroupfs), Some("systemd")),
    ] {
        let (config, mut cluster) = (node_config(registration), cluster("v1.31.14"));
        let document = cluster.kubelet_config.as_object_mut().unwrap();
        document.remove("cgroupDriver");
        document.extend(said.map(|driver| ("cgroupDriver".to_owned(), json!(driver))));
        let asked = lacks_cgroup_driver(&config, &cluster.kubelet_config);
        assert_eq!(asked, said.is_none_or(str::is_empty) && registration == &none, "{version} {said:?}");
        let host = HostFacts { runtime_cgroup_driver: runtime, ..host(version, Vec::new()) };
        let made = plan(&config, &cluster, &host).unwrap().kubelet_config;
        assert_eq!(made["cgroupDriver"].as_str(), expected, "{version} {said:?} {runtime:?} {registration}");
    }
    let mut own = node_config(&none);
    own.kubelet = Some(json!({"cgroupDriver": "systemd"}));
    assert!(!lacks_cgroup_driver(&own, &json!({})));
}
