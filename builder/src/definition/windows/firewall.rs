//! A rule of Windows' firewall, as a value of the registry.
//!
//! Grammar of the value: `[MS-GPFAS]` 2.2.2 "Firewall Rule and the Firewall Rule Grammar Rule". The machine's
//! own rules lie below `SharedAccess\Parameters`, in the same form.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::registry::{CURRENT_CONTROL_SET, Hive, RegistryData, RegistryValue};

/// The key of the machine's own rules, below the control set.
pub const RULES: &str = r"Services\SharedAccess\Parameters\FirewallPolicy\FirewallRules";
/// The version of the grammar that has all fields below (`[MS-GPFAS]` 2.2.2, 4.2): every release that Kiln
/// bakes reads it.
const VERSION: &str = "v2.10";

/// Protocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP
    #[default]
    Tcp,
    /// UDP
    Udp,
}

/// Where connections come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// From other machines.
    #[default]
    In,
    /// To other machines.
    Out,
}

/// A rule that lets connections pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FirewallRule {
    /// Its name in the registry.
    pub name: String,
    /// Its name for people.
    pub display_name: String,
    /// The protocol.
    pub protocol: Protocol,
    /// Where the connections come from.
    pub direction: Direction,
    /// Ports of this machine, "10250" or "30000-32767".
    pub ports: Vec<String>,
    /// The program that it is for; any if none is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
}

impl FirewallRule {
    /// The value that makes the rule.
    pub fn value(&self) -> RegistryValue {
        let (direction, port) = match self.direction {
            Direction::In => ("In", "LPort"),
            Direction::Out => ("Out", "RPort"),
        };
        // IANA's numbers.
        let protocol = match self.protocol {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
        };
        let mut text = format!("{VERSION}|Action=Allow|Active=TRUE|Dir={direction}|Protocol={protocol}|");
        for ports in &self.ports {
            let range = if ports.contains('-') { format!("{port}2_10") } else { port.to_owned() };
            text += &format!("{range}={ports}|");
        }
        if let Some(program) = &self.program {
            text += &format!("App={program}|");
        }
        text += &format!("Name={}|", self.display_name);
        let key = format!("{CURRENT_CONTROL_SET}\\{RULES}");
        RegistryValue::new(Hive::System, key, &self.name, RegistryData::Sz(text))
    }
}

/// Whether these are ports: "10250", or "30000-32767".
pub fn is_ports(text: &str) -> bool {
    let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0 && !text.starts_with('+'));
    match text.split_once('-') {
        None => port(text).is_some(),
        Some((from, to)) => port(from).zip(port(to)).is_some_and(|(from, to)| from < to),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_one_line_in_the_grammar_of_the_policy() {
        let kubelet = FirewallRule {
            name: "kubelet".to_owned(),
            display_name: "kubelet (TCP 10250)".to_owned(),
            protocol: Protocol::Tcp,
            direction: Direction::In,
            ports: vec!["10250".to_owned()],
            program: None,
        };
        let value = kubelet.value();
        assert_eq!(value.key, format!(r"CurrentControlSet\{RULES}"));
        assert_eq!(value.name, "kubelet");
        let text = "v2.10|Action=Allow|Active=TRUE|Dir=In|Protocol=6|LPort=10250|Name=kubelet (TCP 10250)|";
        assert_eq!(value.data, RegistryData::Sz(text.to_owned()));
        let nodes = FirewallRule {
            protocol: Protocol::Udp,
            direction: Direction::Out,
            ports: vec!["30000-32767".to_owned(), "4789".to_owned()],
            program: Some(r"C:\k\x.exe".to_owned()),
            ..kubelet
        };
        let text = "v2.10|Action=Allow|Active=TRUE|Dir=Out|Protocol=17|RPort2_10=30000-32767|RPort=4789|\
                    App=C:\\k\\x.exe|Name=kubelet (TCP 10250)|";
        assert_eq!(nodes.value().data, RegistryData::Sz(text.to_owned()));
    }

    #[test]
    fn ports_are_numbers_and_ranges_of_them() {
        assert!(["1", "10250", "65535", "30000-32767"].into_iter().all(is_ports));
        for wrong in ["", "0", "65536", "+1", "5-", "9-5", "a", "1,2", "1-2-3"] {
            assert!(!is_ports(wrong), "{wrong}");
        }
    }
}
