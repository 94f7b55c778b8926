//! The fields of the FirstbootConfiguration that use the machine's facts.

use super::check::Problems;
use super::documents::shown;
use super::fields::Fields;
use super::kubelet_arguments;
use super::model::{FromFacts, NodeIp, Wanted};
use super::strict::refuse;
use super::template;
use crate::error::Result;
use crate::kubernetes::labels::{is_allowed, is_key};

pub(super) fn read(fields: &mut Fields<'_>, problems: &mut Problems) -> Result<FromFacts> {
    Ok(FromFacts {
        provider_id: template(fields, "providerID", problems)?,
        node_name: template(fields, "nodeName", problems)?,
        node_ip: node_ip(fields, problems)?,
        labels: labels(fields, problems)?,
    })
}

fn template(fields: &mut Fields<'_>, name: &'static str, problems: &mut Problems) -> Result<Option<String>> {
    let Some(text) = fields.text(name)?.filter(|text| !text.is_empty()) else { return Ok(None) };
    check(&fields.path(name), &text, problems);
    Ok(Some(text))
}

fn check(path: &str, text: &str, problems: &mut Problems) {
    if let Err(wrong) = template::check(text) {
        problems.invalid(path, text, &wrong.to_string());
    }
}

fn node_ip(fields: &mut Fields<'_>, problems: &mut Problems) -> Result<NodeIp> {
    let Some(text) = fields.text("nodeIP")? else { return Ok(NodeIp::default()) };
    let parsed = NodeIp::parse(&text);
    if parsed.is_none() {
        problems.invalid(
            &fields.path("nodeIP"),
            &text,
            "must be auto, private, public, none, an IP address, or an IPv4 and an IPv6 address",
        );
    }
    if matches!(parsed, Some(NodeIp::Address(_) | NodeIp::Both(..))) {
        kubelet_arguments::addresses(&fields.path("nodeIP"), &text, problems);
    }
    Ok(parsed.unwrap_or_default())
}

fn labels(fields: &mut Fields<'_>, problems: &mut Problems) -> Result<Wanted> {
    let Some(mut labels) = fields.fields("nodeLabels")? else { return Ok(Wanted::default()) };
    let wanted = Wanted {
        topology: labels.flag("topology")?.unwrap_or(true),
        tags: labels.texts("tags")?,
        labels: labels.text_map("labels")?,
    };
    for (key, text) in &wanted.labels {
        let path = labels.path(&format!("labels.{}", shown(key)));
        if !is_key(key) {
            problems.invalid(&path, key, "this is no name of a label");
        } else if !is_allowed(key) {
            problems.invalid(&path, key, "a node may not give itself this label");
        }
        check(&path, text, problems);
    }
    if wanted.tags.iter().any(|tag| tag.is_empty()) {
        problems.invalid(&labels.path("tags"), "", "a tag has a name");
    }
    let mut unknown = Vec::new();
    labels.finish(&mut unknown);
    unknown.iter().for_each(|field| refuse(field, problems));
    Ok(wanted)
}
