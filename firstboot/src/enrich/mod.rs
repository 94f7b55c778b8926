//! Facts of the machine into its node config: name, provider-id, address, labels. Pure.
//!
//! ```text
//! Facts, Source ─► KnownFacts ─► node name (template), and the kubelet's arguments provider-id, node-ip, node-labels
//! ```
//!
//! The config always wins: an argument or a label that it sets is not set again. Arguments from facts are in
//! [`NodeConfig::from_facts`], apart from the document: they are used when a machine joins, and a change of
//! them does not make it join again (see `NodeConfig::fingerprint`).

pub mod afterburn;
pub mod labels;
pub mod name;
pub mod node_ip;
pub mod variables;

use std::net::IpAddr;

use crate::config::model::{Argument, Discovery, NodeConfig};
use crate::config::template::{self, TemplateError, Variables};
use crate::error::Result;
use crate::facts::Facts;
use crate::kubernetes::version::Version;
use crate::platforms::Platform;

/// The facts of a machine that complete its node config.
#[derive(Debug)]
pub struct KnownFacts<'a> {
    pub(crate) facts: &'a Facts,
    /// The platform, which has templates; none if there is no platform.
    pub source: Option<&'static Platform>,
    pub(crate) variables: Variables,
    /// The addresses of its interfaces; none for a folder, which has no interfaces.
    pub interfaces: Option<Vec<IpAddr>>,
    /// The kubelet's version, if it is known.
    pub kubelet: Option<Version>,
}

/// Fills facts into the config. Returns notices for the operator.
pub fn enrich(config: &mut NodeConfig, known: &KnownFacts) -> Result<Vec<String>> {
    let mut notices = Vec::new();
    let filled = fill(config, known, &mut notices);
    filled.map_err(|failure| failure.after(&notices)).map(|()| notices)
}

fn fill(config: &mut NodeConfig, known: &KnownFacts, notices: &mut Vec<String>) -> Result<()> {
    if let Some(template) = &config.agent.from_facts.node_name {
        config.join.node.name = name::by_template(template, &known.variables, notices)?;
    }
    let found = [
        ("node-ip", node_ip(config, known, notices)?),
        ("node-labels", labels::labels(config, known, notices)?),
        ("provider-id", provider_id(config, known, notices)?),
    ];
    config.from_facts = Vec::new();
    for (name, value) in found.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        match plain(name, value) {
            Ok(value) => config.from_facts.push(Argument { name: name.to_owned(), value }),
            Err(wrong) => notices.push(format!("no {name}: {wrong}")),
        }
    }
    Ok(())
}

fn node_ip(config: &NodeConfig, known: &KnownFacts, notices: &mut Vec<String>) -> Result<Option<String>> {
    if config.has_argument("node-ip") {
        return Ok(None);
    }
    let is_v6 = match &config.join.discovery {
        Discovery::Token { endpoints, .. } | Discovery::RequestedToken { endpoints, .. } => endpoints
            .first()
            .and_then(|endpoint| endpoint.host.parse().ok())
            .map(|ip: IpAddr| ip.is_ipv6()),
        Discovery::File(_) | Discovery::Url(_) => None,
    };
    let addresses = node_ip::Addresses {
        platform: known.facts.addresses.value().map(Vec::as_slice).unwrap_or_default(),
        interfaces: known.interfaces.as_deref(),
        is_v6,
        cloud_provider: config.argument("cloud-provider").unwrap_or_default(),
        kubelet: known.kubelet,
    };
    node_ip::choose(config.agent.from_facts.node_ip, &addresses, notices)
}

/// The config's template; else the provider-id of the platform's metadata; else the platform's template, if
/// all its variables are known.
fn provider_id(config: &NodeConfig, known: &KnownFacts, notices: &mut Vec<String>) -> Result<Option<String>> {
    let is_configured = config
        .kubelet
        .as_ref()
        .and_then(|kubelet| kubelet.get("providerID"))
        .is_some_and(|id| id != "" && !id.is_null());
    if config.has_argument("provider-id") || is_configured {
        return Ok(None);
    }
    if let Some(template) = &config.agent.from_facts.provider_id {
        let id = template::expand(template, &known.variables).and_then(|id| plain("providerID", id));
        return id.map(Some).map_err(|wrong| wrong.failure("providerID"));
    }
    let said = known.facts.provider_id.value().map(|id| Ok(id.clone()));
    let by_template = || {
        known
            .source
            .and_then(|source| source.provider_id)
            .map(|template| template::expand(template, &variables::of_platform(known)))
    };
    match said.or_else(by_template) {
        Some(Err(wrong)) => {
            notices.push(format!("no provider-id: {wrong}"));
            Ok(None)
        }
        id => Ok(id.and_then(std::result::Result::ok)),
    }
}

/// Refuses text that is more than a name: facts are not signed, and must mean nothing to a shell, to systemd
/// or to the kubelet's lists. Names of Azure's resource groups may have parentheses and letters of any
/// script.
fn plain(what: &str, text: String) -> std::result::Result<String, TemplateError> {
    let is_plain = |letter: char| letter.is_alphanumeric() || "-._~:/@+,=()".contains(letter);
    if !text.is_empty() && text.len() <= LONGEST && text.chars().all(is_plain) {
        Ok(text)
    } else {
        let message = format!(
            "{what} is empty, too long, or has other characters than letters, digits and -._~:/@+,=()"
        );
        Err(TemplateError::Text(message))
    }
}

/// Longest argument: all labels that a node may get from tags.
const LONGEST: usize = 32 * 1024;

#[cfg(test)]
#[path = "enrich_tests.rs"]
mod tests;
