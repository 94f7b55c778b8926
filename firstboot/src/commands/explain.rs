//! `firstboot explain`: where this machine is, what is known of it and who said so, and what a join would do here.

use serde_json::{Value, json};

use super::config::{self, Sourced};
use super::tell::Tell;
use crate::cli::request;
use crate::config::model::{Argument, Discovery};
use crate::error::{Failure, Result};
use crate::evidence::Evidence;
use crate::host::cri;
use crate::host::root::Root;
use crate::join::{image, phases};
use crate::journal::Journal;
use crate::machine::{self, Machine};
use crate::metadata::Metadata;
use crate::platforms::detect::detect;
use crate::policy::Policy;
use crate::report;

/// Returns what to print. The platform's metadata is read as a join would read it; nothing is changed, and no cluster is asked. A config that
/// cannot be read is an error, once everything else is printed.
pub fn explain(request: &request::Join, tell: Tell) -> Result<String> {
    let root = &request.common.root;
    let (mut metadata, failed) = known(root, tell);
    let sourced = match failed {
        failed if config::is_given(&request.flags) => given(request, &metadata, failed, tell).map(Some),
        Some(failure) => Err(failure),
        None => config::of_machine(root, &mut metadata, tell),
    };
    let mut record = about(&metadata, &Policy::of(root)?);
    match sourced {
        Ok(Some(sourced)) => {
            record.extend(join(root, &sourced)?);
            record.push(("reports", json!(report::planned(&sourced.config, &metadata.facts))));
        }
        Ok(None) => record.push(("config", json!("no source has a node config"))),
        Err(failure) => return unreadable(&record, failure, request.common.json, tell),
    }
    Ok(printed(&record, request.common.json))
}

/// What is known of the machine; where its metadata cannot be read, what kind of machine it is, and why there is no more.
fn known(root: &Root, tell: Tell) -> (Metadata, Option<Failure>) {
    let mut metadata = Metadata::default();
    let gathered = Policy::of(root).and_then(|policy| {
        let evidence = Evidence::of(root);
        let detection = detect(&evidence, policy.platform.as_deref())?;
        (metadata.platform, metadata.seen) = (detection.platform, detection.seen.clone());
        config::gather_at(&evidence, detection, &policy, tell)
    });
    match gathered {
        Ok(gathered) => (gathered, None),
        Err(failure) => (metadata, Some(failure)),
    }
}

/// The config that the flags give, completed where it asks for that; then `failed` says why nothing is known.
fn given(
    request: &request::Join,
    metadata: &Metadata,
    failed: Option<Failure>,
    tell: Tell,
) -> Result<Sourced> {
    let root = &request.common.root;
    let mut sourced = config::of_flags(&request.flags, root)?;
    if config::asks_for_facts(&sourced.config) {
        failed.map_or(Ok(()), Err)?;
        config::complete(&mut sourced.config, root, metadata, tell)?;
    }
    Ok(sourced)
}

/// What is shown, in this order.
type Record = Vec<(&'static str, Value)>;

fn unreadable(record: &Record, failure: Failure, json: bool, tell: Tell) -> Result<String> {
    tell.raw(printed(record, json).trim_end());
    Err(failure)
}

fn printed(record: &Record, json: bool) -> String {
    if json {
        let object = record.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        return format!("{}\n", Value::Object(object));
    }
    let rows = record.iter().filter(|(name, value)| !value.is_null() && *name != FACTS);
    let mut text: String = rows.map(|(name, value)| format!("{name:<16} {}\n", shown(value))).collect();
    let facts = record.iter().find(|(name, _)| *name == FACTS).and_then(|(_, facts)| facts.as_object());
    for (name, fact) in facts.into_iter().flatten() {
        text.push_str(&format!("{name:<16} {}\n", said(fact)));
        let others = fact.get("others").and_then(Value::as_array).into_iter().flatten();
        others.for_each(|other| text.push_str(&format!("{:<16} not {}\n", "", said(other))));
    }
    text
}

/// The row that has rows of its own.
const FACTS: &str = "facts";

/// `eu-west-1a (http://169.254.169.254/…)`
fn said(fact: &Value) -> String {
    let value = match &fact["value"] {
        Value::Array(items) => items.iter().map(shown).collect::<Vec<_>>().join(", "),
        value => shown(value),
    };
    format!("{value} ({})", shown(&fact["source"]))
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) => items.iter().map(shown).collect::<Vec<_>>().join("\n                 "),
        other => other.to_string(),
    }
}

/// Where the machine is, and what is known of it.
fn about(metadata: &Metadata, policy: &Policy) -> Record {
    let restrictions = policy.sentences();
    let everything = || json!("everything that is recognised is believed");
    let known = |is_known: bool, value: Value| if is_known { value } else { Value::Null };
    let others: Vec<String> = metadata.others.iter().map(|(name, seen)| format!("{name}: {seen}")).collect();
    vec![
        ("platform", json!(metadata.platform.map_or("none", |platform| platform.name))),
        ("seen", known(!metadata.seen.is_empty(), json!(metadata.seen))),
        ("not believed", known(!others.is_empty(), json!(others))),
        ("policy", if restrictions.is_empty() { everything() } else { json!(restrictions) }),
        ("remarks", known(!metadata.notices.is_empty(), json!(metadata.notices))),
        (FACTS, metadata.facts.json()),
    ]
}

/// What a join would do.
fn join(root: &Root, sourced: &Sourced) -> Result<Record> {
    let config = &sourced.config;
    let machine = Machine::read(root)?;
    let kubelet = machine::kubelet_version(root);
    let detected = || cri::detect_socket(root, kubelet.as_ref().map_or(u16::MAX, |version| version.minor));
    let socket = config.join.node.cri_socket.clone().map_or_else(detected, Ok);
    let journal = Journal::read(root)?;
    let done = |phase: &str| {
        journal
            .as_ref()
            .is_some_and(|entries| entries.phases.iter().any(|finished| finished.phase == phase))
    };
    let phases: Vec<String> = phases::ALL
        .iter()
        .map(|phase| format!("{}{}", phase.name, if done(phase.name) { " (done)" } else { "" }))
        .collect();
    Ok(vec![
        ("config", json!(sourced.source)),
        ("node", json!(config.node_name())),
        ("machine", json!(machine.identity)),
        ("services", json!(format!("{:?}", machine.services).to_lowercase())),
        ("kubelet", json!(kubelet.map_or_else(|failure| failure.message, |version| version.to_string()))),
        (
            "kubelet config",
            json!(if image::kubelet_configuration(root)?.is_some() {
                "the image's"
            } else {
                "the cluster's"
            }),
        ),
        ("runtime", json!(socket.unwrap_or_else(|failure| failure.message))),
        ("discovery", json!(discovery(&config.join.discovery))),
        ("arguments", json!(arguments(&config.join.node.kubelet_extra_args))),
        ("from facts", json!(arguments(&config.from_facts))),
        ("phases", json!(phases)),
        ("warnings", json!(config.warnings)),
    ])
}

fn arguments(arguments: &[Argument]) -> Vec<String> {
    arguments
        .iter()
        .map(|argument| format!("--{}={}", argument.name, argument.value))
        .collect()
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
            servers
                .chain([format!("token {} (its secret is not shown)", token.id())])
                .chain(trust)
                .collect()
        }
        Discovery::Asked { endpoints, pins, .. } => {
            let servers = endpoints.iter().map(|endpoint| format!("https://{endpoint}"));
            servers
                .chain(pins.iter().map(|pin| format!("pinned sha256:{pin}")))
                .chain(["with a token that is asked for".to_owned()])
                .collect()
        }
        Discovery::File(path) => vec![format!("file {}", path.display())],
        Discovery::Url(url) => vec![format!("URL {}", url.split('?').next().unwrap_or_default())],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::files;

    #[test]
    fn the_platform_is_told_although_its_metadata_cannot_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        files::write(&root.path("/usr/lib/kiln/policy.json"), br#"{"platform": "nutanix"}"#, files::PUBLIC)
            .unwrap();
        files::write(&root.path("/proc/cmdline"), b"firstboot.source-deadline=soon\n", files::PUBLIC)
            .unwrap();
        let (metadata, failed) = known(&root, Tell { json: false });
        assert_eq!(metadata.platform.map(|platform| platform.name), Some("nutanix"));
        assert!(failed.unwrap().message.contains("is no number of seconds"));
    }
}
