//! CIS Kubernetes Benchmark 1.12, section 4: "Worker Nodes".

use super::look::Look::{By, Kubelet, Mode, Never};
use super::look::{Wanted, finding, not_checked, passed_unless, wrong_mode};
use super::settings::Settings;
use super::{Outcome, Rule};
use crate::tree::Node;
use crate::verify::kubernetes;

const fn rule(id: &'static str, title: &'static str, look: super::look::Look) -> Rule {
    Rule { id, title, look }
}

const PROXY: &str = "kube-proxy is a pod or part of the network plugin: the cluster's";
const AT_JOIN: &str = "the join writes it, for root alone";

/// The suites of the benchmark that still keep the past secret (ECDHE), by the names of Go.
const CIPHERS: &[&str] = &[
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
];

pub(super) const RULES: &[Rule] = &[
    rule("k8s-4.1.1", "the kubelet's unit is for root alone (0600)", By(unit_mode)),
    rule("k8s-4.1.2", "the kubelet's unit belongs to root", By(unit_owner)),
    rule("k8s-4.1.3", "kube-proxy's kubeconfig is for root alone", Never(PROXY)),
    rule("k8s-4.1.4", "kube-proxy's kubeconfig belongs to root", Never(PROXY)),
    rule("k8s-4.1.5", "the kubelet's kubeconfig is for root alone (0600)", By(kubeconfig)),
    rule("k8s-4.1.6", "the kubelet's kubeconfig belongs to root", By(kubeconfig)),
    rule("k8s-4.1.7", "others may not write the cluster's CA", Mode("etc/kubernetes/pki/ca.crt", 0o644)),
    rule("k8s-4.1.8", "the cluster's CA belongs to root", Mode("etc/kubernetes/pki/ca.crt", 0o644)),
    rule("k8s-4.1.9", "the kubelet's configuration is for root alone (0600)", By(configuration)),
    rule("k8s-4.1.10", "the kubelet's configuration belongs to root", By(configuration)),
    rule(
        "k8s-4.2.1",
        "strangers may not ask the kubelet",
        Kubelet("authentication.anonymous.enabled", "anonymous-auth", Wanted::Is("false")),
    ),
    rule(
        "k8s-4.2.2",
        "the API server decides who may order the kubelet",
        Kubelet("authorization.mode", "authorization-mode", Wanted::Is("Webhook")),
    ),
    rule(
        "k8s-4.2.3",
        "clients of the kubelet need a certificate of the cluster",
        Never("the join sets the cluster's CA"),
    ),
    rule(
        "k8s-4.2.4",
        "the kubelet has no port that asks nobody who he is",
        Kubelet("readOnlyPort", "read-only-port", Wanted::Is("0")),
    ),
    rule(
        "k8s-4.2.5",
        "idle connections to the kubelet end",
        Kubelet(
            "streamingConnectionIdleTimeout",
            "streaming-connection-idle-timeout",
            Wanted::Not(&["0", "0s", "0m", "0h"]),
        ),
    ),
    rule(
        "k8s-4.2.6",
        "the kubelet keeps its rules of iptables",
        Kubelet("makeIPTablesUtilChains", "make-iptables-util-chains", Wanted::Is("true")),
    ),
    rule("k8s-4.2.7", "the node has its host's name", By(hostname)),
    rule(
        "k8s-4.2.8",
        "the kubelet's rate of events is chosen",
        Kubelet("eventRecordQPS", "event-qps", Wanted::AtLeast(0)),
    ),
    rule(
        "k8s-4.2.9",
        "the kubelet's server has a certificate and a key",
        Never("its own, or by serverTLSBootstrap the cluster's: each machine makes the key"),
    ),
    rule(
        "k8s-4.2.10",
        "the kubelet renews its certificate",
        Kubelet("rotateCertificates", "rotate-certificates", Wanted::Is("true")),
    ),
    rule(
        "k8s-4.2.11",
        "the kubelet renews its server's certificate",
        Never(
            "serverTLSBootstrap is for clusters where somebody approves the requests: set it in the node config",
        ),
    ),
    rule(
        "k8s-4.2.12",
        "the kubelet speaks strong ciphers alone",
        Kubelet("tlsCipherSuites", "tls-cipher-suites", Wanted::Among(CIPHERS)),
    ),
    rule(
        "k8s-4.2.13",
        "a pod has a limit of processes",
        Kubelet("podPidsLimit", "pod-max-pids", Wanted::AtLeast(1)),
    ),
    rule(
        "k8s-4.2.14",
        "pods have the runtime's seccomp profile by default",
        Kubelet("seccompDefault", "seccomp-default", Wanted::Is("true")),
    ),
    rule(
        "k8s-4.2.15",
        "units refuse addresses that they need not reach",
        Never("only the cluster knows the addresses of its API server and pods"),
    ),
    rule("k8s-4.3.1", "kube-proxy's metrics are for the node alone", Never(PROXY)),
    rule(
        "k8s-1.7-4.2.6",
        "the kubelet compares settings of the kernel and changes none (only in versions up to 1.7)",
        Kubelet("protectKernelDefaults", "protect-kernel-defaults", Wanted::Is("true")),
    ),
];

/// The unit and its drop-ins, the largest first.
fn units(image: &Settings<'_>, most: u32) -> Option<(String, u32, Outcome)> {
    kubernetes::unit_files(image.subject).into_iter().find_map(|path| {
        let (entry, _) = image.subject.file(&path)?;
        let (found, expected) = wrong_mode(entry, most)?;
        Some((path.clone(), entry.mode, finding(found, expected, format!("/{path}"))))
    })
}

/// A unit that all may read is no fault where nothing secret can be in it.
fn unit_mode(image: &Settings<'_>) -> Outcome {
    if kubernetes::unit_files(image.subject).is_empty() {
        return not_checked("the image has no unit of the kubelet");
    }
    match (units(image, 0o600), units(image, 0o644)) {
        (None, _) => Outcome::Passed,
        (Some(_), None) => Outcome::Exempt {
            reason: "0644: it is on a read-only file system, and holds no secret".to_owned(),
        },
        (_, Some((_, _, worse))) => worse,
    }
}

fn unit_owner(image: &Settings<'_>) -> Outcome {
    if kubernetes::unit_files(image.subject).is_empty() {
        return not_checked("the image has no unit of the kubelet");
    }
    passed_unless(units(image, 0o777).map(|(_, _, outcome)| outcome))
}

fn kubeconfig(image: &Settings<'_>) -> Outcome {
    const PATH: &str = "etc/kubernetes/kubelet.conf";
    let Some(entry) = image.subject.tree.get(PATH) else { return not_checked(AT_JOIN) };
    passed_unless(
        wrong_mode(entry, 0o600).map(|(found, expected)| finding(found, expected, format!("/{PATH}"))),
    )
}

/// What the image itself has of it: the join writes the rest.
fn configuration(image: &Settings<'_>) -> Outcome {
    let folder = kubernetes::config_folder(image.subject).unwrap_or_default();
    let own = image.subject.matching("var/lib/kubelet/config.yaml");
    let drop_ins = image.subject.below(&folder).filter(|(path, _)| path.ends_with(".conf"));
    let mut any = false;
    for (path, entry) in own.chain(drop_ins) {
        if !matches!(entry.node, Node::File(_)) {
            continue;
        }
        any = true;
        if let Some((found, expected)) = wrong_mode(entry, 0o600) {
            return finding(found, expected, format!("/{path}"));
        }
    }
    if any { Outcome::Passed } else { not_checked(AT_JOIN) }
}

fn hostname(image: &Settings<'_>) -> Outcome {
    match image.flag("hostname-override") {
        Some(set) => finding(&set.value, "no --hostname-override", &set.path),
        None => not_checked("the agent sets it where the node's name is not the host's"),
    }
}
