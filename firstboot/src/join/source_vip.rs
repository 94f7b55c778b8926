//! The source VIP of a node with Windows: on an overlay, kube-proxy sends what it distributes from an address
//! of the node's own pods. It is taken as the scripts of flannel and sig-windows-tools take it, so that what
//! gives addresses to pods gives it to none: the CNI plugin host-local is asked for it once, under the name
//! `dummy` (sig-windows-tools at 729ae7c^, `hostprocess/flannel/kube-proxy/start.ps1`).

use std::net::Ipv4Addr;

use serde_json::{Value, json};

/// The container and the interface that the address is for, by CNI's names for them.
pub const WHO: [(&str, &str); 3] =
    [("CNI_CONTAINERID", "dummy"), ("CNI_NETNS", "dummy"), ("CNI_IFNAME", "dummy")];

/// What host-local is asked: an address of `subnet`, kept with those of the pods of this network.
pub fn request(network: &str, subnet: &str) -> Value {
    json!({
        "cniVersion": "0.3.0",
        "name": network,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": subnet}]], "dataDir": "/var/lib/cni/networks"},
    })
}

/// The address in an answer, in the form of CNI 0.2 or of a later one; none if the answer is another or the
/// address is none of `subnet`, as one of before a node joined again.
pub fn address(answer: &[u8], subnet: &str) -> Option<Ipv4Addr> {
    let answer: Value = serde_json::from_slice(answer).ok()?;
    let text = answer.pointer("/ips/0/address").or_else(|| answer.pointer("/ip4/ip"))?.as_str()?;
    let address = text.split('/').next()?.parse().ok()?;
    contains(subnet, address).then_some(address)
}

/// Whether a subnet (`10.244.1.0/24`) has this address.
fn contains(subnet: &str, address: Ipv4Addr) -> bool {
    let parts = subnet.split_once('/').and_then(|(network, bits)| {
        Some((network.parse::<Ipv4Addr>().ok()?, bits.parse::<u32>().ok().filter(|bits| *bits <= 32)?))
    });
    parts.is_some_and(|(network, bits)| {
        let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
        u32::from(network) & mask == u32::from(address) & mask
    })
}

/// The first IPv4 subnet among those of a node: overlays of Windows have no other.
pub fn subnet(subnets: &[String]) -> Option<&str> {
    let mut subnets = subnets.iter().map(String::as_str);
    subnets.find(|subnet| {
        subnet.split_once('/').is_some_and(|(network, _)| {
            network.parse().is_ok_and(|network: Ipv4Addr| contains(subnet, network))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_counts_if_it_is_one_of_the_nodes_subnet() {
        for (answer, expected) in [
            (
                r#"{"cniVersion":"0.2.0","ip4":{"ip":"10.244.3.2/24","gateway":"10.244.3.1"}}"#,
                Some("10.244.3.2"),
            ),
            (
                r#"{"cniVersion":"0.3.0","ips":[{"version":"4","address":"10.244.3.9/24","gateway":"10.244.3.1"}],"dns":{}}"#,
                Some("10.244.3.9"),
            ),
            (r#"{"ips":[{"address":"10.244.2.2/24"}]}"#, None),
            (r#"{"ips":[{"address":"fd00::2/64"}]}"#, None),
            (r#"{"ips":[]}"#, None),
            (r#"{"code":11,"msg":"no"}"#, None),
            ("\u{feff}{}", None),
            ("", None),
        ] {
            let found = address(answer.as_bytes(), "10.244.3.0/24").map(|address| address.to_string());
            assert_eq!(found.as_deref(), expected, "{answer}");
        }
    }

    #[test]
    fn a_subnet_is_the_first_of_ipv4() {
        for (subnets, expected) in [
            (&["10.244.1.0/24"][..], Some("10.244.1.0/24")),
            (&["fd00::/64", "10.244.1.0/24"], Some("10.244.1.0/24")),
            (&["0.0.0.0/0"], Some("0.0.0.0/0")),
            (&["10.244.1.0/33", "10.244.1.0", "fd00::/64", "x/24", ""], None),
            (&[], None),
        ] {
            let subnets: Vec<String> = subnets.iter().map(|&text| text.to_owned()).collect();
            assert_eq!(subnet(&subnets), expected, "{subnets:?}");
        }
    }
}
