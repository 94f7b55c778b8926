//! What a node needs, and settings of the kubelet and the runtime that open it.

use serde_json::Value;

use super::{Findings, Subject};
use crate::elf::{self, Machine};
use crate::tree::Node;

/// Where the kubelet is, by distributions and layers.
const KUBELETS: &[&str] = &["usr/bin/kubelet", "usr/local/bin/kubelet", "opt/bin/kubelet"];
const EXECUTABLE: u32 = 0o111;
/// Fields of a KubeletConfiguration that can open it.
const OPENERS: &[&str] = &["anonymous", "AlwaysAllow", "readOnlyPort"];
/// The largest configuration that is read, in bytes. Real ones have some 2 kB.
const LARGEST_CONFIGURATION: usize = 32 << 10;

/// Where the kubelet is.
pub(super) fn kubelet_of(subject: &Subject) -> Option<&'static str> {
    KUBELETS.iter().find(|path| subject.file(path).is_some()).copied()
}

/// Without a kubelet the image is no node, and nothing is missing.
pub(super) fn node(subject: &Subject, findings: &mut Findings<'_>) {
    let tree = &subject.tree;
    let Some(kubelet) = kubelet_of(subject) else { return };
    for path in [
        kubelet,
        "usr/bin/containerd",
        "usr/local/bin/containerd",
        "usr/bin/runc",
        "usr/local/sbin/runc",
        "usr/bin/crun",
    ] {
        let Some((entry, body)) = subject.file(path) else { continue };
        if entry.mode & EXECUTABLE != EXECUTABLE {
            findings.at(path, format!("it cannot be started (mode {:04o})", entry.mode));
        }
        match body.open().and_then(elf::machine) {
            Ok(Some(machine)) if machine == Machine::Known(subject.arch) => {}
            Ok(Some(machine)) => {
                findings.at(path, format!("it is for {machine}, the image for {}", subject.arch.name()))
            }
            Ok(None) | Err(_) => findings.at(path, "it is no program"),
        }
    }
    let has = |folder: &str| tree.below(folder).any(|(_, entry)| matches!(entry.node, Node::File(_)));
    if !["opt/cni/bin", "usr/lib/cni", "usr/libexec/cni"].iter().any(|folder| has(folder)) {
        findings.add("CNI", "the image has no plugins of CNI");
    }
    const UNITS: [&str; 3] = ["usr/lib/systemd/system", "etc/systemd/system", "usr/local/lib/systemd/system"];
    let has_unit =
        |unit: &str| UNITS.iter().any(|folder| tree.get(&format!("{folder}/{unit}.service")).is_some());
    let has_runtime = contract::runtime::RUNTIMES.iter().any(|runtime| has_unit(runtime.name));
    if !has_runtime {
        findings.add("container runtime", "the image has no unit of one");
    }
}

/// Settings of a KubeletConfiguration that let strangers in.
pub(super) fn kubelet(subject: &Subject, findings: &mut Findings<'_>) {
    let folders = ["etc/kubernetes", "etc/firstboot", "var/lib/kubelet"];
    for (path, text) in folders.iter().flat_map(|folder| subject.texts(folder)) {
        if !OPENERS.iter().any(|word| text.contains(word)) {
            continue;
        }
        // The time that a parser takes may grow with the square of a hostile text's length.
        if text.len() > LARGEST_CONFIGURATION {
            findings.at(path, "it is too large for a configuration of the kubelet, and was not read");
            continue;
        }
        let document: Value = serde_yaml_ng::from_str(&text).unwrap_or_default();
        let mut wrong = |what: &str| findings.at(path, what);
        if document["authentication"]["anonymous"]["enabled"] == true {
            wrong("strangers may ask the kubelet (authentication.anonymous)");
        }
        if document["authorization"]["mode"] == "AlwaysAllow" {
            wrong("everybody may order the kubelet (authorization.mode)");
        }
        if document["readOnlyPort"].as_u64().is_some_and(|port| port != 0) {
            wrong("a port of the kubelet asks nobody who he is (readOnlyPort)");
        }
        if document["enableDebuggingHandlers"] == true && document["authorization"]["mode"] == "AlwaysAllow" {
            wrong("everybody may run commands in pods (enableDebuggingHandlers)");
        }
    }
}

/// Registries that nobody vouches for, and runtimes that listen on the network.
pub(super) fn runtime(subject: &Subject, findings: &mut Findings<'_>) {
    for folder in ["etc/containerd", "etc/docker", "etc/crio", "etc/containers"] {
        for (path, text) in subject.texts(folder) {
            for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
                let plain: String = line.split_whitespace().collect();
                let is_open = ["skip_verify=true", "insecure_skip_verify=true", "insecure=true"]
                    .iter()
                    .any(|word| plain.contains(word))
                    || (plain.contains("\"insecure-registries\":[") && !plain.contains("[]"))
                    || plain.contains("tcp://0.0.0.0")
                    || plain.contains("tcp://[::]");
                if is_open {
                    findings.at(path, format!("nobody vouches for what comes or who asks: {line}"));
                }
            }
        }
    }
}
