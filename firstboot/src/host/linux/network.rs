//! Addresses and routes of the machine.

use crate::paths;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use super::kernel;
use super::root::Root;

/// An address of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// `eth0`
    pub interface: String,
    /// The address.
    pub ip: IpAddr,
}

/// The addresses of this machine's interfaces that are up.
pub fn addresses() -> Vec<Address> {
    let all = nix::ifaddrs::getifaddrs().into_iter().flatten();
    all.filter(|entry| entry.flags.contains(nix::net::if_::InterfaceFlags::IFF_UP))
        .filter_map(|entry| {
            let address = entry.address?;
            let v4 = address.as_sockaddr_in().map(|socket| IpAddr::V4(socket.ip()));
            let ip = v4.or_else(|| address.as_sockaddr_in6().map(|socket| IpAddr::V6(socket.ip())))?;
            Some(Address { interface: entry.interface_name, ip })
        })
        .collect()
}

/// Names and numbers of the interfaces, the loopback last.
pub fn interfaces() -> Vec<(String, u32)> {
    let all = nix::net::if_::if_nameindex().ok();
    let named = all
        .iter()
        .flatten()
        .filter_map(|interface| Some((interface.name().to_str().ok()?.to_owned(), interface.index())));
    let (last, mut first): (Vec<_>, Vec<_>) = named.partition(|(name, _)| name == "lo");
    first.extend(last);
    first
}

/// Whether other machines can usually reach it: it is not unspecified, loopback, link-local or multicast.
pub fn is_global(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            !(ip.is_unspecified()
                || ip.is_loopback()
                || ip.is_link_local()
                || ip.is_multicast()
                || ip == Ipv4Addr::BROADCAST)
        }
        IpAddr::V6(ip) => {
            !(ip.is_unspecified()
                || ip.is_loopback()
                || ip.is_multicast()
                || (ip.segments()[0] & 0xffc0) == 0xfe80)
        }
    }
}

/// The interfaces of default routes, IPv4 first, each in the order of the metric.
pub fn default_interfaces(root: &Root) -> Vec<String> {
    let mut names = parse_routes(&kernel::text(root, paths::ROUTES).unwrap_or_default());
    for name in parse_routes6(&kernel::text(root, paths::ROUTES_6).unwrap_or_default()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Reads /proc/net/route: interface, destination, gateway, flags, counters, metric, mask. Numbers are hex,
/// except the metric.
fn parse_routes(table: &str) -> Vec<String> {
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let routes =
        rows.filter(|row| row.len() >= 8 && row[1] == "00000000" && row[7] == "00000000" && is_up(row[3]));
    by_metric(routes.map(|row| (row[6].parse().unwrap_or(u32::MAX), row[0].to_owned())))
}

/// Reads /proc/net/ipv6_route: destination, its prefix, source, its prefix, next hop, metric, counters,
/// flags, interface; all in hex.
fn parse_routes6(table: &str) -> Vec<String> {
    let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let any = "0".repeat(32);
    let routes = rows
        .filter(|row| row.len() >= 10 && row[0] == any && row[1] == "00" && is_up(row[8]) && row[9] != "lo");
    by_metric(routes.map(|row| (u32::from_str_radix(row[5], 16).unwrap_or(u32::MAX), row[9].to_owned())))
}

/// RTF_UP is set and RTF_REJECT is not (linux/route.h).
fn is_up(flags: &str) -> bool {
    u32::from_str_radix(flags, 16).is_ok_and(|flags| flags & 1 == 1 && flags & 0x200 == 0)
}

fn by_metric(routes: impl Iterator<Item = (u32, String)>) -> Vec<String> {
    let mut routes: Vec<(u32, String)> = routes.collect();
    routes.sort_by_key(|route| route.0);
    let mut names: Vec<String> = Vec::new();
    for (_, name) in routes {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// The address that the kubelet takes without `--node-ip` if the node's name does not resolve to an address
/// of this machine: the first global one of the default route's interface.
pub fn node_address(interfaces: &[String], addresses: &[Address]) -> Option<IpAddr> {
    let of = |name: &str, v4: bool| {
        addresses
            .iter()
            .find(|address| address.interface == name && is_global(address.ip) && address.ip.is_ipv4() == v4)
            .map(|address| address.ip)
    };
    interfaces
        .iter()
        .find_map(|name| of(name, true))
        .or_else(|| interfaces.iter().find_map(|name| of(name, false)))
}

/// Whether an interface is virtual: a bridge, a tunnel, one end of a container's veth pair.
pub fn is_virtual(root: &Root, interface: &str) -> bool {
    root.path(Path::new(paths::VIRTUAL_NETWORK).join(interface)).exists()
}

/// An address in the form for arguments and a node's status: `10.0.0.1`, `fd00::1`.
pub fn parse_address(text: &str) -> Option<IpAddr> {
    text.trim()
        .parse::<Ipv4Addr>()
        .map(IpAddr::V4)
        .or_else(|_| text.trim().parse::<Ipv6Addr>().map(IpAddr::V6))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTES: &str = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
        wlan0\t00000000\t0102A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n\
        eth0\t00000000\t0102A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
        eth1\t0000A8C0\t00000000\t0001\t0\t0\t100\t0000FFFF\t0\t0\t0\n\
        bad\t00000000\n";
    const ROUTES6: &str = "00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003     ens5\n\
        00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo\n";

    fn address(interface: &str, ip: &str) -> Address {
        Address { interface: interface.to_owned(), ip: parse_address(ip).unwrap() }
    }

    #[test]
    fn default_routes_come_by_metric() {
        assert_eq!(parse_routes(ROUTES), ["eth0", "wlan0"]);
        assert_eq!(parse_routes6(ROUTES6), ["ens5"]);
        for table in ["", "x", "a b c d e f g h i j k", "\0\u{fffd}\n\n"] {
            assert!(parse_routes(table).is_empty() && parse_routes6(table).is_empty());
        }
    }

    #[test]
    fn the_nodes_address_is_a_global_one_of_the_default_route() {
        let addresses = [
            address("lo", "127.0.0.1"),
            address("eth1", "10.9.9.9"),
            address("eth0", "fd00::5"),
            address("eth0", "169.254.1.1"),
            address("eth0", "10.0.0.5"),
        ];
        let names = ["eth0".to_owned()];
        assert_eq!(node_address(&names, &addresses), parse_address("10.0.0.5"));
        assert_eq!(node_address(&names, &addresses[..4]), parse_address("fd00::5"));
        assert_eq!(node_address(&[], &addresses), None);
    }

    #[test]
    fn some_addresses_are_of_no_use_to_others() {
        for (ip, expected) in [
            ("10.0.0.1", true),
            ("8.8.8.8", true),
            ("127.0.1.1", false),
            ("169.254.3.4", false),
            ("0.0.0.0", false),
            ("::1", false),
            ("fe80::1", false),
            ("fd00::1", true),
        ] {
            assert_eq!(is_global(parse_address(ip).unwrap()), expected, "{ip}");
        }
        assert_eq!(parse_address("node1"), None);
    }

    #[test]
    fn this_machine_has_a_loopback_address() {
        assert!(addresses().iter().any(|address| address.ip.is_loopback()));
    }
}
