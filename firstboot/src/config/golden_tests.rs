//! What real kubeadms said of real files, against what is said here (tests/vectors, one folder per case).

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::model::{ApiVersion, Argument, Discovery, NodeConfig, Taint, Timeouts};
use super::role::Role;
use super::{HostDefaults, parse};
use crate::error::ErrorKind;
use crate::kubernetes::token::NO_DOT;

const TOKEN: &str = "9vr73a.a8uxyaju799qwdjv";
const PIN: &str = "f85e5279bb962da2be209a8246ca851b22f330123c05c47f71bf660a0051f55e";

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors")
}

/// Name, input and kubeadm's output of every case of `version`.
fn cases(version: &str) -> Vec<(String, Vec<u8>, String)> {
    let folder = vectors().join(version).join("join");
    let mut cases: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("join.yaml").exists())
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (
                name,
                fs::read(path.join("join.yaml")).unwrap(),
                fs::read_to_string(path.join("output.txt")).unwrap(),
            )
        })
        .collect();
    cases.sort();
    assert_eq!(cases.len(), 23, "{}", folder.display());
    cases
}

fn read(bytes: &[u8]) -> crate::error::Result<NodeConfig> {
    parse(bytes, &HostDefaults { hostname: "node1".to_owned() })
}

fn accepted(name: &str) -> NodeConfig {
    let bytes = fs::read(vectors().join("v1.36.2/join").join(name).join("join.yaml")).unwrap();
    read(&bytes).unwrap_or_else(|failure| panic!("{name}: {failure}"))
}

/// kubeadm's refusal of the file itself, without its `error:` and without a token; none when it went on to
/// the preflight checks.
fn refusal(output: &str) -> Option<String> {
    let (code, rest) = output.split_once('\n').unwrap();
    if code == "exit code 0" || rest.contains("[preflight]") {
        return None;
    }
    let line = rest.lines().next().unwrap();
    Some(line.strip_prefix("error: ").unwrap_or(line).replace("\"not-a-token\": ", ""))
}

#[test]
fn refuses_what_kubeadm_refuses_for_the_same_reason() {
    for version in ["v1.31.14", "v1.34.9", "v1.36.2"] {
        let mut refused = 0;
        for (name, input, output) in cases(version) {
            let Some(expected) = refusal(&output) else {
                assert!(read(&input).is_ok(), "{version} {name}: {:?}", read(&input));
                continue;
            };
            let failure = read(&input).expect_err(&name);
            assert_eq!(failure.kind, ErrorKind::Config, "{name}");
            // What is wrong with a token is said here and not there.
            let message = failure.message.replace(&format!(": {NO_DOT}"), "");
            assert!(expected.starts_with(&message), "{version} {name}:\n{expected}\n{message}");
            assert!(message.contains(": Invalid value: "), "{name}: {message}");
            refused += 1;
        }
        assert_eq!(refused, 5, "{version}");
    }
}

#[test]
fn warns_where_kubeadm_warns() {
    for (name, input, output) in cases("v1.36.2") {
        let Ok(config) = read(&input) else { continue };
        let theirs: Vec<&str> = output
            .lines()
            .filter(|line| line.starts_with('W') && !line.contains("configset.go"))
            .collect();
        // The kubelet's document is used here and ignored there; an older version is no reason for a warning
        // here.
        let expected = theirs
            .iter()
            .filter(|line| !line.contains("KubeletConfiguration") && !line.contains("deprecated API spec"))
            .count();
        assert_eq!(config.warnings.len(), expected, "{name}: {:?}", config.warnings);
    }
    let unknown = accepted("53-unknown-field").warnings;
    assert!(
        unknown[0].starts_with("strict decoding error: unknown field \"nodeRegistration.kubeletExtraArg\""),
        "{unknown:?}"
    );
    let socket = accepted("08-socket-no-scheme");
    assert!(
        socket.warnings[0]
            .contains("Automatically prepending scheme \"unix\" to the \"criSocket\" with value \"/run/containerd/containerd.sock\"")
    );
    assert_eq!(socket.join.node.cri_socket.as_deref(), Some("unix:///run/containerd/containerd.sock"));
}

#[test]
fn a_minimal_file_gets_the_defaults() {
    for (name, node) in [("01-minimal", "n01"), ("11-json", "n11")] {
        let config = accepted(name);
        let join = &config.join;
        assert_eq!((join.node.name.as_str(), join.api_version), (node, ApiVersion::V1beta4));
        assert_eq!(join.ca_cert_path, Path::new("/etc/kubernetes/pki/ca.crt"));
        assert_eq!(join.tls_bootstrap_token.as_ref().unwrap().bearer(), TOKEN);
        let Discovery::Token { endpoints, token, pins, unsafe_skip_ca_verification } = &join.discovery else {
            panic!("{name}")
        };
        assert_eq!(
            (endpoints.len(), endpoints[0].to_string().as_str(), token.bearer()),
            (1, "10.99.0.1:6443", TOKEN)
        );
        assert_eq!((pins.as_slice(), *unsafe_skip_ca_verification), ([PIN.to_owned()].as_slice(), false));
        assert_eq!(
            (&join.node.taints, join.node.kubelet_extra_args.len(), &join.node.cri_socket),
            (&None, 0, &None)
        );
        assert!(
            join.role == Role::Worker
                && !join.dry_run
                && join.patches.is_none()
                && join.skip_phases.is_empty()
        );
        assert_eq!((&join.timeouts, config.kubelet.is_none()), (&Timeouts::default(), true));
    }
}

fn arguments(pairs: &[(&str, &str)]) -> Vec<Argument> {
    pairs
        .iter()
        .map(|(name, value)| Argument { name: (*name).to_owned(), value: (*value).to_owned() })
        .collect()
}

#[test]
fn reads_what_is_said_of_the_node() {
    let node = accepted("02-labels-taints").join.node;
    let taint = |key: &str, value: &str, effect: &str| Taint {
        key: key.into(),
        value: value.into(),
        effect: effect.into(),
    };
    assert_eq!(
        node.taints,
        Some(vec![taint("dedicated", "gpu", "NoSchedule"), taint("spot", "", "PreferNoSchedule")])
    );
    assert_eq!(
        node.kubelet_extra_args,
        arguments(&[("node-labels", "topology.kubernetes.io/zone=z1,pool=a"), ("v", "2")])
    );
    assert_eq!(accepted("03-taints-empty").join.node.taints, Some(Vec::new()));
    let cloud = accepted("04-cloud");
    assert_eq!(cloud.join.node.kubelet_extra_args.len(), 4);
    assert_eq!(cloud.node_name(), "n04");
    let repeated = [
        ("system-reserved", "cpu=100m,memory=100Mi"),
        ("feature-gates", "NodeSwap=true"),
        ("feature-gates", "RotateKubeletServerCertificate=true"),
    ];
    assert_eq!(accepted("14-dup-args").join.node.kubelet_extra_args, arguments(&repeated));
    let map = accepted("12-v1beta3").join;
    assert_eq!(map.node.kubelet_extra_args, arguments(&[("max-pods", "50"), ("node-labels", "pool=b")]));
    assert_eq!((map.api_version, map.timeouts.discovery), (ApiVersion::V1beta3, Duration::from_secs(60)));
}

#[test]
fn reads_what_is_said_of_the_join() {
    let file = accepted("05-file-discovery").join;
    assert!(matches!(&file.discovery, Discovery::File(path) if path == Path::new("/lab/cluster-info.conf")));
    assert_eq!(file.tls_bootstrap_token.unwrap().id(), "9vr73a");
    let skipping = accepted("06-unsafe-skip-ca").join.discovery;
    assert!(matches!(
        &skipping,
        Discovery::Token { pins, unsafe_skip_ca_verification: true, .. } if pins.is_empty()
    ));
    assert_eq!(accepted("07-patches").join.patches.as_deref(), Some(Path::new("/lab/configs/patches")));
    let join = accepted("09-timeouts-skip").join;
    assert_eq!(
        (join.node.ignore_preflight_errors, join.skip_phases),
        (vec!["swap".into(), "systemverification".into()], vec!["preflight".into()])
    );
    let seconds = Duration::from_secs;
    let expected = Timeouts {
        discovery: seconds(30),
        kubernetes_api_call: seconds(20),
        tls_bootstrap: seconds(120),
        kubelet_health_check: seconds(60),
    };
    assert_eq!(join.timeouts, expected);
    assert_eq!(accepted("13-with-kubelet-doc").kubelet.unwrap()["maxPods"], 33);
}
