//! Akamai Cloud, formerly Linode (<https://techdocs.akamai.com/cloud-computing/docs/metadata-service-api>).

use super::{Guarded, Platform, PlatformData, ReadContext};
use crate::error::Result;
use crate::evidence::{Field, Sign};
use crate::facts::{Address, Facts, Scope};
use crate::instance_data::InstanceData;
use crate::net::service::{Protocol, Session};
use crate::platforms::format::json::Json;
use crate::platforms::format::user_data;

const ADDRESSES: &[&str] = &["169.254.169.254", "fd00:a9fe:a9fe::1"];

pub(super) const PLATFORM: Platform = Platform {
    signs: &[Sign::Is(Field::SysVendor, "Akamai"), Sign::Is(Field::SysVendor, "Linode")],
    provider_id: Some("linode://${instance-id}"),
    node_name: Some("${hostname}"),
    guarded: Guarded::Addresses(ADDRESSES),
    ..Platform::named("akamai", read)
};

const PROTOCOL: Protocol = Protocol {
    headers: &[("accept", "application/json")],
    answers_with: None,
    session: Some(Session {
        path: "/v1/token",
        ask: ("metadata-token-expiry-seconds", "300"),
        carry: "metadata-token",
    }),
    privileged_port: false,
};
const INSTANCE: &str = "/v1/instance";
const NETWORK: &str = "/v1/network";
const FIELDS: &[(&str, &str)] =
    &[("/label", "hostname"), ("/region", "region"), ("/type", "instance-type"), ("/host_uuid", "host")];
const IPS: &[(&str, Option<Scope>)] = &[
    ("/ipv4/private/*", Some(Scope::Private)),
    ("/ipv4/public/*", Some(Scope::Public)),
    ("/ipv6/slaac", Some(Scope::Public)),
];

fn read(context: &mut ReadContext) -> Result<PlatformData> {
    let mut service = context.service(ADDRESSES, PROTOCOL);
    let mut data = PlatformData::default();
    let instance = service.get(INSTANCE)?;
    document(&instance, &service.url(INSTANCE), &mut data.facts)?;
    data.instance_data =
        InstanceData::new("akamai", Json::parse(&instance, &service.url(INSTANCE))?.into_value())
            .copied("id", "instance-id");
    if let Some(bytes) = service.find(NETWORK)? {
        let url = service.url(NETWORK);
        data.facts.add_addresses(network(&bytes, &url)?, &url);
    }
    data.user_data = user_data::get_base64(&mut service, "/v1/user-data")?;
    Ok(data)
}

/// Adds the facts of `instance`.
pub(super) fn document(bytes: &[u8], source: &str, facts: &mut Facts) -> Result<()> {
    let found = Json::parse(bytes, source)?;
    found.add_id(facts, "/id")?;
    found.add(facts, FIELDS)?;
    found.add_tag_names(facts, "/tags")
}

/// The addresses in `network`.
pub(super) fn network(bytes: &[u8], source: &str) -> Result<Vec<Address>> {
    Json::parse(bytes, source)?.addresses(IPS)
}
