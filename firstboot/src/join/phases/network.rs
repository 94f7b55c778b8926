//! On Windows, makes the network that must be there before flannel makes its own, in images with a layer for
//! flannel. Windows keeps it, so that later boots find it.

use std::net::IpAddr;
use std::time::Duration;

use super::{Need, Phase};
use crate::error::{ErrorKind, Failure, Result};
use crate::host::files;
use crate::host::hcn::Networks;
use crate::host::network::{Address, addresses, default_interfaces, is_global, node_address};
use crate::host::root::Root;
use crate::join::Join;
use crate::join::flannel::{EXTERNAL, Network};
use crate::net::Deadline;
use crate::paths;

/// Limit on flannel's configuration, in bytes.
const LONGEST: u64 = 1 << 20;
/// How long the node's address may be gone. flannel waits for 45 s at most.
const ADDRESS_LIMIT: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(500);

pub(crate) const PHASE: Phase = Phase { name: "network", kubeadm: "", need: Need::Running, run };

fn run(join: &mut Join) -> Result<()> {
    prepare(join.root, join.deadline, join.print)
}

/// The network that the image's flannel makes; none without its layer.
pub(super) fn flannel(root: &Root) -> Result<Option<Network>> {
    let bytes = files::read(&root.path(paths::FLANNEL_CONFIG), LONGEST)?;
    bytes.map(|bytes| Network::read(&bytes)).transpose()
}

/// Makes the network, unless there is one that has made the switch.
pub fn prepare(root: &Root, deadline: Deadline, print: &dyn Fn(&str)) -> Result<()> {
    let Some(flannel) = flannel(root)? else { return Ok(()) };
    let networks = Networks::load()?;
    if let Some(there) = flannel.switch(&networks.list()?) {
        let wanted = flannel.kind.of_windows();
        let kind = there["Type"].as_str().unwrap_or_default();
        if !kind.eq_ignore_ascii_case(wanted) {
            let name = there["Name"].as_str().unwrap_or_default();
            print(&format!("warning: the network {name} is of type {kind}, and flannel's will be {wanted}"));
        }
        return Ok(());
    }
    let Some(Address { interface, ip }) = own_address(root) else {
        let message = format!(
            "making the network {EXTERNAL}: no adapter has an address and a default route, or is the only one with an address"
        );
        return Err(Failure::new(ErrorKind::Host, message)
            .help("connect the machine to its network")
            .transient());
    };
    networks.create(&flannel.external(&interface))?;
    print(&format!("made the network {EXTERNAL} on the adapter {interface}, for flannel's {}", flannel.name));
    wait_for(ip, deadline.within(ADDRESS_LIMIT))
}

/// The address of the node with the adapter that has it: that of the default route, else the only one.
fn own_address(root: &Root) -> Option<Address> {
    let all = addresses();
    let mut routed = default_interfaces(root);
    if routed.is_empty() {
        routed = all
            .iter()
            .filter(|address| is_global(address.ip))
            .map(|address| address.interface.clone())
            .collect();
        routed.dedup();
        routed = if routed.len() == 1 { routed } else { Vec::new() };
    }
    let ip = node_address(&routed, &all)?;
    all.into_iter().find(|address| address.ip == ip)
}

/// Windows moves the address from the adapter to that of the switch.
fn wait_for(address: IpAddr, deadline: Deadline) -> Result<()> {
    while !addresses().iter().any(|other| other.ip == address) {
        if deadline.has_passed() {
            let message = format!(
                "the address {address} is gone since the network {EXTERNAL} was made, {} s ago",
                deadline.elapsed().as_secs()
            );
            let help =
                "see Get-NetIPAddress; where the address is static, give it to the adapter of the switch";
            return Err(Failure::new(ErrorKind::Host, message).help(help).transient());
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}
