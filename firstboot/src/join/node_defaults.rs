//! Fields of a KubeletConfiguration that the image proposes for its nodes: they count where neither the
//! cluster nor the node config says anything. Images carry them in a file; without it a join writes what
//! kubeadm writes.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::config::documents::value_of;
use crate::config::model::Argument;
use crate::error::{ErrorKind, Failure, Result};
use crate::host::files;
use crate::host::resources::Resources;
use crate::host::root::Root;
use crate::kubernetes::version::Version;
use crate::paths;

/// Limit on the file, in bytes.
const LONGEST: u64 = 1 << 20;
/// The word for an amount that follows from the machine.
const AUTO: &str = "auto";
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Fields of which none is proposed if one of them is said: together they make one decision.
const TOGETHER: &[&[&str]] = &[
    &["shutdownGracePeriod", "shutdownGracePeriodCriticalPods", "shutdownGracePeriodByPodPriority"],
    &["systemReserved", "kubeReserved"],
];

/// The image's proposals; none without the file.
pub fn read(root: &Root) -> Result<Map<String, Value>> {
    let path = Path::new(paths::KUBELET_DEFAULTS);
    let Some(bytes) = files::read(&root.path(path), LONGEST)? else { return Ok(Map::new()) };
    let wrong = |why: String| {
        Failure::new(ErrorKind::Config, format!("{} cannot be used: {why}", path.display()))
            .help("it is a mapping with fields of a KubeletConfiguration; an empty file proposes nothing")
    };
    match value_of(&bytes).map_err(|failure| wrong(failure.to_string()))? {
        Value::Object(fields) => Ok(fields),
        Value::Null => Ok(Map::new()),
        _ => Err(wrong("it is no mapping".to_owned())),
    }
}

/// The proposals that count beside the cluster's configuration, the node config's and the kubelet's flags,
/// with all amounts filled in.
pub fn applicable(
    proposed: &Map<String, Value>,
    cluster: &Value,
    node: Option<&Value>,
    flags: &[Argument],
    kubelet: Version,
    resources: &Resources,
) -> Map<String, Value> {
    // kubeadm stores durations that nobody chose as 0s in the cluster; in a node config they are chosen.
    let is_said = |field: &str| {
        !is_unset(&cluster[field])
            || node.is_some_and(|document| document.get(field).is_some())
            || flags.iter().any(|flag| flag.name == flag_of(field))
    };
    let counts = |field: &str| {
        let group = TOGETHER.iter().find(|group| group.contains(&field));
        let free = group.map_or(!is_said(field), |group| !group.iter().any(|other| is_said(other)));
        // Alpha in 1.20, which refuses the field.
        free && (kubelet.at_least(21) || !field.starts_with("shutdownGracePeriod"))
    };
    let fields = proposed.iter().filter(|(field, _)| counts(field));
    fields
        .filter_map(|(field, value)| Some((field.clone(), filled(field, value, resources)?)))
        .collect()
}

/// `systemReserved` is `--system-reserved`.
fn flag_of(field: &str) -> String {
    field.chars().fold(String::new(), |mut flag, letter| {
        if letter.is_ascii_uppercase() {
            flag.push('-');
        }
        flag.push(letter.to_ascii_lowercase());
        flag
    })
}

fn is_unset(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty() || text == "0s",
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// Replaces `auto` in `maxPods` and in a map of resources. A machine that does not say how much it has
/// reserves nothing of it, and leaves the number of pods to the kubelet.
fn filled(field: &str, value: &Value, resources: &Resources) -> Option<Value> {
    if field == "maxPods" && value == AUTO {
        return (resources.memory > 0).then(|| json!(pods(resources.memory)));
    }
    let Some(amounts) = value.as_object() else { return Some(value.clone()) };
    let amount = |(name, amount): (&String, &Value)| {
        let amount = match (name.as_str(), amount == AUTO) {
            ("memory", true) => (resources.memory > 0).then(|| memory(resources)),
            ("cpu", true) => Some(processors(resources.processors)),
            (_, true) => None,
            _ => Some(amount.clone()),
        };
        Some((name.clone(), amount?))
    };
    Some(Value::Object(amounts.iter().filter_map(amount).collect()))
}

/// As many pods as the system's memory is enough for: 11 MiB for each beside 255 MiB, as EKS reserves. At
/// most as many as the kubelet takes by itself; at least as many as a cluster runs on each of its nodes.
fn pods(memory: u64) -> u64 {
    (system_memory(memory).saturating_sub(255 * MIB) / (11 * MIB)).clamp(10, 110)
}

/// What the system may take, and what files in memory may take. At most three quarters: a kubelet with
/// nothing to offer would be useless.
fn memory(resources: &Resources) -> Value {
    let most = resources.memory / 4 * 3;
    let system = system_memory(resources.memory);
    json!(format!("{}Mi", system.saturating_add(resources.files_in_memory).min(most) / MIB))
}

/// A quarter of the first 4 GiB, a fifth of the next 4, a tenth of the next 8, 6 % of the next 112, 2 % of
/// the rest, 255 MiB below 1 GiB: as GKE does.
fn system_memory(memory: u64) -> u64 {
    if memory < GIB {
        return 255 * MIB;
    }
    share(memory, &[(4 * GIB, 2500), (4 * GIB, 2000), (8 * GIB, 1000), (112 * GIB, 600), (u64::MAX, 200)])
}

/// 6 % of the first processor, 1 % of the second, 0.5 % of the next two, 0.25 % of the rest: as GKE does.
fn processors(count: u64) -> Value {
    let millis = share(
        count.saturating_mul(100_000),
        &[(100_000, 600), (100_000, 100), (200_000, 50), (u64::MAX, 25)],
    );
    json!(format!("{}m", (millis / 100).max(1)))
}

/// The sum of shares (in parts of 10,000) of consecutive steps of `whole`.
fn share(whole: u64, steps: &[(u64, u64)]) -> u64 {
    let mut left = whole;
    steps.iter().fold(0, |sum, &(step, parts)| {
        let part = left.min(step);
        left -= part;
        sum + part / 10_000 * parts + part % 10_000 * parts / 10_000
    })
}

#[cfg(test)]
#[path = "node_defaults_tests.rs"]
mod tests;
