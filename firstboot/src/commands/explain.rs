//! `firstboot explain`: what a join would do here, and where that was said.

use serde_json::{Value, json};

use super::config::{Sourced, by_hand};
use super::tell::Tell;
use crate::cli::request;
use crate::config::model::Discovery;
use crate::error::Result;
use crate::host::cri;
use crate::host::root::Root;
use crate::join::{image, phases};
use crate::journal::Journal;
use crate::machine::{self, Machine};

/// Returns what to print; nothing is asked of the network, except for a config that the kernel command line names by URL.
pub fn explain(request: &request::Join, tell: Tell) -> Result<String> {
    let root = &request.common.root;
    let sourced = by_hand(&request.flags, root, tell)?;
    let facts = facts(root, &sourced)?;
    if request.common.json {
        return Ok(format!("{facts}\n"));
    }
    let rows = facts.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    Ok(rows.map(|(name, value)| format!("{name:<16} {}\n", shown(value))).collect())
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) => items.iter().map(shown).collect::<Vec<_>>().join("\n                 "),
        other => other.to_string(),
    }
}

fn facts(root: &Root, sourced: &Sourced) -> Result<Value> {
    let config = &sourced.config;
    let machine = Machine::read(root)?;
    let kubelet = machine::kubelet_version(root);
    let detected = || cri::detect_socket(root, kubelet.as_ref().map_or(u16::MAX, |version| version.minor));
    let socket = config.join.node.cri_socket.clone().map_or_else(detected, Ok);
    let journal = Journal::read(root)?;
    let done = |phase: &str| journal.as_ref().is_some_and(|entries| entries.phases.iter().any(|finished| finished.phase == phase));
    let phases: Vec<String> =
        phases::ALL.iter().map(|phase| format!("{}{}", phase.name, if done(phase.name) { " (done)" } else { "" })).collect();
    Ok(json!({
        "config": sourced.source,
        "node": config.node_name(),
        "machine": machine.identity,
        "services": format!("{:?}", machine.services).to_lowercase(),
        "kubelet": kubelet.map_or_else(|failure| failure.message, |version| version.to_string()),
        "kubelet config": if image::kubelet_configuration(root)?.is_some() { "the image's" } else { "the cluster's" },
        "runtime": socket.unwrap_or_else(|failure| failure.message),
        "discovery": discovery(&config.join.discovery),
        "arguments": config.join.node.kubelet_extra_args.iter().map(|argument| format!("--{}={}", argument.name, argument.value)).collect::<Vec<_>>(),
        "phases": phases,
        "warnings": config.warnings,
    }))
}

fn discovery(discovery: &Discovery) -> Vec<String> {
    match discovery {
        Discovery::Token { endpoints, token, pins, unsafe_skip_ca_verification } => {
            let trust = if *unsafe_skip_ca_verification && pins.is_empty() {
                vec!["trusted by the token's signature alone".to_owned()]
            } else {
                pins.iter().map(|pin| format!("pinned sha256:{pin}")).collect()
            };
            let servers = endpoints.iter().map(|endpoint| format!("https://{endpoint}"));
            servers.chain([format!("token {} (its secret is not shown)", token.id())]).chain(trust).collect()
        }
        Discovery::File(path) => vec![format!("file {}", path.display())],
        Discovery::Url(url) => vec![format!("URL {}", url.split('?').next().unwrap_or_default())],
    }
}
