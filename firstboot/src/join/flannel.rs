//! What an image's configuration of flannel says of the networks of a node with Windows, and the network that
//! must be there before flannel makes its own.

use serde_json::{Value, json};

use crate::config::documents::value_of;
use crate::error::{ErrorKind, Failure, Result};
use crate::paths;

/// The name that flannel's and sig-windows-tools' scripts gave to it.
pub const EXTERNAL: &str = "External";
/// Its addresses, which nobody has, and its number on an overlay (sig-windows-tools at 12a6e44,
/// `kubeadm/flannel/setup.go`).
const ADDRESSES: (&str, &str) = ("192.168.255.0/30", "192.168.255.1");
const ISOLATION: u32 = 9999;
/// flannel's number of an overlay, unless the configuration has another (`pkg/backend/vxlan` for Windows).
const VNI: u64 = 4096;

/// How pods of different nodes reach each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// By routes between nodes of one network (host-gw).
    Bridge,
    /// By an overlay (VXLAN).
    Overlay,
}

/// The network of pods that flannel makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// `cbr0`
    pub name: String,
    /// Its kind.
    pub kind: Kind,
    /// The addresses of all pods: `10.244.0.0/16`.
    pub pods: Option<String>,
}

impl Kind {
    /// The type of the host compute network service.
    pub fn of_windows(self) -> &'static str {
        match self {
            Self::Bridge => "L2Bridge",
            Self::Overlay => "Overlay",
        }
    }
}

impl Network {
    /// Reads flannel's `net-conf.json` (flannel's `Documentation/configuration.md`, and the names that
    /// `pkg/backend` gives on Windows).
    pub fn read(bytes: &[u8]) -> Result<Self> {
        let wrong = |why: &str| {
            Failure::new(ErrorKind::Config, format!("{} cannot be used: {why}", paths::FLANNEL_CONFIG))
                .help("mend it in the image's layer")
        };
        let document = value_of(bytes).map_err(|failure| wrong(&failure.to_string()))?;
        let text =
            |path: &str| document.pointer(path).and_then(Value::as_str).filter(|text| !text.is_empty());
        let (kind, default) = match text("/Backend/Type") {
            Some("host-gw") => (Kind::Bridge, "cbr0".to_owned()),
            Some("vxlan") => {
                let vni = document.pointer("/Backend/VNI").and_then(Value::as_u64).unwrap_or(VNI);
                (Kind::Overlay, format!("flannel.{vni}"))
            }
            _ => {
                return Err(wrong("Backend.Type is neither host-gw nor vxlan, which flannel has on Windows"));
            }
        };
        let name = text("/Backend/Name").map_or(default, str::to_owned);
        Ok(Self { name, kind, pods: text("/Network").map(str::to_owned) })
    }

    /// The network that makes the switch. flannel's own network would make it too, but the node's address is
    /// gone for seconds meanwhile, and flannel does not wait for so long (flannel-io/flannel#1359).
    pub fn external(&self, adapter: &str) -> Value {
        let (prefix, gateway) = ADDRESSES;
        let mut subnet = json!({
            "IpAddressPrefix": prefix,
            "Routes": [{"NextHop": gateway, "DestinationPrefix": "0.0.0.0/0"}],
        });
        if self.kind == Kind::Overlay {
            subnet["Policies"] = json!([{"Type": "VSID", "Settings": {"IsolationId": ISOLATION}}]);
        }
        json!({
            "Name": EXTERNAL,
            "Type": self.kind.of_windows(),
            "Ipams": [{"Type": "Static", "Subnets": [subnet]}],
            "Policies": [{"Type": "NetAdapterName", "Settings": {"NetworkAdapterName": adapter}}],
            "SchemaVersion": {"Major": 2, "Minor": 0},
        })
    }

    /// The network among these that has made a switch for flannel's: the external one, or flannel's own.
    pub fn switch<'a>(&self, networks: &'a [Value]) -> Option<&'a Value> {
        let is = |network: &&Value, name: &str| {
            network["Name"].as_str().is_some_and(|other| other.eq_ignore_ascii_case(name))
        };
        let found = networks.iter().find(|network| is(network, EXTERNAL));
        found.or_else(|| networks.iter().find(|network| is(network, &self.name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(name: &str, kind: Kind, pods: Option<&str>) -> Network {
        Network { name: name.to_owned(), kind, pods: pods.map(str::to_owned) }
    }

    #[test]
    fn flannels_configuration_names_the_network_or_flannel_does() {
        for (text, expected) in [
            (
                include_str!("../../../layers/windows-flannel-host-gw/net-conf.json"),
                network("cbr0", Kind::Bridge, Some("10.244.0.0/16")),
            ),
            (
                include_str!("../../../layers/windows-flannel-vxlan/net-conf.json"),
                network("vxlan0", Kind::Overlay, Some("10.244.0.0/16")),
            ),
            (r#"{"Backend": {"Type": "host-gw"}}"#, network("cbr0", Kind::Bridge, None)),
            (
                r#"{"Backend": {"Type": "vxlan", "VNI": 4097}, "Network": ""}"#,
                network("flannel.4097", Kind::Overlay, None),
            ),
        ] {
            assert_eq!(Network::read(text.as_bytes()).unwrap(), expected, "{text}");
        }
        for text in
            [r#"{"Backend": {"Type": "wireguard"}}"#, "{}", "[]", "x: [", "", r#"{"Backend": "vxlan"}"#]
        {
            let failure = Network::read(text.as_bytes()).unwrap_err();
            assert!(
                failure.message.starts_with("/etc/kube-flannel/net-conf.json cannot"),
                "{text}: {failure}"
            );
        }
    }

    #[test]
    fn the_network_before_flannels_is_on_the_adapter_and_of_its_kind() {
        let made = network("vxlan0", Kind::Overlay, None).external("Ethernet 2");
        assert_eq!((&made["Name"], &made["Type"]), (&json!("External"), &json!("Overlay")));
        let at = |path: &str| made.pointer(path).cloned();
        assert_eq!(at("/Policies/0/Settings/NetworkAdapterName"), Some(json!("Ethernet 2")));
        assert_eq!(at("/Ipams/0/Subnets/0/Policies/0/Settings/IsolationId"), Some(json!(9999)));
        let bridge = network("cbr0", Kind::Bridge, None).external("Ethernet");
        assert_eq!(
            (&bridge["Type"], bridge.pointer("/Ipams/0/Subnets/0/Policies")),
            (&json!("L2Bridge"), None)
        );
    }

    #[test]
    fn a_switch_is_there_with_the_external_network_or_with_flannels_own() {
        let flannel = network("cbr0", Kind::Bridge, None);
        for (networks, expected) in [
            (vec![], None),
            (vec![json!({"Name": "nat"}), json!({})], None),
            (vec![json!({"Name": "nat"}), json!({"Name": "external"})], Some("external")),
            (vec![json!({"Name": "CBR0"})], Some("CBR0")),
            (vec![json!({"Name": "cbr0"}), json!({"Name": "External"})], Some("External")),
        ] {
            let found = flannel.switch(&networks).and_then(|network| network["Name"].as_str());
            assert_eq!(found, expected, "{networks:?}");
        }
    }
}
