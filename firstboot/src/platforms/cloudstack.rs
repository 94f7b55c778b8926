//! Apache CloudStack: the virtual router, which is the DHCP server too, answers
//! (<https://docs.cloudstack.apache.org/en/latest/adminguide/virtual_machines/user data.html>).
//!
//! Its address is taken from the lease that systemd-networkd holds. The name `data-server` is not resolved:
//! the same router would answer.

use std::fs;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::{Guarded, Platform, PlatformData, ReadContext};
use crate::error::{ErrorKind, Failure, Result};
use crate::evidence::{Evidence, Field, Sign};
use crate::facts::Scope;
use crate::host::root::Root;
use crate::host::{files, network};
use crate::instance_data::InstanceData;
use crate::net::Endpoint;
use crate::net::service::Protocol;
use crate::paths::LEASES;
use crate::platforms::format::keys::{self, Ip};
use crate::platforms::format::user_data;

pub(super) const PLATFORM: Platform = Platform {
    signs: &[Sign::Begins(Field::ProductName, "CloudStack")],
    provider_id: Some("cloudstack:///${instance-id}"),
    node_name: Some("${hostname}"),
    guarded: Guarded::Servers(routers),
    ..Platform::named("cloudstack", read)
};

/// Longest lease that is read.
const LONGEST: u64 = 64 * 1024;
const PAUSE: Duration = Duration::from_millis(500);
const FOLDER: &str = "/latest/meta-data";
const TEXTS: &[(&str, &str)] =
    &[("local-hostname", "hostname"), ("availability-zone", "zone"), ("service-offering", "instance-type")];
const IPS: &[Ip] = &[("local-ipv4", None), ("public-ipv4", Some(Scope::Public))];

fn read(context: &mut ReadContext) -> Result<PlatformData> {
    let servers = dhcp_servers(context)?;
    let servers: Vec<&str> = servers.iter().map(String::as_str).collect();
    let mut service = context.service(&servers, Protocol::default());
    let mut data = PlatformData::default();
    let facts = &mut data.facts;
    keys::id(&mut service, FOLDER, facts)?;
    keys::texts(&mut service, FOLDER, TEXTS, facts)?;
    keys::addresses(&mut service, FOLDER, IPS, facts)?;
    data.user_data = user_data::get(&mut service, "/latest/user-data")?;
    data.instance_data = InstanceData::new("cloudstack", Value::Null).served("meta_data", service, FOLDER);
    Ok(data)
}

/// What pods are kept from: the servers that answer, as far as the machine has leases now.
fn routers(evidence: &Evidence) -> Result<Vec<Endpoint>> {
    let found = servers(evidence.root());
    if found.is_empty() {
        return Err(no_lease());
    }
    Ok(found.into_iter().map(|host| Endpoint { host, port: 80 }).collect())
}

fn no_lease() -> Failure {
    Failure::new(ErrorKind::Source, format!("{LEASES}: no lease names a DHCP server"))
        .help("let systemd-networkd configure the interface of CloudStack's guest network by DHCP")
}

/// The servers that gave this machine its addresses, once there are any.
fn dhcp_servers(context: &ReadContext) -> Result<Vec<String>> {
    loop {
        let servers = servers(context.root());
        if !servers.is_empty() {
            return Ok(servers);
        }
        if context.deadline.remaining() <= PAUSE {
            return Err(no_lease());
        }
        thread::sleep(PAUSE);
    }
}

fn servers(root: &Root) -> Vec<String> {
    let entries = fs::read_dir(root.path(LEASES)).into_iter().flatten().flatten();
    let mut numbers: Vec<u32> =
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    numbers.sort_unstable();
    let lease = |number: &u32| files::read(&root.path(format!("{LEASES}/{number}")), LONGEST).ok().flatten();
    numbers.iter().filter_map(lease).filter_map(|bytes| server(&bytes)).collect()
}

/// The server's address in a lease.
pub(super) fn server(lease: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(lease);
    let address = text.lines().find_map(|line| line.strip_prefix("SERVER_ADDRESS="))?;
    network::parse_address(address).map(|ip| ip.to_string())
}
