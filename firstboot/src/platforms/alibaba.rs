//! Alibaba Cloud: the instance metadata service in the mode that requires tokens
//! (<https://www.alibabacloud.com/help/en/ecs/user-guide/view-instance-metadata>).

use serde_json::Value;

use super::{Guarded, Platform, PlatformData, ReadContext};
use crate::error::Result;
use crate::evidence::{Field, Sign};
use crate::facts::{Address, Facts, Scope};
use crate::instance_data::InstanceData;
use crate::net::service::{Protocol, Service, Session};
use crate::platforms::format::json::Json;
use crate::platforms::format::{keys, user_data};

const ADDRESSES: &[&str] = &["100.100.100.200"];

pub(super) const PLATFORM: Platform = Platform {
    signs: &[Sign::Is(Field::ProductName, "Alibaba Cloud ECS")],
    provider_id: Some("${region}.${instance-id}"),
    node_name: Some("${hostname}"),
    guarded: Guarded::Addresses(ADDRESSES),
    ..Platform::named("alibaba", read)
};

const PROTOCOL: Protocol = Protocol {
    headers: &[],
    answers_with: None,
    session: Some(Session {
        path: "/latest/api/token",
        ask: ("x-aliyun-ecs-metadata-token-ttl-seconds", "300"),
        carry: "x-aliyun-ecs-metadata-token",
    }),
    privileged_port: false,
};
const DOCUMENT: &str = "/latest/dynamic/instance-identity/document";
const FOLDER: &str = "/latest/meta-data";
const FIELDS: &[(&str, &str)] = &[
    ("/region-id", "region"),
    ("/zone-id", "zone"),
    ("/instance-type", "instance-type"),
    ("/owner-account-id", "account"),
];
const PUBLIC: &[&str] = &["public-ipv4", "eipv4"];

fn read(context: &mut ReadContext) -> Result<PlatformData> {
    let mut service = context.service(ADDRESSES, PROTOCOL);
    let mut data = PlatformData::default();
    let facts = &mut data.facts;
    let mut addresses = document(&service.get(DOCUMENT)?, &service.url(DOCUMENT), facts)?;
    keys::texts(&mut service, FOLDER, &[("hostname", "hostname")], facts)?;
    addresses.extend(other_addresses(&mut service, facts)?);
    facts.add_addresses(addresses, &service.url(FOLDER));
    keys::tags(&mut service, &format!("{FOLDER}/tags/instance"), facts)?;
    data.user_data = user_data::get(&mut service, "/latest/user-data")?;
    // cloud-init takes the whole name on this platform.
    data.instance_data = InstanceData::new("aliyun", Value::Null)
        .standard("local_hostname", data.facts.text("hostname"))
        .served("meta-data", service, FOLDER);
    Ok(data)
}

/// Adds the facts of the identity document; returns the address in it.
pub(super) fn document(bytes: &[u8], source: &str, facts: &mut Facts) -> Result<Vec<Address>> {
    let found = Json::parse(bytes, source)?;
    found.add_id(facts, "/instance-id")?;
    found.add(facts, FIELDS)?;
    found.add(facts, &[("/mac", "mac")])?;
    found.addresses(&[("/private-ipv4", Some(Scope::Private))])
}

fn other_addresses(service: &mut Service, facts: &Facts) -> Result<Vec<Address>> {
    let mut found = Vec::new();
    let mac = facts
        .text("mac")
        .filter(|mac| mac.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':'));
    if let Some(mac) = mac {
        let text = service.find_text(&format!("{FOLDER}/network/interfaces/macs/{mac}/ipv6s"))?;
        found.extend(keys::listed(&text.unwrap_or_default(), None));
    }
    for key in PUBLIC {
        let text = service.find_text(&format!("{FOLDER}/{key}"))?;
        found.extend(keys::listed(&text.unwrap_or_default(), Some(Scope::Public)));
    }
    Ok(found)
}
