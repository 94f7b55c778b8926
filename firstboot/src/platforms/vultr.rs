//! Vultr: one document (<https://www.vultr.com/metadata/>).

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
    // Vultr's bare metal shows the platform in no other field.
    signs: &[Sign::Is(Field::SysVendor, "Vultr"), Sign::Word("vultr")],
    provider_id: Some("vultr://${instance-id}"),
    node_name: Some("${hostname}"),
    guarded: Guarded::Addresses(ADDRESSES),
    ..Platform::named("vultr", read)
};

/// The service requires this header, with any value: it keeps forwarded requests out.
const PROTOCOL: Protocol = Protocol {
    headers: &[("metadata-token", "cloudinit")],
    answers_with: None,
    session: None,
    privileged_port: false,
};
const DOCUMENT: &str = "/v1.json";
const FIELDS: &[(&str, &str)] = &[("/hostname", "hostname"), ("/region/regioncode", "region")];
const IPS: &[(&str, Option<Scope>)] = &[
    ("/interfaces/*/ipv4/address", None),
    ("/interfaces/*/ipv4/additional/*/address", None),
    ("/interfaces/*/ipv6/address", None),
];

fn read(context: &mut ReadContext) -> Result<PlatformData> {
    let mut service = context.service(ADDRESSES, PROTOCOL);
    let mut data = PlatformData::default();
    let metadata = service.get(DOCUMENT)?;
    document(&metadata, &service.url(DOCUMENT), &mut data.facts)?;
    data.instance_data = instance_data(&metadata, &service.url(DOCUMENT))?;
    data.user_data = user_data::get(&mut service, "/latest/user-data")?;
    Ok(data)
}

/// As cloud-init's data source has it, which makes a text of the region.
fn instance_data(metadata: &[u8], source: &str) -> Result<InstanceData> {
    let document = Json::parse(metadata, source)?.into_value();
    let region = ["/region/countrycode", "/region/regioncode"]
        .iter()
        .find_map(|path| document.pointer(path)?.as_str());
    let region = region.unwrap_or_default().to_lowercase();
    Ok(InstanceData::new("vultr", document)
        .copied("instanceid", "instance-id")
        .copied("instance-v2-id", "instance-id")
        .copied("hostname", "local-hostname")
        .with("region", region))
}

/// Adds the facts of `v1.json`.
pub(super) fn document(bytes: &[u8], source: &str, facts: &mut Facts) -> Result<()> {
    let found = Json::parse(bytes, source)?;
    let id = if found.text("/instance-v2-id")?.is_some() { "/instance-v2-id" } else { "/instanceid" };
    found.add_id(facts, id)?;
    found.add(facts, FIELDS)?;
    found.add_addresses(facts, IPS)?;
    found.add_tag_names(facts, "/tags")
}
