//! Labels of the node: region, zone, instance type, and chosen tags of the platform.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::KnownFacts;
use crate::config::model::{NodeConfig, Wanted};
use crate::config::template;
use crate::error::Result;
use crate::kubernetes::labels::{is_allowed, key_of_tag, sanitised};

/// The facts that become labels by themselves.
const TOPOLOGY: &[(&str, &str)] = &[
    ("topology.kubernetes.io/region", "region"),
    ("topology.kubernetes.io/zone", "zone"),
    ("node.kubernetes.io/instance-type", "instance-type"),
];

/// Labels that a node gets from tags at most: platforms allow 50 to 64 tags.
const MOST: usize = 64;

/// The value of the kubelet's argument `node-labels`: only labels that the config does not set; none if there
/// are none.
pub(super) fn labels(
    config: &NodeConfig,
    known: &KnownFacts,
    notices: &mut Vec<String>,
) -> Result<Option<String>> {
    let wanted = &config.agent.from_facts.labels;
    let mut found = BTreeMap::new();
    for (key, template) in &wanted.labels {
        match template::expand(template, &known.variables) {
            Ok(value) => put(&mut found, key.clone(), &value, "nodeLabels.labels", notices),
            Err(template::TemplateError::Missing(name)) => {
                notices.push(format!("no label {key}: the {name} of this machine is not known"))
            }
            Err(wrong) => return Err(wrong.failure(&format!("nodeLabels.labels.{key}"))),
        }
    }
    for (key, fact) in TOPOLOGY.iter().filter(|_| wanted.topology) {
        if let Some(value) = known.facts.text(fact) {
            put(&mut found, (*key).to_owned(), value, fact, notices);
        }
    }
    tags(wanted, known, &mut found, notices);
    own(config).iter().for_each(|key| drop(found.remove(key)));
    let pairs: Vec<String> = found.into_iter().map(|(key, value)| format!("{key}={value}")).collect();
    Ok((!pairs.is_empty()).then(|| pairs.join(",")))
}

fn tags(
    wanted: &Wanted,
    known: &KnownFacts,
    found: &mut BTreeMap<String, String>,
    notices: &mut Vec<String>,
) {
    let is_wanted = |tag: &str| {
        wanted.tags.iter().any(|name| match name.strip_suffix('*') {
            Some(prefix) => tag.starts_with(prefix),
            None => tag == name,
        })
    };
    let tags = known.facts.tags.value().into_iter().flatten().filter(|(tag, _)| is_wanted(tag));
    for (tag, value) in tags.take(MOST) {
        match key_of_tag(tag) {
            Some(key) => put(found, key, value, &format!("the tag {tag:?}"), notices),
            None => {
                notices.push(format!("the tag {tag:?} is no label: nothing of its name can stand in one"))
            }
        }
    }
}

fn put(
    found: &mut BTreeMap<String, String>,
    key: String,
    value: &str,
    origin: &str,
    notices: &mut Vec<String>,
) {
    if !is_allowed(&key) {
        notices.push(format!("no label {key} (of {origin}): a node may not give itself this one"));
        return;
    }
    match found.entry(key) {
        Entry::Occupied(entry) => {
            notices.push(format!("the label {} is set already: {origin} does not count", entry.key()))
        }
        Entry::Vacant(entry) => {
            let held = sanitised(value);
            if held != value {
                notices
                    .push(format!("the label {} is {held:?}: it cannot hold all of {origin}", entry.key()));
            }
            entry.insert(held);
        }
    }
}

/// The labels that the config sets.
fn own(config: &NodeConfig) -> Vec<String> {
    let values = config
        .join
        .node
        .kubelet_extra_args
        .iter()
        .filter(|argument| argument.name == "node-labels");
    let pairs = values.flat_map(|argument| argument.value.split(','));
    pairs.map(|pair| pair.split('=').next().unwrap_or_default().trim().to_owned()).collect()
}
