//! Exoscale: a request for each fact
//! (<https://community.exoscale.com/product/compute/instances/how-to/cloud-init/>).

use serde_json::Value;

use super::{Guarded, Platform, PlatformData, ReadContext};
use crate::error::Result;
use crate::evidence::{Field, Sign};
use crate::facts::Scope;
use crate::instance_data::InstanceData;
use crate::net::service::Protocol;
use crate::platforms::format::keys::{self, Ip};
use crate::platforms::format::user_data;

const ADDRESSES: &[&str] = &["169.254.169.254"];

pub(super) const PLATFORM: Platform = Platform {
    signs: &[Sign::Begins(Field::ProductName, "Exoscale")],
    provider_id: Some("exoscale://${instance-id}"),
    node_name: Some("${hostname}"),
    guarded: Guarded::Addresses(ADDRESSES),
    ..Platform::named("exoscale", read)
};

const FOLDER: &str = "/1.0/meta-data";
const TEXTS: &[(&str, &str)] =
    &[("local-hostname", "hostname"), ("availability-zone", "zone"), ("service-offering", "instance-type")];
/// The address of an instance without a private network is public, whatever its key says.
const IPS: &[Ip] = &[("local-ipv4", None), ("public-ipv4", Some(Scope::Public))];

fn read(context: &mut ReadContext) -> Result<PlatformData> {
    let mut service = context.service(ADDRESSES, Protocol::default());
    let mut data = PlatformData::default();
    let facts = &mut data.facts;
    keys::id(&mut service, FOLDER, facts)?;
    keys::texts(&mut service, FOLDER, TEXTS, facts)?;
    // The platform has no zones below its regions.
    if let Some(zone) = facts.zone.chosen().cloned() {
        facts.region.add(zone.value, zone.source);
    }
    keys::addresses(&mut service, FOLDER, IPS, facts)?;
    data.user_data = user_data::get(&mut service, "/1.0/user-data")?;
    data.instance_data = InstanceData::new("exoscale", Value::Null).served("meta_data", service, FOLDER);
    Ok(data)
}
