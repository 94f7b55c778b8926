//! The kubelet's command line as kubeadm writes it to `/var/lib/kubelet/kubeadm-flags.env`.

use crate::config::model::{Argument, NodeRegistration, Taint};
use crate::kubernetes::features::{DOCKERSHIM, KubeletFeatures};

/// Input of the arguments besides the node config.
#[derive(Debug)]
pub struct FlagInputs<'a> {
    /// The features of the kubelet's version.
    pub features: &'a KubeletFeatures,
    pub(crate) cri_socket: &'a str,
    /// The registry of the pause image.
    pub image_repository: &'a str,
    pub(crate) hostname: &'a str,
    /// Arguments from facts, see [`crate::enrich`].
    pub from_facts: &'a [Argument],
}

/// All arguments in the order in which they are written.
pub fn arguments(node: &NodeRegistration, inputs: &FlagInputs<'_>) -> Vec<Argument> {
    let user = &node.kubelet_extra_args;
    let mut all = defaults(node, inputs);
    all.retain(|default| !user.iter().any(|argument| argument.name == default.name));
    // Only labels that the config does not set: the kubelet merges repeated --node-labels.
    all.extend(inputs.from_facts.iter().cloned());
    all.sort_by(|one, other| one.name.cmp(&other.name));
    all.extend(user.iter().cloned());
    if !inputs.features.arguments_in_order {
        all.sort_by(|one, other| (&one.name, &one.value).cmp(&(&other.name, &other.value)));
    }
    all
}

fn defaults(node: &NodeRegistration, inputs: &FlagInputs<'_>) -> Vec<Argument> {
    let features = inputs.features;
    let docker = inputs.cri_socket.trim_start_matches("unix://") == DOCKERSHIM;
    let runtime = inputs.cri_socket.to_owned();
    let mut defaults = Vec::new();
    let mut add = |set: bool, name: &str, value: String| {
        if set {
            defaults.push(Argument { name: name.to_owned(), value });
        }
    };
    add(features.network_plugin && docker, "network-plugin", "cni".to_owned());
    add(features.container_runtime && !docker, "container-runtime", "remote".to_owned());
    add(
        features.container_runtime_endpoint && !(docker && features.network_plugin),
        "container-runtime-endpoint",
        runtime,
    );
    if let Some(tag) = features.pause_tag {
        add(
            docker || !features.pause_for_docker_only,
            "pod-infra-container-image",
            format!("{}/pause:{tag}", inputs.image_repository),
        );
    }
    let taints = node.taints.as_deref().unwrap_or_default();
    add(!taints.is_empty(), "register-with-taints", taints.iter().map(written).collect::<Vec<_>>().join(","));
    let hostname = inputs.hostname.trim().to_lowercase();
    add(node.name != hostname, "hostname-override", node.name.clone());
    defaults
}

/// `key=value:Effect`; without a value `key:Effect`.
fn written(taint: &Taint) -> String {
    match (taint.value.as_str(), taint.effect.as_str()) {
        ("", "") => taint.key.clone(),
        ("", effect) => format!("{}:{effect}", taint.key),
        (value, effect) => format!("{}={value}:{effect}", taint.key),
    }
}

/// The file: one variable, its value quoted as Go's `%q` does, for systemd's `EnvironmentFile=`.
pub fn environment_file(arguments: &[Argument]) -> String {
    let line: Vec<String> = arguments
        .iter()
        .map(|argument| format!("--{}={}", argument.name, argument.value))
        .collect();
    format!("KUBELET_KUBEADM_ARGS={}\n", quoted(&line.join(" ")))
}

/// Warnings about arguments that do not reach the kubelet as they are meant, because systemd splits the
/// variable at white space and removes quotes. A pair of single quotes is meant to be removed: templates for
/// kubeadm write `openstack:///'ID'`.
pub fn warnings(arguments: &[Argument]) -> Vec<String> {
    let breaks = |argument: &&Argument| {
        let value = &argument.value;
        let is_odd = |letter: char| letter.is_whitespace() || "\"\\".contains(letter);
        value.contains(is_odd) || value.matches('\'').count() % 2 == 1
    };
    let warn = |argument: &Argument| {
        format!(
            "the kubelet argument \"{}\" holds white space, quotes or backslashes: kubeadm-flags.env cannot express them; use the KubeletConfiguration",
            argument.name.escape_debug()
        )
    };
    arguments.iter().filter(breaks).map(warn).collect()
}

/// A string literal of Go (<https://pkg.go.dev/strconv#Quote>).
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            ' '..='~' => out.push(letter),
            '\0'..='\u{7f}' => out.push_str(&format!("\\x{:02x}", u32::from(letter))),
            _ if letter.escape_debug().count() == 1 && !letter.is_whitespace() => out.push(letter),
            '\u{80}'..='\u{ffff}' => out.push_str(&format!("\\u{:04x}", u32::from(letter))),
            _ => out.push_str(&format!("\\U{:08x}", u32::from(letter))),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
#[path = "kubelet_flags_tests.rs"]
mod tests;
