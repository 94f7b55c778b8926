//! The addresses of the node.
//!
//! Without `--node-ip` the kubelet takes an address of the default route's interface. If that interface has
//! several, or the machine has a separate internal network, the choice may be wrong: on DigitalOcean it may
//! be the anchor address of a floating IP, which no other machine reaches. The addresses that the platform
//! names decide instead.
//!
//! One address would take the other family from the node: the kubelet and cloud controller managers leave out
//! what `--node-ip` does not name. So there are two where the kubelet takes two, and none where a cloud
//! controller manager knows both.

use std::net::IpAddr;

use crate::config::model::NodeIp;
use crate::error::{ErrorKind, Failure, Result};
use crate::facts::{Address, Scope};
use crate::host::network;
use crate::kubernetes::features::takes_two_addresses;
use crate::kubernetes::version::Version;

/// What the addresses depend on besides the config's wish.
#[derive(Debug)]
pub struct Addresses<'a> {
    /// Those that the platform names.
    pub platform: &'a [Address],
    /// Those that this machine has, if they are known.
    pub interfaces: Option<&'a [IpAddr]>,
    /// The family of the API endpoint, if it is an address.
    pub is_v6: Option<bool>,
    /// The kubelet's `--cloud-provider`; empty for none.
    pub cloud_provider: &'a str,
    /// The kubelet's version, if it is known.
    pub kubelet: Option<Version>,
}

/// Whether the addresses are of both families.
pub fn are_of_both_families(addresses: &[Address]) -> bool {
    addresses.iter().any(|address| address.ip.is_ipv6())
        && addresses.iter().any(|address| address.ip.is_ipv4())
}

/// The value of `--node-ip`; none to leave it to the kubelet.
pub fn choose(wish: NodeIp, known: &Addresses, notices: &mut Vec<String>) -> Result<Option<String>> {
    let takes_two = known.kubelet.map(|version| takes_two_addresses(version, known.cloud_provider));
    let (scope, word) = match wish {
        NodeIp::None => return Ok(None),
        NodeIp::Address(ip) => return Ok(Some(ip.to_string())),
        NodeIp::Both(..) if takes_two == Some(false) => return Err(too_many(known.cloud_provider)),
        NodeIp::Both(first, second) => return Ok(Some(format!("{first},{second}"))),
        NodeIp::Auto => (None, ""),
        NodeIp::Private => (Some(Scope::Private), "private"),
        NodeIp::Public => (Some(Scope::Public), "public"),
    };
    let is_v6 = known.is_v6.unwrap_or(false);
    let found = (best(known, scope, is_v6), best(known, scope, !is_v6));
    match found {
        (None, None) if scope.is_some() => Err(no_address(word)),
        (Some(_), Some(_)) if scope.is_none() && !known.cloud_provider.is_empty() => {
            notices.push(
                "no node-ip: the cloud controller manager knows the addresses of both families".to_owned(),
            );
            Ok(None)
        }
        (Some(first), Some(second)) if takes_two == Some(true) => Ok(Some(format!("{first},{second}"))),
        (Some(first), Some(second)) => {
            notices.push(format!("the node's address is {first}, without {second}: this kubelet takes one"));
            Ok(Some(first.to_string()))
        }
        (first, second) => Ok(first.or(second).map(|ip| ip.to_string())),
    }
}

/// The best address of one family.
fn best(known: &Addresses, scope: Option<Scope>, is_v6: bool) -> Option<IpAddr> {
    let is_here = |address: &Address| match known.interfaces {
        Some(interfaces) => interfaces.contains(&address.ip),
        // Public addresses are often the platform's alone, and no interface has them.
        None => address.scope == Scope::Private || scope.is_some(),
    };
    let is_usable = |address: &&Address| {
        address.ip.is_ipv6() == is_v6
            && network::is_global(address.ip)
            && is_here(address)
            && scope.is_none_or(|scope| scope == address.scope)
    };
    let usable = known.platform.iter().filter(is_usable);
    usable.min_by_key(|address| address.scope).map(|address| address.ip)
}

fn too_many(cloud_provider: &str) -> Failure {
    let why = if cloud_provider.is_empty() { "" } else { " with --cloud-provider" };
    Failure::new(ErrorKind::Config, format!("nodeIP: this kubelet takes only one address{why}"))
        .help("name one address, or use nodeIP: none; docs/metadata.md says which kubelets take two")
}

fn no_address(word: &str) -> Failure {
    let message =
        format!("nodeIP: {word}: no interface of this machine has an address that its platform calls {word}");
    Failure::new(ErrorKind::Config, message).help("see firstboot explain for the addresses that are known")
}
