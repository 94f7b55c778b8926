//! What the kubelet refuses at its start, or what keeps it from registering: labels, taints and addresses
//! among its arguments, and taints in its configuration. kubeadm lets them pass, and the node never comes up.

use std::collections::HashSet;
use std::net::IpAddr;

use serde_json::Value;

use super::check::{self, Problems};
use super::documents::shown;
use super::model::{Argument, Taint};
use crate::error::Result;
use crate::host::network::parse_address;
use crate::kubernetes::labels;

/// The effects that a taint can have.
const EFFECTS: &[&str] = &["NoSchedule", "PreferNoSchedule", "NoExecute"];
const ARGUMENTS: &str = "nodeRegistration.kubeletExtraArgs";

/// The kubelet's arguments of a config.
pub fn arguments(arguments: &[Argument], problems: &mut Problems) {
    for Argument { name, value } in arguments {
        let wrong = match name.as_str() {
            name if name.starts_with('-') => {
                vec![format!("--{}: write the name without dashes", shown(name))]
            }
            name if !is_name(name) => vec![format!("--{}: this is no name of an argument", shown(name))],
            "hostname-override" if !value.trim().is_empty() => {
                let path = format!("{ARGUMENTS}: {name}");
                check::node_name(&path, &value.trim().to_lowercase(), problems);
                Vec::new()
            }
            "node-labels" => items(value).filter_map(|label| wrong_label(label.trim())).collect(),
            "register-with-taints" => wrong_taints(value),
            "node-ip" => wrong_addresses(value).into_iter().collect(),
            _ => Vec::new(),
        };
        wrong
            .iter()
            .for_each(|wrong| problems.note(format!("{ARGUMENTS}: the kubelet would refuse {wrong}")));
    }
}

/// Whether the kubelet may have an argument of this name; one without a name is refused elsewhere.
fn is_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    name.bytes().all(is_plain)
}

/// One or two addresses for the argument `node-ip`, which are at `path`.
pub fn addresses(path: &str, list: &str, problems: &mut Problems) {
    if let Some(wrong) = wrong_addresses(list) {
        problems.note(format!("{path}: the kubelet would refuse {wrong}"));
    }
}

/// The taints of a config, which are at `path`.
pub fn taints(path: &str, taints: &[Taint], problems: &mut Problems) {
    let mut seen = HashSet::new();
    for (index, Taint { key, value, effect, .. }) in taints.iter().enumerate() {
        if let Some(wrong) = wrong_taint(key, value, effect, &mut seen) {
            problems.note(format!("{path}[{index}]: the kubelet would refuse {wrong}"));
        }
    }
}

/// Refuses the taints of a KubeletConfiguration that the kubelet would refuse.
pub fn check_document(document: &Value) -> Result<()> {
    let mut problems = Problems::default();
    taints("KubeletConfiguration: registerWithTaints", &Taint::of_document(document), &mut problems);
    problems.result()
}

fn items(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').filter(|item| !item.is_empty())
}

fn wrong_label(label: &str) -> Option<String> {
    let Some((key, value)) = label.split_once('=') else {
        return Some(format!("the label \"{}\", which has no =", shown(label)));
    };
    let (key, value) = (key.trim(), value.trim());
    if !labels::is_key(key) {
        return Some(format!("the label \"{}\": this is no name of a label", shown(key)));
    }
    if !labels::is_allowed(key) {
        return Some(format!("the label {}: a node may not give it to itself", shown(key)));
    }
    (!labels::is_value(value)).then(|| format!("the label {}: {}", shown(key), no_value(value)))
}

fn no_value(value: &str) -> String {
    format!(
        "\"{}\" is no value of a label: up to 63 letters, digits and -_., with a letter or digit at both ends",
        shown(value)
    )
}

/// `key=value:Effect` or `key:Effect`, several with commas.
fn wrong_taints(list: &str) -> Vec<String> {
    let mut seen = HashSet::new();
    let all = list.split(',').filter(|_| !list.is_empty());
    let wrong = all.filter_map(|taint| {
        let (front, effect) = taint.split_once(':').unwrap_or((taint, ""));
        let (key, value) = front.split_once('=').unwrap_or((front, ""));
        wrong_taint(key, value, effect, &mut seen)
    });
    wrong.collect()
}

fn wrong_taint<'t>(
    key: &'t str,
    value: &str,
    effect: &'t str,
    seen: &mut HashSet<(&'t str, &'t str)>,
) -> Option<String> {
    if key.is_empty() {
        return Some("a taint without a key".to_owned());
    }
    let name = shown(key);
    if !labels::is_key(key) {
        Some(format!("the taint \"{name}\": this is no name of a taint"))
    } else if !labels::is_value(value) {
        Some(format!("the taint {name}: {}", no_value(value)))
    } else if !EFFECTS.contains(&effect) {
        Some(format!(
            "the taint {name}: its effect is \"{}\", not one of {}",
            shown(effect),
            EFFECTS.join(", ")
        ))
    } else {
        (!seen.insert((key, effect)))
            .then(|| format!("the taint {name}, which has the effect {effect} twice"))
    }
}

fn wrong_addresses(list: &str) -> Option<String> {
    let mut ips = Vec::new();
    for text in list.split(',') {
        let problem = match parse_address(text) {
            None => "it is no address, and the kubelet would take another one",
            Some(ip) if ip.is_loopback() => "no other machine reaches a loopback address",
            Some(ip) if ip.is_multicast() => "a multicast address is of no machine",
            Some(ip) if is_link_local(ip) => "a link-local address is of no use beyond its link",
            Some(ip) => {
                ips.push(ip);
                continue;
            }
        };
        return Some(format!("the node-ip \"{}\": {problem}", shown(text)));
    }
    let problem = match ips.as_slice() {
        [_] => return None,
        [one, other] if one.is_unspecified() || other.is_unspecified() => {
            "two addresses must both be of the node"
        }
        [one, other] if one.is_ipv4() != other.is_ipv4() => return None,
        _ => "it takes one address, or one of each family",
    };
    Some(format!("the node-ip \"{}\": {problem}", shown(list)))
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(name: &str, value: &str) -> Option<String> {
        let mut problems = Problems::default();
        arguments(&[Argument { name: name.to_owned(), value: value.to_owned() }], &mut problems);
        problems.result().err().map(|failure| failure.message)
    }

    #[test]
    fn what_keeps_the_kubelet_from_starting_is_refused_by_name() {
        let long = format!("a={}", "b".repeat(64));
        for (name, value, named) in [
            ("-v", "2", "---v: write the name without dashes"),
            ("Node-Labels", "a=b", "--Node-Labels: this is no name of an argument"),
            ("node-labels=a", "b", "this is no name of an argument"),
            ("v 2", "", "this is no name of an argument"),
            ("hostname-override", "Bad_Name", "hostname-override: Invalid value: \"bad_name\""),
            ("hostname-override", "a b", "Invalid value: \"a b\""),
            ("hostname-override", "a.", "Invalid value: \"a.\""),
            ("node-labels", "a", "the label \"a\", which has no ="),
            ("node-labels", "a=b,node-role.kubernetes.io/x=", "a node may not give it to itself"),
            ("node-labels", "kubernetes.io/x=", "a node may not give it to itself"),
            ("node-labels", "a b=c", "no name of a label"),
            ("node-labels", "a=b c", "the label a: \"b c\" is no value"),
            ("node-labels", "a=-b", "the label a: \"-b\" is no value"),
            ("node-labels", &long, "is no value of a label"),
            ("register-with-taints", "a", "its effect is \"\""),
            ("register-with-taints", "a=b:noschedule", "the taint a: its effect is \"noschedule\""),
            ("register-with-taints", "=b:NoSchedule", "a taint without a key"),
            ("register-with-taints", "a=b=c:NoSchedule", "\"b=c\" is no value"),
            ("register-with-taints", "a:NoSchedule,a=b:NoSchedule", "has the effect NoSchedule twice"),
            ("register-with-taints", "a:NoSchedule,", "a taint without a key"),
            ("node-ip", "eth0", "the node-ip \"eth0\": it is no address"),
            ("node-ip", "", "it is no address"),
            ("node-ip", "127.0.0.1", "loopback"),
            ("node-ip", "::1", "loopback"),
            ("node-ip", "224.0.0.1", "multicast"),
            ("node-ip", "ff02::1", "multicast"),
            ("node-ip", "169.254.1.1", "link-local"),
            ("node-ip", "fe80::1", "link-local"),
            ("node-ip", "10.0.0.1,10.0.0.2", "one of each family"),
            ("node-ip", "10.0.0.1,fd00::1,fd00::2", "one of each family"),
            ("node-ip", "0.0.0.0,fd00::1", "must both be of the node"),
        ] {
            let found = problem(name, value).unwrap_or_default();
            assert!(found.starts_with(ARGUMENTS) && found.contains(named), "{name}={value}: {found}");
        }
        for (name, value) in [
            ("node-labels", ""),
            ("node-labels", "a=,example.com/b=c, topology.kubernetes.io/zone=z"),
            ("register-with-taints", "a=b:NoSchedule,a:NoExecute"),
            ("register-with-taints", ""),
            ("node-ip", "0.0.0.0"),
            ("node-ip", "::"),
            ("node-ip", "10.0.0.1,fd00::1"),
            ("node-ip", "fd00::1, 10.0.0.1"),
            ("v", "anything,=:"),
            ("hostname-override", " N1.example "),
            ("hostname-override", ""),
        ] {
            assert_eq!(problem(name, value), None, "{name}={value}");
        }
    }

    #[test]
    fn taints_of_a_kubelet_configuration_are_those_that_the_kubelet_takes() {
        let document = |taints: Value| serde_json::json!({ "registerWithTaints": taints });
        for (taints, named) in [
            (
                serde_json::json!([{"key": "a b", "effect": "NoSchedule"}]),
                "[0]: the kubelet would refuse the taint \"a b\"",
            ),
            (serde_json::json!([{"key": "a", "effect": "x"}]), "its effect is \"x\""),
            (serde_json::json!([{"key": "a", "value": "-", "effect": "NoExecute"}]), "is no value"),
        ] {
            let failure = check_document(&document(taints)).unwrap_err();
            assert!(failure.message.starts_with("KubeletConfiguration: registerWithTaints["), "{failure}");
            assert!(failure.message.contains(named), "{failure}");
        }
        let good = serde_json::json!([{"key": "a", "value": "b", "effect": "NoSchedule", "timeAdded": null}]);
        for document in [document(good), document(Value::Null), Value::Null] {
            check_document(&document).unwrap();
        }
    }
}
