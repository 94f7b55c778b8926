//! The names below `v1`, which cloud-init derives from its data source (`_get_standardized_metadata`).

use std::net::Ipv4Addr;

use serde_json::{Map, Value};

use super::distribution;
use crate::error::{ErrorKind, Failure, Result};
use crate::facts::Facts;
use crate::host::root::Root;
use crate::host::{kernel, machine};

/// Names of clouds that differ from the name of the data source.
const CLOUDS: &[(&str, &str)] = &[("ec2", "aws"), ("nocloud", UNKNOWN)];
const UNKNOWN: &str = "unknown";
/// Regions of clouds that count as clouds of their own: a cloud, how its region begins, and the cloud's id.
const PARTS: &[(&str, &str, &str)] =
    &[("aws", "cn-", "aws-china"), ("aws", "us-gov-", "aws-gov"), ("azure", "china", "azure-china")];
/// Names that have a second form with a hyphen.
pub(super) const HYPHENATED: &[(&str, &str)] = &[
    ("availability_zone", "availability-zone"),
    ("cloud_name", "cloud-name"),
    ("instance_id", "instance-id"),
    ("local_hostname", "local-hostname"),
];
/// Names below `v1` that have a value in cloud-init and none here, each with the reason.
const UNKNOWN_HERE: &[(&str, &str)] = &[
    ("_beta_keys", OWN),
    ("python_version", "it is a version of Python, which does not run here"),
    ("subplatform", "it says where cloud-init found the metadata, in a form that is not settled"),
    ("system_platform", "it is Python's description of the system"),
];
/// Names beside `v1` that have a value in cloud-init and none here.
const OWN_ROOTS: &[&str] = &[
    "base64_encoded_keys",
    "combined_cloud_config",
    "features",
    "merged_cfg",
    "merged_system_cfg",
    "sensitive_keys",
    "sys_info",
    "system_info",
];
const OWN: &str = "it is cloud-init's own";
/// Keys with SSH keys; the first one counts.
pub(super) const SSH_KEYS: &[&str] = &["public-keys", "public_keys", "ssh_public_keys"];

/// All standard names that have a value. The host's own name counts if the platform has none.
pub(super) fn names(
    source: &str,
    meta_data: &Map<String, Value>,
    facts: &Facts,
    root: &Root,
) -> Vec<(String, Value)> {
    let text = |name: &str| meta_data.get(name).and_then(Value::as_str).map(str::to_owned);
    let fact = |name: &str| facts.text(name).map(str::to_owned);
    let platform = if source.is_empty() { fact("platform") } else { Some(source.to_owned()) };
    let cloud = text("cloud-name").map(|name| name.to_lowercase()).or_else(|| {
        let other = CLOUDS.iter().find(|(name, _)| *name == source).map(|(_, cloud)| (*cloud).to_owned());
        other.or_else(|| platform.clone())
    });
    let region = text("region").or_else(|| fact("region"));
    let zone = text("availability-zone")
        .or_else(|| text("availability_zone"))
        .or_else(|| meta_data.get("placement")?.get("availability-zone")?.as_str().map(str::to_owned))
        .or_else(|| fact("zone"));
    let hostname = fact("hostname").or_else(|| machine::own_hostname(root)).map(|name| short(&name));
    let instance_id = fact("instance-id");
    let cloud_id = cloud_id(cloud.as_deref(), region.as_deref(), platform.as_deref());
    let mut names: Vec<(String, Value)> = Vec::new();
    for (name, value) in [
        ("availability_zone", zone),
        ("cloud_id", cloud_id),
        ("cloud_name", cloud),
        ("distro", distribution::id(root)),
        ("distro_release", distribution::release(root)),
        ("distro_version", distribution::version(root)),
        ("instance_id", instance_id),
        ("kernel_release", kernel::release(root)),
        ("local_hostname", hostname),
        ("machine", Some(std::env::consts::ARCH.to_owned())),
        ("platform", platform),
        ("region", region),
        ("variant", distribution::variant(root)),
    ] {
        names.extend(value.map(|value| (name.to_owned(), Value::String(value))));
    }
    let keys = SSH_KEYS.iter().find_map(|name| meta_data.get(*name)).map(ssh_keys);
    names.push(("public_ssh_keys".to_owned(), Value::from(keys.unwrap_or_default())));
    names
}

/// Fails for a name that cloud-init answers from itself: another value, or none, would be wrong without a
/// word. `key` stands behind `root`.
pub(super) fn refuse_own(root: &str, key: Option<&str>) -> Result<()> {
    let name = if root == "v1" { key.unwrap_or_default() } else { root };
    let below = UNKNOWN_HERE.iter().find(|(own, _)| *own == name).map(|(_, reason)| *reason);
    let beside = (root != "v1" && OWN_ROOTS.contains(&root)).then_some(OWN);
    let Some(reason) = below.or(beside) else { return Ok(()) };
    let shown = if root == "v1" { format!("v1.{name}") } else { name.to_owned() };
    let message = format!("the template variable {shown} is not supported: {reason}");
    Err(Failure::new(ErrorKind::Config, message).help(
        "v1.distro, v1.distro_version, v1.variant, v1.kernel_release and v1.machine describe the system",
    ))
}

/// The first label of a host name. cloud-init makes a name of an IPv4 address.
fn short(name: &str) -> String {
    match name.parse::<Ipv4Addr>() {
        Ok(_) => format!("ip-{}", name.replace('.', "-")),
        Err(_) => name.split('.').next().unwrap_or_default().to_owned(),
    }
}

fn cloud_id(cloud: Option<&str>, region: Option<&str>, platform: Option<&str>) -> Option<String> {
    let Some(cloud) = cloud.filter(|cloud| *cloud != UNKNOWN) else { return platform.map(str::to_owned) };
    let part = PARTS
        .iter()
        .find(|(of, begin, _)| *of == cloud && region.is_some_and(|region| region.starts_with(begin)));
    Some(part.map_or(cloud, |(_, _, id)| id).to_owned())
}

/// SSH keys as lines, as a list, or as a mapping of either.
pub(super) fn ssh_keys(value: &Value) -> Vec<Value> {
    match value {
        Value::String(text) => text.lines().map(Value::from).collect(),
        Value::Array(items) => items.iter().map(|item| item.get("key").unwrap_or(item).clone()).collect(),
        Value::Object(fields) => fields.values().flat_map(ssh_keys).filter(|key| key != "").collect(),
        _ => Vec::new(),
    }
}
