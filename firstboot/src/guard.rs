//! Keeps pods from metadata services, which give user data, with its tokens, to any program that asks.

use std::net::IpAddr;

use crate::error::Result;
use crate::host::files;
pub use crate::host::metadata_guard::{apply, remove};
use crate::host::root::Root;
use crate::paths;

/// This file records that the node config switched the guard off, for later boots without a config.
pub const OFF: &str = paths::GUARD_OFF;

/// The ports that stay open at an address of a platform's service: on some platforms it is the name server
/// that the cluster's DNS asks.
pub const OPEN: &[u16] = &[53];
/// The same at a server that only this machine names: it may be the API server's machine too.
pub const OPEN_AT_SERVERS: &[u16] = &[53, 6443];

/// The addresses that need the guard. A link-local IPv6 address cannot be reached through this machine.
pub fn addresses(guarded: &[&str]) -> Vec<IpAddr> {
    reachable(guarded.iter().filter_map(|text| text.parse().ok()))
}

/// Those of `addresses` that need the guard.
pub fn reachable(addresses: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    addresses
        .filter(|ip| !matches!(ip, IpAddr::V6(v6) if v6.segments()[0] & 0xffc0 == 0xfe80))
        .collect()
}

/// Those of `guarded` that can belong to nothing but a metadata service, on any platform.
pub fn unmistakable(guarded: &[&str]) -> Vec<IpAddr> {
    let mut found = addresses(guarded);
    found.retain(|ip| match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unique_local(),
    });
    found
}

/// Whether the node config switched the guard off at an earlier boot.
pub fn is_off(root: &Root) -> bool {
    root.path(OFF).exists()
}

/// Records the choice of the node config.
pub fn remember(root: &Root, is_off: bool) -> Result<()> {
    match is_off {
        true => files::write(&root.entry(OFF), b"", files::PUBLIC),
        false => files::remove(&root.entry(OFF)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_link_are_left_out() {
        let found = addresses(&["169.254.169.254", "fd00:ec2::254", "fe80::a9fe:a9fe", "nonsense"]);
        assert_eq!(
            found.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["169.254.169.254", "fd00:ec2::254"]
        );
        assert_eq!(unmistakable(&["100.100.100.200", "168.63.129.16", "fe80::1"]), Vec::<IpAddr>::new());
        assert_eq!(unmistakable(&["169.254.42.42", "fd00:42::42"]).len(), 2);
    }

    #[test]
    fn the_switch_is_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        for off in [true, true, false, false] {
            remember(&root, off).unwrap();
            assert_eq!(is_off(&root), off);
        }
    }
}
