//! Two outcomes of the same join side by side.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::join_outcome::Outcome;
use crate::lab_node::Entry;

/// The reasons of a refusal by words in kubeadm's output, in the order of the search.
const REASONS: &[(&str, &str)] = &[
    ("[preflight] Some fatal errors occurred", "preflight"),
    ("waiting for the kubelet to start", "kubelet"),
    ("The kubelet is not running", "kubelet"),
    ("none of the public keys", "untrusted"),
    ("failed to verify JWS signature", "untrusted"),
    ("x509: ", "untrusted"),
    ("unknown hash format", "config"),
    ("invalid hash ", "config"),
    ("could not find a JWS signature", "credential"),
    ("could not find authentication credentials", "config"),
    ("couldn't find authentication credentials", "config"),
    ("expected a 32 byte SHA-256 hash", "config"),
    ("is forbidden: User \"system:bootstrap", "credential"),
    ("config map: Unauthorized", "credential"),
    ("connection refused", "unreachable"),
    ("no route to host", "unreachable"),
    ("no such host", "unreachable"),
    ("already exists in the cluster", "refused"),
    ("One or more conditions for hosting a new control plane instance is not satisfied", "config"),
    ("timed out waiting for the condition", "out of time"),
    ("Client.Timeout", "out of time"),
    ("abort connecting to API servers after timeout", "out of time"),
    ("context deadline exceeded", "out of time"),
    ("Abort reading the cluster-info ConfigMap after timeout", "out of time"),
];

/// firstboot's exit codes, as its documentation has them.
const EXIT_CODES: &[(i32, &str)] = &[
    (0, "accepted"),
    (1, "internal"),
    (2, "preflight"),
    (3, "config"),
    (10, "source"),
    (11, "unreachable"),
    (12, "untrusted"),
    (13, "credential"),
    (14, "refused"),
    (15, "pending"),
    (16, "clock"),
    (17, "host"),
    (18, "runtime"),
    (19, "kubelet"),
    (64, "usage"),
    (124, "did not end"),
];

/// A difference between two outcomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Its subject: `verdict`, `file /etc/kubernetes/kubelet.conf mode`, `node taint
    /// dedicated=gpu:NoSchedule`.
    pub place: String,
    /// kubeadm's; none where it has no such thing.
    pub kubeadm: Option<String>,
    /// firstboot's.
    pub firstboot: Option<String>,
}

/// `accepted`, or the class of kubeadm's refusal; `out of time` where its words say no more.
pub fn kubeadm_verdict(outcome: &Outcome) -> &'static str {
    if outcome.ended.code == 0 {
        return "accepted";
    }
    let said = format!("{}{}", outcome.ended.stdout, outcome.ended.stderr);
    if outcome.ended.code == 124 {
        return "did not end";
    }
    // A warning is not a reason.
    let said: String = said
        .lines()
        .filter(|line| !line.contains("[WARNING "))
        .map(|line| format!("{line}\n"))
        .collect();
    if let Some((_, class)) = REASONS.iter().find(|(words, _)| said.contains(words)) {
        return class;
    }
    // Before its first phase kubeadm only reads and validates the config.
    if said.contains("error execution phase") { "unknown" } else { "config" }
}

/// `accepted`, or the class that firstboot's exit code stands for.
pub fn firstboot_verdict(outcome: &Outcome) -> String {
    let row = EXIT_CODES.iter().find(|(code, _)| *code == outcome.ended.code);
    row.map_or_else(|| format!("exit code {}", outcome.ended.code), |(_, word)| (*word).to_owned())
}

/// Everything in which the two differ; where one joined and the other did not, that alone.
pub fn compare(kubeadm: &Outcome, firstboot: &Outcome) -> Vec<Difference> {
    let verdicts = (kubeadm_verdict(kubeadm).to_owned(), firstboot_verdict(firstboot));
    if verdicts.0 != verdicts.1 && (verdicts.0 == "accepted" || verdicts.1 == "accepted") {
        return vec![Difference {
            place: "verdict".to_owned(),
            kubeadm: Some(verdicts.0),
            firstboot: Some(verdicts.1),
        }];
    }
    let mut left = facts(kubeadm);
    let mut right = facts(firstboot);
    left.insert("verdict".to_owned(), verdicts.0);
    right.insert("verdict".to_owned(), verdicts.1);
    let mut places: Vec<&String> = left.keys().chain(right.keys()).collect();
    places.sort();
    places.dedup();
    let differing = places.into_iter().filter(|place| left.get(*place) != right.get(*place));
    differing
        .map(|place| Difference {
            place: place.clone(),
            kubeadm: left.get(place).cloned(),
            firstboot: right.get(place).cloned(),
        })
        .collect()
}

/// An outcome as single facts, each with its place.
fn facts(outcome: &Outcome) -> BTreeMap<String, String> {
    let mut facts = BTreeMap::new();
    for (path, entry) in &outcome.files {
        file_facts(path, entry, &mut facts);
    }
    if outcome.ended.code != 0 {
        // Programs run their steps in different orders, so how far a failed one came does not matter. The
        // files that it leaves do.
        return facts;
    }
    if let Some(node) = &outcome.node {
        node_facts(node, &mut facts);
    }
    for request in &outcome.requests_for_certificates {
        flatten("signing request", request, &mut facts);
    }
    facts.insert("signing requests".to_owned(), outcome.requests_for_certificates.len().to_string());
    facts.insert("kubelet's command line".to_owned(), outcome.kubelet.join(" "));
    facts
}

fn file_facts(path: &str, entry: &Entry, facts: &mut BTreeMap<String, String>) {
    facts.insert(format!("file {path} kind"), entry.kind.clone());
    facts.insert(format!("file {path} mode"), entry.mode.clone());
    facts.insert(format!("file {path} owner"), entry.owner.clone());
    if matches!(entry.kind.as_str(), "file" | "link") {
        facts.insert(format!("file {path} content"), unquoted(&entry.content));
    }
    if path.ends_with(".yaml") || path.ends_with(".conf") {
        let value: Value = serde_yaml_ng::from_str(&entry.content).unwrap_or(Value::Null);
        flatten(&format!("file {path} value"), &value, facts);
    }
}

/// YAML without its quotes, because writers differ in quoting.
fn unquoted(text: &str) -> String {
    text.replace(['"', '\''], "")
}

fn node_facts(node: &Value, facts: &mut BTreeMap<String, String>) {
    facts.insert("node".to_owned(), "registered".to_owned());
    for kind in ["labels", "annotations"] {
        for (key, value) in node[kind].as_object().into_iter().flatten() {
            // A controller sets it, sooner or later.
            if key != "node.alpha.kubernetes.io/ttl" {
                facts.insert(format!("node {kind} {key}"), value.as_str().unwrap_or_default().to_owned());
            }
        }
    }
    for taint in node["spec"]["taints"].as_array().into_iter().flatten() {
        let part = |name: &str| taint[name].as_str().unwrap_or_default().to_owned();
        // The node controller's taints from conditions come and go.
        if !part("key").starts_with("node.kubernetes.io/") {
            facts.insert(
                format!("node taint {}={}:{}", part("key"), part("value"), part("effect")),
                "there".to_owned(),
            );
        }
    }
    for (key, value) in node["spec"].as_object().into_iter().flatten() {
        if !matches!(key.as_str(), "podCIDR" | "podCIDRs" | "taints") {
            facts.insert(format!("node spec {key}"), value.to_string());
        }
    }
}

fn flatten(place: &str, value: &Value, facts: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (key, field) in fields {
                flatten(&format!("{place} {key}"), field, facts);
            }
        }
        Value::Null => {}
        other => {
            facts.insert(place.to_owned(), other.to_string());
        }
    }
}
