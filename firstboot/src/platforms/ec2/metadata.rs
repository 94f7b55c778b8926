//! Facts and user data: the identity document, and one request for each text that may be missing.

use serde_json::{Value, json};

use super::{ADDRESSES, PROTOCOL};
use crate::error::Result;
use crate::facts::{Address, Facts, Scope};
use crate::instance_data::InstanceData;
use crate::net::service::Service;
use crate::platforms::format::json::Json;
use crate::platforms::format::{keys, user_data};
use crate::platforms::{PlatformData, ReadContext};

/// The first version whose tree has the tags.
const ROOT: &str = "/2021-03-23";

/// Most of the required facts, in one request.
const DOCUMENT: &str = "/2021-03-23/dynamic/instance-identity/document";
const FIELDS: &[(&str, &str)] = &[
    ("/region", "region"),
    ("/availabilityZone", "zone"),
    ("/instanceType", "instance-type"),
    ("/accountId", "account"),
];
/// Texts that may be missing, with their facts.
const TEXTS: &[(&str, &str)] = &[
    ("local-hostname", "hostname"),
    ("placement/availability-zone-id", "zone-id"),
    ("autoscaling/target-lifecycle-state", "lifecycle"),
    ("services/partition", "partition"),
    ("services/domain", "domain"),
];

pub(super) fn read(context: &mut ReadContext) -> Result<PlatformData> {
    let mut service = context.service(ADDRESSES, PROTOCOL);
    let mut data = PlatformData::default();
    let folder = format!("{ROOT}/meta-data");
    let identity = service.get(DOCUMENT)?;
    facts(&mut service, &folder, &identity, &mut data.facts)?;
    data.user_data = user_data::get(&mut service, &format!("{ROOT}/user-data"))?;
    let identity = Json::parse(&identity, &service.url(DOCUMENT))?.into_value();
    data.instance_data = InstanceData::new("ec2", Value::Null)
        .beside("dynamic", json!({ "instance-identity": { "document": identity } }))
        .served("meta-data", service, &folder);
    Ok(data)
}

fn facts(service: &mut Service, folder: &str, identity: &[u8], facts: &mut Facts) -> Result<()> {
    let mut addresses = document(identity, &service.url(DOCUMENT), facts)?;
    keys::texts(service, folder, TEXTS, facts)?;
    let cycle = format!("{folder}/instance-life-cycle");
    facts
        .spot
        .add_some(service.find_text(&cycle)?.map(|cycle| cycle == "spot"), service.url(&cycle));
    for (key, scope) in [("ipv6", Scope::Private), ("public-ipv4", Scope::Public)] {
        let text = service.find_text(&format!("{folder}/{key}"))?.unwrap_or_default();
        addresses.extend(keys::listed(&text, Some(scope)));
    }
    facts.add_addresses(addresses, &service.url(folder));
    keys::tags(service, &format!("{folder}/tags/instance"), facts)
}

/// Adds the facts of the identity document; returns the address in it.
pub(crate) fn document(bytes: &[u8], source: &str, facts: &mut Facts) -> Result<Vec<Address>> {
    let found = Json::parse(bytes, source)?;
    found.add_id(facts, "/instanceId")?;
    found.add(facts, FIELDS)?;
    found.addresses(&[("/privateIp", Some(Scope::Private))])
}
