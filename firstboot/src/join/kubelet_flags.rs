//! The kubelet's command line as kubeadm writes it to `/var/lib/kubelet/kubeadm-flags.env`.

use contract::runtime;

use crate::config::model::{Argument, NodeConfig, NodeRegistration, Taint};
use crate::error::{ErrorKind, Failure, Result};
use crate::kubernetes::features::KubeletFeatures;
use crate::kubernetes::flags_file;

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
    let docker = runtime::is_in_kubelet(inputs.cri_socket);
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
    let taints = own_taints(node);
    add(!taints.is_empty(), TAINTS, taints.join(","));
    let hostname = inputs.hostname.trim().to_lowercase();
    add(node.name != hostname, "hostname-override", node.name.clone());
    defaults
}

/// The argument with the taints of the node.
const TAINTS: &str = "register-with-taints";

/// The taints that the node registers with, as far as the config tells: those of the last such argument if it
/// sets any, else the node's own, else those of the kubelet's configuration.
pub fn taints(config: &NodeConfig) -> Vec<String> {
    let own = own_taints(&config.join.node);
    match config.argument(TAINTS) {
        Some(list) => list.split(',').map(str::to_owned).collect(),
        None if own.is_empty() => {
            config.kubelet.iter().flat_map(Taint::of_document).map(|taint| written(&taint)).collect()
        }
        None => own,
    }
}

fn own_taints(node: &NodeRegistration) -> Vec<String> {
    node.taints.iter().flatten().map(written).collect()
}

/// `key=value:Effect`; without a value `key:Effect`.
fn written(taint: &Taint) -> String {
    match (taint.value.as_str(), taint.effect.as_str()) {
        ("", "") => taint.key.clone(),
        ("", effect) => format!("{}:{effect}", taint.key),
        (value, effect) => format!("{}={value}:{effect}", taint.key),
    }
}

/// The file with these arguments, for a kubelet whose service's manager evaluates the variable or not.
pub fn environment_file(arguments: &[Argument], is_evaluated: bool) -> Result<String> {
    let written = arguments.iter().map(|argument| {
        flags_file::argument(&argument.name, &argument.value, is_evaluated)
            .ok_or_else(|| unwritable(argument))
    });
    Ok(flags_file::file(&written.collect::<Result<Vec<_>>>()?))
}

fn unwritable(argument: &Argument) -> Failure {
    let name = argument.name.escape_debug();
    let message = format!("kubeadm-flags.env cannot hold the value of the kubelet argument \"{name}\"");
    Failure::new(ErrorKind::Config, message).help(flags_file::HELP)
}

#[cfg(test)]
#[path = "kubelet_flags_tests.rs"]
mod tests;
