//! Which of its addresses a node is known by.
//!
//! Left alone, the kubelet takes an address of the default route's interface. Where that interface has more than one, or the machine has a network
//! of its own for what is internal, that is luck: on DigitalOcean it may be the anchor address of a floating IP, which no other machine
//! reaches. What the platform says of its addresses decides instead.

use std::net::IpAddr;

use crate::error::{ErrorKind, Failure, Result};
use crate::facts::{Address, Scope};
use crate::host::network;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NodeIp {
    /// By the rule: an address that the platform names and an interface has, of the API endpoint's family if there is one, private before
    /// public. Nothing where the platform names none.
    #[default]
    Auto,
    /// The platform's private address.
    Private,
    /// The platform's public address.
    Public,
    /// Leave it to the kubelet.
    None,
    /// This one.
    Address(IpAddr),
}

impl NodeIp {
    /// Reads `auto`, `private`, `public`, `none`, or an address.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "auto" => Some(Self::Auto),
            "private" => Some(Self::Private),
            "public" => Some(Self::Public),
            "none" => Some(Self::None),
            address => network::parse_address(address).map(Self::Address),
        }
    }
}

/// The address; none to leave it to the kubelet. `interfaces`: those of this machine, if they can be seen. `is_v6`: the family of the API
/// endpoint, if it is an address.
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
