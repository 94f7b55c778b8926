//! Facts of the machine into its node config: name, provider-id, address, labels. Pure.
//!
//! ```text
//! Facts, Source ─► KnownFacts ─► node name (template), and the kubelet's arguments provider-id, node-ip, node-labels
//! ```
//!
//! What the user says himself always counts: an argument that he gives is not given again, a label that he sets is not set again. What comes of
//! facts lies in [`NodeConfig::from_facts`], apart from what was written: it is used when a machine joins, and does not make one join again
//! (see `NodeConfig::fingerprint`).

pub mod cloud_init;
pub mod labels;
pub mod name;
pub mod node_ip;
pub mod variables;

use std::net::IpAddr;

use crate::config::model::{Argument, Discovery, NodeConfig};
use crate::config::template::{self, TemplateError, Variables};
use crate::error::Result;
use crate::facts::Facts;
use crate::platforms::Platform;

/// What is known of a machine when its node config is completed.
#[derive(Debug)]
pub struct KnownFacts<'a> {
    /// The facts.
    pub facts: &'a Facts,
    /// The source of its platform, which has templates; none without a platform.
    pub source: Option<&'static Platform>,
    /// The variables of templates.
    pub variables: Variables,
    /// The addresses of its interfaces; none for a folder, which has no interfaces.
    pub interfaces: Option<Vec<IpAddr>>,
}

/// Completes the config by what is known; returns what a person should know of that.
pub fn enrich(config: &mut NodeConfig, known: &KnownFacts) -> Result<Vec<String>> {
    let mut notices = Vec::new();
    if let Some(template) = &config.agent.from_facts.node_name {
        config.join.node.name = name::by_template(template, &known.variables, &mut notices)?;
    }
    let mut arguments = Vec::new();
    let mut add = |name: &str, value: Option<String>| {
        arguments.extend(value.map(|value| Argument { name: name.to_owned(), value }))
    };
    add("node-ip", node_ip(config, known)?);
    add("node-labels", labels::labels(config, known, &mut notices)?);
    add("provider-id", provider_id(config, known, &mut notices)?);
    config.from_facts = arguments;
    Ok(notices)
}

fn node_ip(config: &NodeConfig, known: &KnownFacts) -> Result<Option<String>> {
    if config.has_argument("node-ip") {
        return Ok(None);
    }
    let addresses = known.facts.addresses.value().map(Vec::as_slice).unwrap_or_default();
    let is_v6 = match &config.join.discovery {
        Discovery::Token { endpoints, .. } | Discovery::RequestedToken { endpoints, .. } => endpoints
            .first()
            .and_then(|endpoint| endpoint.host.parse().ok())
            .map(|ip: IpAddr| ip.is_ipv6()),
        Discovery::File(_) | Discovery::Url(_) => None,
    };
    let ip = node_ip::choose(config.agent.from_facts.node_ip, addresses, known.interfaces.as_deref(), is_v6)?;
    Ok(ip.map(|ip| ip.to_string()))
}

/// The template of the config; else what the platform itself says; else the template of its source, if all it names is known.
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
            .map(|template| template::expand(template, &known.variables))
    };
    match said
        .or_else(by_template)
        .map(|id| id.and_then(|id| plain("the platform's provider-id", id)))
    {
        Some(Err(wrong)) => {
            notices.push(format!("no provider-id: {wrong}"));
            Ok(None)
        }
        id => Ok(id.and_then(std::result::Result::ok)),
    }
}

/// What the kubelet's command line can hold.
fn plain(what: &str, text: String) -> std::result::Result<String, TemplateError> {
    let is_odd = |letter: char| letter.is_whitespace() || letter.is_control() || "\"'\\".contains(letter);
    let is_good = !text.is_empty() && text.len() <= LONGEST && !text.contains(is_odd);
    if is_good {
        Ok(text)
    } else {
        Err(TemplateError::Text(format!("{what} is empty, too long, or has blanks or quotes in it")))
    }
}

/// Longest provider-id; Azure's have some 250 characters.
const LONGEST: usize = 1024;

#[cfg(test)]
#[path = "enrich_tests.rs"]
mod tests;
