//! The trust policy: whose facts, node configs and secrets a machine accepts. The builder writes it into the
//! image from the table `[metadata]` of the definition; the agent follows it.
//!
//! ```json
//! {"platform": "ec2", "facts": ["ec2"], "config": ["ec2", "url"], "secrets": ["token-url"], "signed-by": ["RW…"], "rejoin": false, "guard": true}
//! ```
//!
//! A missing field restricts nothing. Everything else fails closed: an unknown field or name is an error.

use serde::{Deserialize, Serialize};

use crate::public_key::{NotAKey, PublicKey};
use crate::suggest;

/// The platforms that the agent knows, by name. It has a test that this list is complete.
pub const PLATFORMS: &[&str] = &[
    "ec2",
    "gce",
    "azure",
    "digitalocean",
    "hetzner",
    "vultr",
    "scaleway",
    "oracle",
    "exoscale",
    "akamai",
    "upcloud",
    "alibaba",
    "equinix",
    "vmware",
    "hyperv",
    "kubevirt",
    "nutanix",
    "cloudstack",
    "openstack",
    "tinkerbell",
    "maas",
    "config-drive",
    "nocloud",
    "qemu",
    "proxmox",
    "metal",
];

/// The locations of a node config besides a platform's user data, in the order in which the agent looks.
pub const LOCATIONS: &[&str] = &["url", "inline", "credential", "file"];

/// The value of `platform` for a machine without a platform.
pub const NO_PLATFORM: &str = "none";

/// The entry of `secrets` that allows tokens fetched from the config's `tokenFrom.url`.
pub const TOKEN_URL: &str = "token-url";

/// The longest list of names or keys.
const MAX_ITEMS: usize = 64;

/// The trust policy as JSON in the image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TrustPolicyFile {
    /// The platform, without detection; [`NO_PLATFORM`] for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Platforms whose facts are used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<Vec<String>>,
    /// Platforms and locations whose node config is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Vec<String>>,
    /// Platforms and locations whose tokens are used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets: Option<Vec<String>>,
    /// Public keys of minisign: only user data signed by one of them is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_by: Option<Vec<String>>,
    /// Whether a machine that has joined resets itself and joins again with a node config from another
    /// source, or of another cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejoin: Option<bool>,
    /// Whether the metadata guard keeps pods away from metadata services.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<bool>,
}

/// What is wrong with a trust policy, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// The name of the field.
    pub key: &'static str,
    /// The position in its list.
    pub index: Option<usize>,
    /// The error.
    pub message: String,
    /// How to fix it.
    pub help: String,
}

impl TrustPolicyFile {
    /// Checks every name and returns the keys of `signed-by`, or an empty list if no signature is required.
    pub fn check(&self) -> Result<Option<Vec<PublicKey>>, Invalid> {
        let with_locations = [PLATFORMS, LOCATIONS].concat();
        if let Some(name) = &self.platform {
            check_name(name, "platform", None, &[PLATFORMS, &[NO_PLATFORM]].concat())?;
        }
        check_names(self.facts.as_deref(), "facts", PLATFORMS)?;
        check_names(self.config.as_deref(), "config", &with_locations)?;
        check_names(self.secrets.as_deref(), "secrets", &[&with_locations[..], &[TOKEN_URL]].concat())?;
        self.signed_by.as_deref().map(keys).transpose()
    }
}

impl TrustPolicyFile {
    /// Whether the hypervisor's credentials are not among the sources of configuration that are accepted.
    pub fn bars_credentials(&self) -> bool {
        let is_listed = |names: &Vec<String>| names.iter().any(|name| name == "credential");
        self.signed_by.is_some() || self.config.as_ref().is_some_and(|names| !is_listed(names))
    }
}

fn check_names(names: Option<&[String]>, key: &'static str, known: &[&str]) -> Result<(), Invalid> {
    let names = names.unwrap_or_default();
    if names.len() > MAX_ITEMS {
        let message = format!("it has more than {MAX_ITEMS} items");
        return Err(Invalid { key, index: None, message, help: "leave it out to allow all".to_owned() });
    }
    names
        .iter()
        .enumerate()
        .try_for_each(|(index, name)| check_name(name, key, Some(index), known))
}

fn check_name(name: &str, key: &'static str, index: Option<usize>, known: &[&str]) -> Result<(), Invalid> {
    if known.contains(&name) {
        return Ok(());
    }
    let shown: String = name.chars().take(40).filter(|letter| !letter.is_control()).collect();
    let help = match suggest::nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => format!("valid here: {}", known.join(", ")),
    };
    Err(Invalid { key, index, message: format!("\"{shown}\" is not known"), help })
}

fn keys(lines: &[String]) -> Result<Vec<PublicKey>, Invalid> {
    const KEY: &str = "signed-by";
    let message = match lines.len() {
        0 => Some("it has no key: no config could be used".to_owned()),
        count if count > MAX_ITEMS => Some(format!("it has more than {MAX_ITEMS} keys")),
        _ => None,
    };
    if let Some(message) = message {
        let help = "name a public key of minisign, or leave it out".to_owned();
        return Err(Invalid { key: KEY, index: None, message, help });
    }
    let invalid = |index| Invalid {
        key: KEY,
        index: Some(index),
        message: NotAKey::MESSAGE.to_owned(),
        help: NotAKey::HELP.to_owned(),
    };
    lines
        .iter()
        .enumerate()
        .map(|(index, line)| PublicKey::parse(line).map_err(|NotAKey| invalid(index)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_that_restricts_sources_bars_credentials() {
        let list = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
        for (config, signed_by, expected) in [
            (None, None, false),
            (list(&["ec2"]), None, true),
            (list(&["credential"]), None, false),
            (list(&["credential"]), list(&["RW"]), true),
        ] {
            let policy = TrustPolicyFile { config, signed_by, ..TrustPolicyFile::default() };
            assert_eq!(policy.bars_credentials(), expected, "{policy:?}");
        }
    }
}
