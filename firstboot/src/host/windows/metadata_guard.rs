//! Windows has no rule that tells the packets of pods from the machine's own: a network policy of the cluster
//! must keep pods from metadata services.

use std::net::IpAddr;

use crate::error::{ErrorKind, Failure, Result};

/// Fails where there is anything to guard.
pub fn apply(addresses: &[IpAddr], _: &[u16]) -> Result<()> {
    if addresses.is_empty() {
        return Ok(());
    }
    Err(Failure::new(ErrorKind::Host, "Windows has no rule that keeps pods from metadata services").help(
        "use a network policy of the cluster; guardMetadata: false in the FirstbootConfiguration ends this warning",
    ))
}

/// There are none.
pub fn remove() -> Result<bool> {
    Ok(false)
}
