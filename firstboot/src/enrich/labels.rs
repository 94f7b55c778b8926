//! Labels of the node: where it is, what it is, and chosen tags of the platform.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::{KnownFacts, template};
use crate::config::model::NodeConfig;
use crate::error::Result;

/// The facts that become labels by themselves.
const TOPOLOGY: &[(&str, &str)] = &[
    ("topology.kubernetes.io/region", "region"),
    ("topology.kubernetes.io/zone", "zone"),
    ("node.kubernetes.io/instance-type", "instance-type"),
];

/// Longest name (behind the slash) and value of a label.
const LONGEST: usize = 63;
/// Longest prefix (before the slash): a DNS subdomain.
const LONGEST_PREFIX: usize = 253;
/// Labels that a node gets from tags at most: platforms allow 50 to 64 tags.
const MOST: usize = 64;

/// Labels of the groups kubernetes.io and k8s.io that a node may give itself; so it may all whose prefix is, or ends in, one of [`OWN`]. The
/// kubelet does not start with any other, and the NodeRestriction admission plugin refuses them
/// (<https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#noderestriction>).
const ALLOWED: &[&str] = &[
    "kubernetes.io/hostname",
    "kubernetes.io/arch",
    "kubernetes.io/os",
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/instance-type",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
];
const OWN: &[&str] = &["kubelet.kubernetes.io", "node.kubernetes.io"];

/// Which labels are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Region, zone and kind of machine.
    pub topology: bool,
    /// Names of tags; one that ends in `*` stands for all that begin so.
    pub tags: Vec<String>,
    /// Labels by name, each with a template for its value.
    pub labels: Vec<(String, String)>,
}

impl Default for Wanted {
    fn default() -> Self {
        Self { topology: true, tags: Vec::new(), labels: Vec::new() }
    }
}

/// The value of the kubelet's argument `node-labels`: only labels that the user does not set himself; none when there is none.
pub(super) fn labels(
    config: &NodeConfig,
    known: &KnownFacts,
    remarks: &mut Vec<String>,
) -> Result<Option<String>> {
    let wanted = &config.agent.from_facts.labels;
    let mut found = BTreeMap::new();
    for (key, template) in &wanted.labels {
        match template::expand(template, &known.names) {
            Ok(value) => put(&mut found, key.clone(), &value, "nodeLabels.labels", remarks),
            Err(template::Wrong::Missing(name)) => {
                remarks.push(format!("no label {key}: the {name} of this machine is not known"))
            }
            Err(wrong) => return Err(wrong.failure(&format!("nodeLabels.labels.{key}"))),
        }
    }
    for (key, fact) in TOPOLOGY.iter().filter(|_| wanted.topology) {
        if let Some(value) = known.facts.text(fact) {
            put(&mut found, (*key).to_owned(), value, fact, remarks);
        }
    }
    tags(wanted, known, &mut found, remarks);
    own(config).iter().for_each(|key| drop(found.remove(key)));
    let pairs: Vec<String> = found.into_iter().map(|(key, value)| format!("{key}={value}")).collect();
    Ok((!pairs.is_empty()).then(|| pairs.join(",")))
}

fn tags(
    wanted: &Wanted,
    known: &KnownFacts,
    found: &mut BTreeMap<String, String>,
    remarks: &mut Vec<String>,
) {
    let is_wanted = |tag: &str| {
        wanted.tags.iter().any(|name| match name.strip_suffix('*') {
            Some(prefix) => tag.starts_with(prefix),
            None => tag == name,
        })
    };
    let tags = known.facts.tags.value().into_iter().flatten().filter(|(tag, _)| is_wanted(tag));
    for (tag, value) in tags.take(MOST) {
        match key(tag) {
            Some(key) => put(found, key, value, &format!("the tag {tag:?}"), remarks),
            None => {
                remarks.push(format!("the tag {tag:?} is no label: nothing of its name can stand in one"))
            }
        }
    }
}

fn put(
    found: &mut BTreeMap<String, String>,
    key: String,
    value: &str,
    origin: &str,
    remarks: &mut Vec<String>,
) {
    if !is_allowed(&key) {
        remarks.push(format!("no label {key} (of {origin}): a node may not give itself this one"));
        return;
    }
    match found.entry(key) {
        Entry::Occupied(entry) => {
            remarks.push(format!("the label {} is set already: {origin} does not count", entry.key()))
        }
        Entry::Vacant(entry) => drop(entry.insert(sanitised(value))),
    }
}

/// The labels that the user sets himself.
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

/// Whether a node may give itself this label.
pub fn is_allowed(key: &str) -> bool {
    let Some((prefix, _)) = key.split_once('/') else { return true };
    let is_in =
        |group: &str| prefix == group || prefix.strip_suffix(group).is_some_and(|front| front.ends_with('.'));
    !(is_in("kubernetes.io") || is_in("k8s.io")) || ALLOWED.contains(&key) || OWN.iter().any(|own| is_in(own))
}

/// Whether this can be the name of a label.
pub fn is_key(key: &str) -> bool {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    prefix.is_none_or(is_subdomain) && !name.is_empty() && sanitised(name) == name
}

/// A tag's name as the name of a label: what stands before the first slash stays a prefix if it can be one.
fn key(tag: &str) -> Option<String> {
    let (prefix, name) = match tag.split_once('/') {
        Some((prefix, name)) if is_subdomain(prefix) => (format!("{prefix}/"), name),
        _ => (String::new(), tag),
    };
    let name = sanitised(name);
    (!name.is_empty()).then(|| prefix + &name)
}

fn is_subdomain(prefix: &str) -> bool {
    crate::config::node_name_problem(prefix).is_none() && prefix.len() <= LONGEST_PREFIX
}

/// As much of a text as the value of a label can hold: letters, digits, `-_.` inside, letters and digits at both ends.
pub fn sanitised(text: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    let plain: String = text.chars().map(|letter| if is_plain(letter) { letter } else { '-' }).collect();
    let begun = plain.trim_start_matches(|letter: char| !letter.is_ascii_alphanumeric());
    let cut = begun.get(..LONGEST).unwrap_or(begun);
    cut.trim_end_matches(|letter: char| !letter.is_ascii_alphanumeric()).to_owned()
}
