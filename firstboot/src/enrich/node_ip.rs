//! The address of the node.
//!
//! Without `--node-ip` the kubelet takes an address of the default route's interface. If that interface has
//! several, or the machine has a separate internal network, the choice may be wrong: on DigitalOcean it may
//! be the anchor address of a floating IP, which no other machine reaches. The addresses that the platform
//! names decide instead.

use std::net::IpAddr;

use crate::config::model::NodeIp;
use crate::error::{ErrorKind, Failure, Result};
use crate::facts::{Address, Scope};
use crate::host::network;

/// The address; none to leave it to the kubelet. `interfaces`: the addresses of this machine, if they are
/// known. `is_v6`: the family of the API endpoint, if it is an address.
pub fn choose(
    wish: NodeIp,
    platform: &[Address],
    interfaces: Option<&[IpAddr]>,
    is_v6: Option<bool>,
) -> Result<Option<IpAddr>> {
    let (scope, word) = match wish {
        NodeIp::None => return Ok(None),
        NodeIp::Address(ip) => return Ok(Some(ip)),
        NodeIp::Auto => (None, ""),
        NodeIp::Private => (Some(Scope::Private), "private"),
        NodeIp::Public => (Some(Scope::Public), "public"),
    };
    let is_here = |address: &Address| match interfaces {
        Some(interfaces) => interfaces.contains(&address.ip),
        // Public addresses are often the platform's alone, and no interface has them.
        None => address.scope == Scope::Private || scope.is_some(),
    };
    let usable = |address: &&Address| {
        network::is_global(address.ip) && is_here(address) && scope.is_none_or(|scope| scope == address.scope)
    };
    let rank = |address: &&Address| (address.ip.is_ipv6() != is_v6.unwrap_or(false), address.scope);
    match platform.iter().filter(usable).min_by_key(rank) {
        None if scope.is_some() => {
            let message = format!(
                "nodeIP: {word}: no interface of this machine has an address that its platform calls {word}"
            );
            Err(Failure::new(ErrorKind::Config, message)
                .help("see firstboot explain for the addresses that are known"))
        }
        found => Ok(found.map(|address| address.ip)),
    }
}
