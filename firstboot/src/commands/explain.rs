//! `firstboot explain`: the platform, the facts with their origins, and what a join would do on this machine.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::checkpoint::Checkpoint;
use crate::cli::request;
use crate::config::model::{Argument, Discovery};
use crate::error::{Failure, Result};
use crate::host::cri;
use crate::join::{image, kubelet_flags, roles};
use crate::kubernetes::features::{KubeletFeatures, NODE_LOCAL_CRI_SOCKET};
use crate::kubernetes::version::Version;
use crate::machine;
use crate::metadata::Metadata;
use crate::net::url;
use crate::output::indented;
use crate::report;
use crate::run::{Console, ResolvedConfig, Session, earlier, extra_files, name_for_host, node_config};
use crate::trust_policy::TrustPolicy;

/// Returns the output. The metadata is read as a join would read it; nothing is changed, and the cluster is
/// not asked. A config that cannot be read, or that a join refuses, is an error, after everything else is
/// printed.
pub fn explain(request: &request::Join, console: Console) -> Result<String> {
    let (record, refused) = look(&Session::new(&request.common.root, console), request)?;
    let text = printed(&record, console.json);
    match refused {
        None => Ok(text),
        Some(failure) => {
            console.print_raw(text.trim_end());
            Err(failure)
        }
    }
}

/// What there is to say, and why a run would fail for it.
fn look(session: &Session, request: &request::Join) -> Result<(Record, Option<Failure>)> {
    let (mut metadata, failed) = known(session);
    let resolved = match failed {
        failed if node_config::is_given(&request.flags) => {
            given(session, request, &metadata, failed).map(Some)
        }
        Some(failure) => Err(failure),
        None => node_config::of_machine(session, &mut metadata),
    };
    let mut record = about(&metadata, session.policy()?);
    match resolved {
        Ok(Some(resolved)) => {
            match join(session, &resolved, &metadata) {
                Ok(rows) => record.extend(rows),
                Err(failure) => return Ok((record, Some(failure))),
            }
            let reports = report::planned(resolved.config.agent.report.as_deref(), &metadata.facts);
            record.push(("reports", json!(reports)));
            Ok((record, roles::of(resolved.config.join.role, session.root).err()))
        }
        Ok(None) => {
            record.push(("config", json!("no node config found")));
            record.push(("earlier run", json!(earlier::foreseen(session, None, metadata.platform)?)));
            Ok((record, None))
        }
        Err(failure) => Ok((record, Some(failure))),
    }
}

/// The metadata. If it cannot be read, only the platform, and the failure.
fn known(session: &Session) -> (Metadata, Option<Failure>) {
    let mut metadata = Metadata::default();
    let gathered = session.detect().and_then(|detection| {
        (metadata.platform, metadata.seen) = (detection.platform, detection.seen.clone());
        session.gather(detection)
    });
    match gathered {
        Ok(gathered) => (gathered, None),
        Err(failure) => (metadata, Some(failure)),
    }
}

/// The config of the flags, with facts where it asks for them. `failed` is why there are none.
fn given(
    session: &Session,
    request: &request::Join,
    metadata: &Metadata,
    failed: Option<Failure>,
) -> Result<ResolvedConfig> {
    let mut resolved = node_config::of_flags(session.root, &request.flags)?;
    if node_config::asks_for_facts(&resolved.config) {
        failed.map_or(Ok(()), Err)?;
        node_config::complete(session, &mut resolved.config, metadata)?;
    }
    Ok(resolved)
}

/// The rows of the output, in this order.
type Record = Vec<(&'static str, Value)>;

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

/// Columns before a value.
const INDENT: usize = 17;
/// The row that has further rows.
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
        Value::String(text) => indented(text, INDENT),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) => items.iter().map(shown).collect::<Vec<_>>().join(&format!("\n{:INDENT$}", "")),
        other => other.to_string(),
    }
}

/// Platform, trust policy and facts.
fn about(metadata: &Metadata, policy: &TrustPolicy) -> Record {
    let restrictions = policy.sentences();
    let everything = || json!("none: any recognized platform is accepted");
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

/// The plan of a join.
fn join(session: &Session, resolved: &ResolvedConfig, metadata: &Metadata) -> Result<Record> {
    let (root, config) = (session.root, &resolved.config);
    let machine = session.machine()?;
    let kubelet = machine::kubelet_version(root);
    let detected = || cri::detect_socket(root, kubelet.as_ref().map_or(u16::MAX, |version| version.minor));
    let socket = config.join.node.cri_socket.clone().map_or_else(detected, Ok);
    let has_configuration = image::kubelet_configuration(root)?.is_some();
    let undecided = undecided(kubelet.as_ref().ok().copied(), has_configuration);
    let checkpoint = Checkpoint::read(root)?;
    let done = |phase: &str| {
        checkpoint
            .as_ref()
            .is_some_and(|checkpoint| checkpoint.phases.iter().any(|finished| finished.phase == phase))
    };
    let phases: Vec<String> = match roles::of(config.join.role, root) {
        Ok(role) => role
            .phases
            .iter()
            .map(|phase| format!("{}{}", phase.name, if done(phase.name) { " (done)" } else { "" }))
            .collect(),
        Err(refusal) => vec![format!("none: {}", refusal.message)],
    };
    Ok(vec![
        ("config", json!(resolved.source)),
        ("earlier run", json!(earlier::foreseen(session, Some(resolved), metadata.platform)?)),
        ("node", json!(config.node_name())),
        ("host name", json!(name_for_host(session, config))),
        ("extra files", json!(extra_files::foreseen(root, &resolved.files, config))),
        ("sentinel", json!(resolved.sentinel)),
        ("machine", json!(machine.identity)),
        ("services", json!(format!("{:?}", machine.services).to_lowercase())),
        ("kubelet", json!(kubelet.map_or_else(|failure| failure.message, |version| version.to_string()))),
        ("kubelet config", json!(if has_configuration { "the image's" } else { "the cluster's" })),
        ("runtime", json!(socket.unwrap_or_else(|failure| failure.message))),
        ("discovery", json!(discovery(&config.join.discovery))),
        ("arguments", json!(arguments(&config.join.node.kubelet_extra_args))),
        ("from facts", json!(arguments(&config.from_facts))),
        ("labels", json!(config.labels())),
        ("taints", json!(kubelet_flags::taints(config))),
        ("of the cluster", json!(undecided)),
        ("phases", json!(phases)),
        ("warnings", json!(config.warnings)),
    ])
}

/// What the cluster decides: it is not asked here.
fn undecided(kubelet: Option<Version>, has_configuration: bool) -> Vec<String> {
    let gated = |is_on| BTreeMap::from([(NODE_LOCAL_CRI_SOCKET.to_owned(), is_on)]);
    let with_gate = |is_on| kubelet.map(|version| KubeletFeatures::of(version, &gated(is_on)));
    let is_gated = with_gate(true) != with_gate(false);
    let has_pause_image = with_gate(false).is_some_and(|features| features.pause_tag.is_some());
    let rows = [
        (true, "whether this version of the kubelet fits that of the API server"),
        (!has_configuration, "the kubelet's configuration, to which that of this node config is added"),
        (
            is_gated,
            "whether --container-runtime-endpoint or instance-config.yaml names the runtime: NodeLocalCRISocket",
        ),
        (has_pause_image, "the registry in --pod-infra-container-image: imageRepository"),
        (kubelet.is_none(), "kubeadm's own arguments: they also depend on the kubelet's version"),
    ];
    rows.iter().filter(|(is_open, _)| *is_open).map(|(_, text)| (*text).to_owned()).collect()
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
        Discovery::RequestedToken { endpoints, pins, .. } => {
            let servers = endpoints.iter().map(|endpoint| format!("https://{endpoint}"));
            servers
                .chain(pins.iter().map(|pin| format!("pinned sha256:{pin}")))
                .chain(["with a token that is asked for".to_owned()])
                .collect()
        }
        Discovery::File(path) => vec![format!("file {}", path.display())],
        Discovery::Url(url) => vec![format!("URL {}", url::shown(url))],
    }
}

#[cfg(test)]
#[path = "explain_tests.rs"]
mod tests;
