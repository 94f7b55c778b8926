//! Addresses and routes of the machine.

use crate::paths;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use super::root::Root;
pub use super::system::{default_interfaces, resolver};
pub use crate::os::{Address, addresses, interfaces};

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

    fn address(interface: &str, ip: &str) -> Address {
        Address { interface: interface.to_owned(), ip: parse_address(ip).unwrap() }
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
