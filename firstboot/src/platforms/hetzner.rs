//! Hetzner Cloud: YAML (<https://docs.hetzner.cloud/reference/cloud#server-metadata>).

use super::{Guarded, Platform, PlatformData, ReadContext};
use crate::error::{ErrorKind, Failure, Result};
use crate::evidence::{Field, Sign};
use crate::facts::{Address, Facts, Scope};
use crate::instance_data::InstanceData;
use crate::net::service::Protocol;
use crate::platforms::format::json::Json;
use crate::platforms::format::user_data;

const ADDRESSES: &[&str] = &["169.254.169.254", "fe80::a9fe:a9fe"];

pub(super) const PLATFORM: Platform = Platform {
    signs: &[Sign::Is(Field::SysVendor, "Hetzner")],
    provider_id: Some("hcloud://${instance-id}"),
    node_name: Some("${hostname}"),
    guarded: Guarded::Addresses(ADDRESSES),
    ..Platform::named("hetzner", read)
};

const DOCUMENT: &str = "/hetzner/v1/metadata";
const PRIVATE: &str = "/hetzner/v1/metadata/private-networks";
const FIELDS: &[(&str, &str)] =
    &[("/hostname", "hostname"), ("/region", "region"), ("/availability-zone", "zone")];
const PUBLIC_IPS: &[(&str, Option<Scope>)] = &[
    ("/public-ipv4", Some(Scope::Public)),
    ("/network-config/config/*/subnets/*/address", Some(Scope::Public)),
];
const PRIVATE_IPS: &[(&str, Option<Scope>)] = &[("/*/ip", Some(Scope::Private))];

fn read(context: &mut ReadContext) -> Result<PlatformData> {
    let mut service = context.service(ADDRESSES, Protocol::default());
    let mut data = PlatformData::default();
    let bytes = service.get(DOCUMENT)?;
    let public = document(&bytes, &service.url(DOCUMENT), &mut data.facts)?;
    let serial = context.evidence.field(Field::ProductSerial).map(str::to_owned);
    if !context.compare_id(Field::ProductSerial, serial, &mut data.facts) {
        return Err(Failure::new(
            ErrorKind::Source,
            format!("{}: its instance-id is not smbios product_serial", service.url(DOCUMENT)),
        )
        .help("another machine of the network answers for the metadata service: find it"));
    }
    let mut addresses = Vec::new();
    let mut instance_data =
        InstanceData::new("hetzner", Json::parse_yaml(&bytes, &service.url(DOCUMENT))?.into_value())
            .copied("hostname", "local-hostname");
    if let Some(bytes) = service.find(PRIVATE)? {
        addresses = private_networks(&bytes, &service.url(PRIVATE))?;
        let networks = Json::parse_yaml(&bytes, &service.url(PRIVATE))?.into_value();
        instance_data = instance_data.with("private-networks", networks);
    }
    data.instance_data = instance_data;
    addresses.extend(public);
    data.facts.add_addresses(addresses, &service.url(DOCUMENT));
    data.user_data = user_data::get(&mut service, "/hetzner/v1/userdata")?;
    Ok(data)
}

/// Adds the facts of `metadata`; returns the public addresses.
pub(super) fn document(bytes: &[u8], source: &str, facts: &mut Facts) -> Result<Vec<Address>> {
    let found = Json::parse_yaml(bytes, source)?;
    found.add_id(facts, "/instance-id")?;
    found.add(facts, FIELDS)?;
    found.addresses(PUBLIC_IPS)
}

/// The addresses in `private-networks`: an empty list, or nothing at all, when there are none.
pub(super) fn private_networks(bytes: &[u8], source: &str) -> Result<Vec<Address>> {
    if bytes.trim_ascii().is_empty() {
        return Ok(Vec::new());
    }
    Json::parse_yaml(bytes, source)?.addresses(PRIVATE_IPS)
}
