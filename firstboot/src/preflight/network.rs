//! Checks of host names, addresses, routes and the network's kernel parameters.

use std::net::IpAddr;

use super::context::KUBELET_PORT;
use super::{Context, Problem};
use crate::host::{kernel, network};

fn parameter(context: &Context, name: &str, module: Option<&str>) -> Vec<Problem> {
    let value = kernel::sysctl(context.root, name);
    if value.as_deref().is_some_and(|value| value.starts_with('1')) {
        return Vec::new();
    }
    let said = value.map_or("absent".to_owned(), |value| format!("\"{value}\""));
    let load = module.map(|module| format!("modprobe {module} and ")).unwrap_or_default();
    Problem::new(format!("the kernel parameter {name} is {said}, not 1"))
        .help(format!("run {load}sysctl -w {name}=1, and write it to /etc/sysctl.d for the next boots"))
        .alone()
}

/// FileContent of bridge-nf-call-iptables.
pub fn bridge_iptables(context: &Context) -> Vec<Problem> {
    parameter(context, "net.bridge.bridge-nf-call-iptables", Some("br_netfilter"))
}

/// FileContent of bridge-nf-call-ip6tables, for endpoints that are IPv6 addresses.
pub fn bridge_ip6tables(context: &Context) -> Vec<Problem> {
    if has_endpoint(context, IpAddr::is_ipv6) {
        parameter(context, "net.bridge.bridge-nf-call-ip6tables", Some("br_netfilter"))
    } else {
        Vec::new()
    }
}

/// FileContent of ip_forward; from 1.27 on only for endpoints that are IPv4 addresses.
pub fn forwarding(context: &Context) -> Vec<Problem> {
    if context.minor() < 27 || has_endpoint(context, IpAddr::is_ipv4) {
        parameter(context, "net.ipv4.ip_forward", None)
    } else {
        Vec::new()
    }
}

/// FileContent of IPv6 forwarding, for endpoints that are IPv6 addresses.
pub fn forwarding6(context: &Context) -> Vec<Problem> {
    if has_endpoint(context, IpAddr::is_ipv6) {
        parameter(context, "net.ipv6.conf.default.forwarding", None)
    } else {
        Vec::new()
    }
}

fn has_endpoint(context: &Context, kind: fn(&IpAddr) -> bool) -> bool {
    context
        .endpoints()
        .iter()
        .filter_map(|endpoint| network::parse_address(&endpoint.host))
        .any(|ip| kind(&ip))
}

/// Hostname: the node's name is valid and resolves.
pub fn node_name_resolves(context: &Context) -> Vec<Problem> {
    let name = &context.join.node.name;
    if !is_dns_name(name) {
        return Problem::new(format!(
            "the node's name \"{}\" is no DNS name (RFC 1123)",
            name.escape_debug()
        ))
        .help("use lower-case letters, digits, '-' and '.' in nodeRegistration.name")
        .error()
        .alone();
    }
    match &context.facts.name {
        Some(Err(failure)) => Problem::new(format!("the node's name {name} does not resolve: {failure}"))
            .help(format!(
                "add {name} to /etc/hosts or DNS, or pass node-ip to the kubelet; else the kubelet waits for DNS before it registers"
            ))
            .alone(),
        Some(Ok(addresses)) if addresses.is_empty() => {
            Problem::new(format!("the node's name {name} has no address")).help(format!("add {name} to /etc/hosts or DNS")).alone()
        }
        _ => Vec::new(),
    }
}

/// A subdomain of RFC 1123: labels of letters, digits and dashes, 253 characters at most.
fn is_dns_name(name: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

/// Port-10250.
pub fn kubelet_port(context: &Context) -> Vec<Problem> {
    match &context.facts.port_taken {
        Some(why) if !context.is_resumed => Problem::new(format!(
            "port {KUBELET_PORT} cannot be listened on: {why}"
        ))
        .help("stop the kubelet that already runs (run firstboot reset if this machine had joined before)")
        .alone(),
        _ => Vec::new(),
    }
}

/// NodeAddress: the address by which the cluster will know this node.
pub fn node_address(context: &Context) -> Vec<Problem> {
    let addresses = &context.facts.addresses;
    let is_ours = |ip: IpAddr| addresses.iter().any(|address| address.ip == ip);
    if let Some(given) = context.argument("node-ip") {
        let ips = given.split(',').filter_map(network::parse_address);
        let strange = ips.filter(|ip| !ip.is_unspecified() && !is_ours(*ip));
        let problem = |ip| {
            Problem::new(format!("node-ip {ip} is no address of this machine: the kubelet will not register"))
                .error()
        };
        return strange.map(problem).map(|problem| problem.help("give one that ip addr shows")).collect();
    }
    if let Some(Ok(found)) = &context.facts.name {
        let strange = found.iter().find(|ip| !ip.is_loopback() && !is_ours(**ip));
        if let (Some(ip), false) = (strange, found.iter().any(|ip| is_ours(*ip) && !ip.is_loopback())) {
            return Problem::new(format!("the node's name resolves to {ip}, which is no address of this machine"))
                .help("correct /etc/hosts or DNS (hostname -i must give a routable address), or pass node-ip to the kubelet")
                .alone();
        }
    }
    several_addresses(context).into_iter().collect()
}

/// With several networks or an anchor address, the kubelet takes the address of the default route.
fn several_addresses(context: &Context) -> Option<Problem> {
    if matches!(&context.facts.name, Some(Ok(found)) if found.iter().any(|ip| !ip.is_loopback())) {
        return None;
    }
    let interfaces = network::default_interfaces(context.root);
    let chosen = network::node_address(&interfaces, &context.facts.addresses)?;
    let candidates = context.facts.addresses.iter().filter(|address| {
        network::is_global(address.ip)
            && address.ip.is_ipv4() == chosen.is_ipv4()
            && !network::is_virtual(context.root, &address.interface)
    });
    let others: Vec<String> = candidates
        .filter(|address| address.ip != chosen)
        .map(|address| format!("{} ({})", address.ip, address.interface))
        .collect();
    (!others.is_empty()).then(|| {
        Problem::new(format!(
            "this machine has several addresses; the node's will be {chosen}, by the default route, and not {}",
            others.join(", ")
        ))
        .help("if that is wrong, pass node-ip in nodeRegistration.kubeletExtraArgs, and name the interface to the network add-on")
    })
}

/// DefaultRoute: kubeadm before 1.37 does not join without one.
pub fn default_route(context: &Context) -> Vec<Problem> {
    if !network::default_interfaces(context.root).is_empty() {
        return Vec::new();
    }
    Problem::new("there is no default route")
        .help("see ip route; without one the kubelet finds no address of its own, unless node-ip names it")
        .alone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_nodes_are_dns_names() {
        for (name, expected) in [
            ("node-1", true),
            ("a.b-c.d", true),
            ("7", true),
            ("", false),
            ("A", false),
            ("node_1", false),
            ("-a", false),
            ("a.-b", false),
            ("a..b", false),
            ("a.", false),
        ] {
            assert_eq!(is_dns_name(name), expected, "{name}");
        }
        assert!(!is_dns_name(&"a.".repeat(130)));
    }
}
