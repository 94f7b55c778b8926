//! DigitalOcean: one document (<https://docs.digitalocean.com/reference/api/metadata/>).

use super::{Guarded, Platform, PlatformData, ReadContext};
use crate::error::Result;
use crate::evidence::{Field, Sign};
use crate::facts::{Facts, Scope};
use crate::instance_data::InstanceData;
use crate::net::service::Protocol;
use crate::platforms::format::json::Json;
use crate::platforms::format::user_data;

const ADDRESSES: &[&str] = &["169.254.169.254"];

pub(super) const PLATFORM: Platform = Platform {
    signs: &[Sign::Is(Field::SysVendor, "DigitalOcean")],
    provider_id: Some("digitalocean://${instance-id}"),
    node_name: Some("${hostname}"),
    guarded: Guarded::Addresses(ADDRESSES),
    ..Platform::named("digitalocean", read)
};

const DOCUMENT: &str = "/metadata/v1.json";
/// The anchor address is left out: the platform uses it internally, and no other machine reaches it.
const IPS: &[(&str, Option<Scope>)] = &[
    ("/interfaces/private/*/ipv4/ip_address", Some(Scope::Private)),
    ("/interfaces/private/*/ipv6/ip_address", Some(Scope::Private)),
    ("/interfaces/public/*/ipv4/ip_address", Some(Scope::Public)),
    ("/interfaces/public/*/ipv6/ip_address", Some(Scope::Public)),
];

fn read(context: &mut ReadContext) -> Result<PlatformData> {
    let mut service = context.service(ADDRESSES, Protocol::default());
    let mut data = PlatformData::default();
    let metadata = service.get(DOCUMENT)?;
    document(&metadata, &service.url(DOCUMENT), &mut data.facts)?;
    data.instance_data =
        InstanceData::new("digitalocean", Json::parse(&metadata, &service.url(DOCUMENT))?.into_value())
            .copied("droplet_id", "instance-id")
            .copied("hostname", "local-hostname")
            .copied("public_keys", "public-keys")
            .copied("region", "availability_zone");
    let serial = context.evidence.field(Field::ProductSerial).map(str::to_owned);
    context.compare_id(Field::ProductSerial, serial, &mut data.facts);
    data.user_data = user_data::get(&mut service, "/metadata/v1/user-data")?;
    Ok(data)
}

/// Adds the facts of `v1.json`.
pub(super) fn document(bytes: &[u8], source: &str, facts: &mut Facts) -> Result<()> {
    let found = Json::parse(bytes, source)?;
    found.add_id(facts, "/droplet_id")?;
    found.add(facts, &[("/hostname", "hostname"), ("/region", "region")])?;
    found.add_addresses(facts, IPS)?;
    found.add_tag_names(facts, "/tags")
}
