//! The binding of a joined machine: the platform and the source that its node config came from, its cluster,
//! and the host name that it had. It is in `/var/lib/firstboot/binding.json`, beside the checkpoint, whose
//! format older agents read.
//!
//! A machine with pods on it may get disks and services that its operator did not choose. So it takes a node
//! config only from the source that it joined with, and only for the same cluster.

use serde::{Deserialize, Serialize};

use crate::error::{ErrorKind, Failure, Result};
use crate::host::files;
use crate::host::root::Root;
use crate::paths;

/// Limit on the file, in bytes.
const LIMIT: u64 = 64 * 1024;

/// The content of the file. It holds no secret.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Binding {
    /// The platform, or `none`; absent after a join by hand, which needs none.
    pub platform: Option<String>,
    /// The name of the platform or location that the config came from; absent after a join by hand.
    pub source: Option<String>,
    /// The identity of the disk that it was on.
    pub disk: Option<String>,
    /// The cluster.
    pub cluster: ClusterNames,
    /// The host's name when the join began; absent if it had none.
    pub hostname: Option<String>,
}

/// What names a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClusterNames {
    /// Pins of its CAs.
    pub pins: Vec<String>,
    /// Its API servers, or the URLs that name them.
    pub servers: Vec<String>,
}

impl Binding {
    /// The binding of the machine with its files below `root`. A damaged file counts as none, and a joined
    /// machine without a binding follows no other config.
    pub fn read(root: &Root) -> Result<Option<Self>> {
        let bytes = files::read(&root.path(paths::BINDING), LIMIT)?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    /// Writes the file.
    pub fn write(&self, root: &Root) -> Result<()> {
        let bytes = serde_json::to_vec_pretty(self)
            .map_err(|error| Failure::new(ErrorKind::Internal, error.to_string()))?;
        files::write(&root.entry(paths::BINDING), &bytes, files::PRIVATE)
    }

    /// Adds to the file what a join found out about its cluster.
    pub fn add_cluster(root: &Root, pins: Vec<String>, server: &str) -> Result<()> {
        let mut binding = Self::read(root)?.unwrap_or_default();
        binding.cluster.add(pins, server.trim_start_matches("https://").to_owned());
        binding.write(root)
    }

    /// Why a config with the binding `other` is not followed on this machine; none if it is.
    pub fn objection(&self, other: &Self) -> Option<String> {
        let name = |binding: &Self| binding.source.clone().unwrap_or_else(|| "the command line".to_owned());
        if self.source != other.source {
            return Some(format!(
                "it comes from {}, but the machine joined with a config from {}",
                name(other),
                name(self)
            ));
        }
        if self.disk != other.disk {
            return Some("it is on another disk than the one that the machine joined with".to_owned());
        }
        (!other.cluster.is_same(&self.cluster))
            .then(|| "it names another cluster than the one that the machine joined".to_owned())
    }
}

impl ClusterNames {
    /// Whether a config with these names means the cluster `joined`. Every CA that it pins must be one of the
    /// cluster: a second one would let another server vouch for itself.
    fn is_same(&self, joined: &Self) -> bool {
        if self.pins.is_empty() || joined.pins.is_empty() {
            return self.servers.iter().any(|server| joined.servers.contains(server));
        }
        self.pins.iter().all(|pin| joined.pins.contains(pin))
    }

    /// Adds names that the join found.
    pub fn add(&mut self, pins: Vec<String>, server: String) {
        self.pins.extend(pins);
        self.servers.push(server);
        for names in [&mut self.pins, &mut self.servers] {
            names.sort();
            names.dedup();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(pins: &[&str], servers: &[&str]) -> ClusterNames {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        ClusterNames { pins: owned(pins), servers: owned(servers) }
    }

    #[test]
    fn a_cluster_is_known_by_its_pins_and_without_them_by_its_servers() {
        let joined = names(&["a", "b"], &["x:6443", "y:6443"]);
        for (config, expected) in [
            (names(&["a"], &["z:6443"]), true),
            (names(&["a", "b"], &[]), true),
            (names(&["a", "evil"], &["x:6443"]), false),
            (names(&["evil"], &["x:6443"]), false),
            (names(&[], &["y:6443"]), true),
            (names(&[], &["z:6443"]), false),
            (names(&[], &[]), false),
        ] {
            assert_eq!(config.is_same(&joined), expected, "{config:?}");
        }
    }

    #[test]
    fn only_the_same_source_disk_and_cluster_are_followed() {
        let text = |text: &str| Some(text.to_owned());
        let binding = Binding {
            platform: text("nocloud"),
            source: text("nocloud"),
            disk: text("disk 1"),
            cluster: names(&["a"], &[]),
            hostname: None,
        };
        assert_eq!(binding.objection(&binding), None);
        for (other, why) in [
            (Binding { source: text("openstack"), ..binding.clone() }, "from openstack"),
            (Binding { disk: text("disk 2"), ..binding.clone() }, "another disk"),
            (Binding { disk: None, ..binding.clone() }, "another disk"),
            (Binding { cluster: names(&["b"], &[]), ..binding.clone() }, "another cluster"),
        ] {
            assert!(binding.objection(&other).is_some_and(|said| said.contains(why)), "{why}");
        }
    }

    #[test]
    fn a_damaged_file_is_no_binding() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        assert_eq!(Binding::read(&root).unwrap(), None);
        let binding = Binding { source: Some("file".to_owned()), ..Binding::default() };
        binding.write(&root).unwrap();
        assert_eq!(Binding::read(&root).unwrap(), Some(binding));
        files::write(&root.path(paths::BINDING), b"{", files::PRIVATE).unwrap();
        assert_eq!(Binding::read(&root).unwrap(), None);
    }
}
