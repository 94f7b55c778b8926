//! UpCloud: one document (<https://upcloud.com/docs/products/cloud-servers/features/metadata/>).

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
    signs: &[Sign::Is(Field::SysVendor, "UpCloud")],
    provider_id: Some("upcloud:////${instance-id}"),
    node_name: Some("${hostname}"),
    guarded: Guarded::Addresses(ADDRESSES),
    ..Platform::named("upcloud", read)
};

const DOCUMENT: &str = "/metadata/v1.json";
/// The platform has only zones, which its document calls regions.
const FIELDS: &[(&str, &str)] = &[("/hostname", "hostname"), ("/region", "region"), ("/region", "zone")];
/// The utility network has private addresses.
const IPS: &[(&str, Option<Scope>)] = &[("/network/interfaces/*/ip_addresses/*/address", None)];

fn read(context: &mut ReadContext) -> Result<PlatformData> {
    let mut service = context.service(ADDRESSES, Protocol::default());
    let mut data = PlatformData::default();
    let metadata = service.get(DOCUMENT)?;
    document(&metadata, &service.url(DOCUMENT), &mut data.facts)?;
    data.instance_data =
        InstanceData::new("upcloud", Json::parse(&metadata, &service.url(DOCUMENT))?.into_value())
            .copied("hostname", "local-hostname")
            .copied("public_keys", "public-keys")
            .copied("region", "availability_zone");
    let uuid = context.evidence.field(Field::ProductUuid).map(str::to_ascii_lowercase);
    context.compare_id(Field::ProductUuid, uuid, &mut data.facts);
    data.user_data = user_data::get(&mut service, "/metadata/v1/user_data")?;
    Ok(data)
}

/// Adds the facts of `v1.json`.
pub(super) fn document(bytes: &[u8], source: &str, facts: &mut Facts) -> Result<()> {
    let found = Json::parse(bytes, source)?;
    found.add_id(facts, "/instance_id")?;
    found.add(facts, FIELDS)?;
    found.add_addresses(facts, IPS)?;
    found.add_tag_names(facts, "/tags")
}
