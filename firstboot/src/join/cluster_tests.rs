use std::time::Duration;

use serde_json::json;

use super::*;
use crate::kubernetes::client::Credential;
use crate::net::test_server::{
    ApiServer as _, Ca, Identity, Reply, TestServer, Trusted as _, network, status,
};

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

fn quick() -> Backoff<'static> {
    Backoff::seeded(1).between(Duration::from_millis(5), Duration::from_millis(20))
}

/// A client, and its server, which answers with `answer`.
fn serving(reply: impl Fn(&testkit::Request) -> Reply + Send + Sync + 'static) -> (Client, TestServer) {
    let ca = Ca::new();
    let server = TestServer::start(&ca, &Identity::default(), reply);
    (
        Client::new(&network(), server.server(), None, &ca.authorities(), &Credential::Anonymous).unwrap(),
        server,
    )
}

/// A recorded ConfigMap, as the API sends it.
fn recorded(yaml: &str) -> Value {
    serde_yaml_ng::from_str(yaml).unwrap()
}

const KUBEADM_CONFIG: &str = include_str!("../../../tests/vectors/v1.36.2/cluster/kubeadm-config.yaml");
const KUBELET_CONFIG: &str = include_str!("../../../tests/vectors/v1.36.2/cluster/kubelet-config.yaml");

#[test]
fn reads_cluster_configurations_of_every_version() {
    let old = ClusterConfiguration::parse(include_str!(
        "../../../tests/vectors/kubeadm-config.data.ClusterConfiguration"
    ))
    .unwrap();
    assert_eq!((old.kubernetes_version.to_string().as_str(), old.cluster_name.as_str()), ("v1.20.2", "exp"));
    assert_eq!(
        (old.image_repository.as_str(), old.control_plane_endpoint.as_deref()),
        ("k8s.gcr.io", Some("10.66.0.1:6443"))
    );
    assert_eq!(
        (old.service_subnet.as_str(), old.pod_subnet.as_deref()),
        ("10.96.0.0/12", Some("10.244.0.0/16"))
    );
    let least = ClusterConfiguration::parse(
        "kubernetesVersion: v1.29.0\nfeatureGates: {A: true, B: 1}\nnetworking: null",
    )
    .unwrap();
    assert_eq!(
        (least.cluster_name.as_str(), least.image_repository.as_str()),
        ("kubernetes", "registry.k8s.io")
    );
    assert_eq!(
        (least.dns_domain.as_str(), least.certificates_dir.as_str()),
        ("cluster.local", "/etc/kubernetes/pki")
    );
    assert_eq!(least.feature_gates, BTreeMap::from([("A".to_owned(), true)]));
    for wrong in [
        "",
        "[",
        "kind: Secret\nkubernetesVersion: v1.29.0",
        "kind: ClusterConfiguration",
        "kubernetesVersion: stable-1",
        "- a",
    ] {
        assert!(ClusterConfiguration::parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn asks_a_recorded_cluster_for_both_configurations() {
    let (mut client, server) = serving(|asked| match asked.path.rsplit('/').next().unwrap() {
        "kubeadm-config" => Reply::Json(200, recorded(KUBEADM_CONFIG)),
        "kubelet-config" => Reply::Json(200, recorded(KUBELET_CONFIG)),
        _ => status(403, "forbidden"),
    });
    let cluster = configuration(&mut client, soon(), &mut quick()).unwrap();
    assert_eq!(
        (cluster.kubernetes_version.to_string().as_str(), cluster.cluster_name.as_str()),
        ("v1.36.2", "lab")
    );
    let kubelet = kubelet_configuration(&mut client, &cluster, soon(), &mut quick()).unwrap();
    assert_eq!(kubelet.value["clusterDNS"], json!(["10.96.0.10"]));
    assert!(
        kubelet.text.starts_with("apiVersion: kubelet.config.k8s.io/v1beta1\n")
            && kubelet.name == "kubelet-config"
    );
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn the_kubelet_configurations_name_follows_the_version_and_falls_back() {
    let cases = [
        ("v1.20.2", "", "kubelet-config-1.20", 403, "kubelet-config"),
        ("v1.23.0", "", "kubelet-config-1.23", 404, "kubelet-config"),
        (
            "v1.23.0",
            "featureGates: {UnversionedKubeletConfigMap: true}",
            "kubelet-config",
            403,
            "kubelet-config-1.23",
        ),
        ("v1.24.0", "", "kubelet-config", 404, "kubelet-config-1.24"),
        ("v1.36.2", "", "kubelet-config", 403, "kubelet-config-1.36"),
    ];
    for (version, gates, first, code, second) in cases {
        let cluster = ClusterConfiguration::parse(&format!("kubernetesVersion: {version}\n{gates}")).unwrap();
        let (mut client, server) = serving(move |asked| {
            if asked.path.ends_with(&format!("/{second}")) {
                Reply::Json(200, recorded(KUBELET_CONFIG))
            } else {
                status(code, "no")
            }
        });
        assert_eq!(
            kubelet_configuration(&mut client, &cluster, soon(), &mut quick()).unwrap().name,
            second,
            "{version}"
        );
        let asked: Vec<_> = server
            .requests()
            .iter()
            .map(|asked| asked.path.rsplit('/').next().unwrap().to_owned())
            .collect();
        assert_eq!(asked, [first, second]);
    }
    let (mut client, _server) = serving(|_| status(403, "forbidden"));
    let cluster = ClusterConfiguration::parse("kubernetesVersion: v1.36.2").unwrap();
    let failure = kubelet_configuration(&mut client, &cluster, soon(), &mut quick()).unwrap_err();
    assert!(failure.kind == ErrorKind::Credential && failure.help.unwrap().contains("system:bootstrappers"));
}

#[test]
fn configurations_that_cannot_be_used_are_refused() {
    for (data, why) in [
        (json!(null), "has no key ClusterConfiguration"),
        (json!({"ClusterConfiguration": ""}), "has no key ClusterConfiguration"),
        (json!({"ClusterConfiguration": "kubernetesVersion: 7"}), "it has no kubernetesVersion"),
    ] {
        let (mut client, _server) = serving(move |_| Reply::Json(200, json!({"data": data})));
        let failure = configuration(&mut client, soon(), &mut quick()).unwrap_err();
        assert!(failure.kind == ErrorKind::Refused && failure.message.contains(why), "{failure}");
    }
    assert!(parse_kubelet_configuration("kind: KubeletConfiguration\nmaxPods: 7").unwrap()["maxPods"] == 7);
    assert!(parse_kubelet_configuration("kind: Other").is_err() && parse_kubelet_configuration("{").is_err());
}

#[test]
fn a_nodes_name_is_free_taken_or_our_own() {
    let taken = |ready: &str| {
        json!({"status": {"conditions": [{"type": "MemoryPressure", "status": "True"}, {"type": "Ready", "status": ready}],
            "nodeInfo": {"systemUUID": "4c4c4544", "machineID": "0123", "kubeletVersion": "v1.36.2"}}})
    };
    let (mut client, _server) = serving(move |asked| match asked.path.rsplit('/').next().unwrap() {
        "ready" => Reply::Json(200, taken("True")),
        "lost" => Reply::Json(200, taken("Unknown")),
        "bare" => Reply::Json(200, json!({})),
        "forbidden" => status(403, "forbidden"),
        _ => status(404, "not found"),
    });
    let mut of = |name| node(&mut client, name, soon(), &mut quick());
    assert_eq!(of("free").unwrap(), None);
    let ready = of("ready").unwrap().unwrap();
    assert_eq!(
        (ready.ready, ready.system_uuid.as_str(), ready.machine_id.as_str()),
        (true, "4c4c4544", "0123")
    );
    assert!(!of("lost").unwrap().unwrap().ready && !of("bare").unwrap().unwrap().ready);
    assert_eq!(of("forbidden").unwrap_err().kind, ErrorKind::Credential);
}

#[test]
fn a_server_that_stumbles_is_asked_again() {
    let count = std::sync::atomic::AtomicUsize::new(0);
    let (mut client, server) =
        serving(move |_| match count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            0 => status(500, "etcd leader changed"),
            1 => Reply::Cut(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf".to_vec()),
            2 => Reply::With(429, "Retry-After: 0\r\n".to_owned(), String::new()),
            _ => status(404, "not found"),
        });
    assert_eq!(node(&mut client, "a", soon(), &mut quick()).unwrap(), None);
    assert_eq!(server.requests().len(), 4);
}
