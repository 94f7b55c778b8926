//! Facts and user data: one document. User data is only for requests from a port below 1024, which only root
//! can use.

use super::ADDRESSES;
use crate::error::Result;
use crate::facts::{Facts, Scope};
use crate::instance_data::InstanceData;
use crate::net::service::Protocol;
use crate::platforms::format::json::Json;
use crate::platforms::format::user_data;
use crate::platforms::{PlatformData, ReadContext};

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

pub(super) fn read(context: &mut ReadContext) -> Result<PlatformData> {
    let mut service = context.service(ADDRESSES, PROTOCOL);
    let mut data = PlatformData::default();
    let conf = service.get(DOCUMENT)?;
    document(&conf, &service.url(DOCUMENT), &mut data.facts)?;
    data.instance_data =
        InstanceData::new("scaleway", Json::parse(&conf, &service.url(DOCUMENT))?.into_value())
            .standard("local_hostname", data.facts.text("hostname"));
    data.user_data = user_data::get(&mut service, "/user_data/cloud-init")?;
    Ok(data)
}

/// Adds the facts of `conf`.
pub(crate) fn document(bytes: &[u8], source: &str, facts: &mut Facts) -> Result<()> {
    let found = Json::parse(bytes, source)?;
    found.add_id(facts, "/id")?;
    found.add(facts, FIELDS)?;
    let region = facts
        .zone
        .value()
        .and_then(|zone| zone.rsplit_once('-'))
        .map(|(region, _)| region.to_owned());
    facts.region.add_some(region, found.origin(ZONE));
    found.add_addresses(facts, IPS)?;
    found.add_tag_names(facts, "/tags")
}
