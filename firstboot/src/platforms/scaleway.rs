//! Scaleway: one document; user-data only for who asks from a port below 1024, which is root alone
//! (<https://www.scaleway.com/en/docs/instances/how-to/use-cloud-init/>).

use super::json::Json;
use super::{Platform, PlatformData, ReadContext, http};
use crate::error::Result;
use crate::evidence::{Field, Sign};
use crate::facts::{Facts, Scope};
use crate::net::service::Protocol;

pub(super) const PLATFORM: Platform = Platform {
    signs: &[Sign::Is(Field::SysVendor, "Scaleway"), Sign::Word("scaleway")],
    provider_id: Some("scaleway://instance/${zone}/${instance-id}"),
    node_name: Some("${hostname}"),
    guarded: &["169.254.42.42", "fd00:42::42"],
    ..Platform::named("scaleway", read)
};

const ADDRESSES: &[&str] = &["169.254.42.42", "[fd00:42::42]"];
const PROTOCOL: Protocol =
    Protocol { headers: &[], answers_with: None, session: None, privileged_port: true };
const DOCUMENT: &str = "/conf?format=json";
const ZONE: &str = "/location/zone_id";
const FIELDS: &[(&str, &str)] = &[
    ("/hostname", "hostname"),
    (ZONE, "zone"),
    ("/commercial_type", "instance-type"),
    ("/organization", "organization"),
    ("/project", "project"),
];
const IPS: &[(&str, Option<Scope>)] = &[
    ("/private_ip", Some(Scope::Private)),
    ("/public_ips_v4/*/address", Some(Scope::Public)),
    ("/public_ips_v6/*/address", Some(Scope::Public)),
    ("/public_ip/address", Some(Scope::Public)),
    ("/ipv6/address", Some(Scope::Public)),
];

fn read(context: &mut ReadContext) -> Result<PlatformData> {
    let mut service = context.service(ADDRESSES, PROTOCOL);
    let mut data = PlatformData::default();
    document(&service.get(DOCUMENT)?, &service.url(DOCUMENT), &mut data.facts)?;
    data.user_data = http::user_data(&mut service, "/user_data/cloud-init")?;
    Ok(data)
}

/// Takes the facts of `conf`.
pub(super) fn document(bytes: &[u8], source: &str, facts: &mut Facts) -> Result<()> {
    let found = Json::parse(bytes, source)?;
    found.say_id(facts, "/id")?;
    found.say(facts, FIELDS)?;
    let region = facts
        .zone
        .value()
        .and_then(|zone| zone.rsplit_once('-'))
        .map(|(region, _)| region.to_owned());
    facts.region.say_some(region, found.origin(ZONE));
    found.say_addresses(facts, IPS)?;
    found.say_words(facts, "/tags")
}
