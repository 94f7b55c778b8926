//! Oracle Cloud Infrastructure: the instance metadata service, only version 2
//! (<https://docs.oracle.com/iaas/Content/Compute/Tasks/gettingmetadata.htm>).

use serde_json::{Value, json};

use super::{Guarded, Platform, PlatformData, ReadContext};
use crate::document::UserData;
use crate::error::Result;
use crate::evidence::{Field, Sign};
use crate::facts::{Address, Facts, Scope};
use crate::instance_data::InstanceData;
use crate::net::service::Protocol;
use crate::platforms::format::json::Json;
use crate::platforms::format::user_data;

const ADDRESSES: &[&str] = &["169.254.169.254", "fd00:c1::a9fe:a9fe"];
/// Serves the boot volume over iSCSI to the whole machine, without a password: Oracle's own images keep all
/// users but root from it (<https://docs.oracle.com/iaas/Content/Compute/References/images.htm>).
const BOOT_VOLUME: &str = "169.254.0.2";

pub(super) const PLATFORM: Platform = Platform {
    signs: &[Sign::Is(Field::ChassisAssetTag, "OracleCloud.com")],
    provider_id: Some("oci://${instance-id}"),
    node_name: Some("${hostname}"),
    guarded: Guarded::Addresses(&[ADDRESSES[0], ADDRESSES[1], BOOT_VOLUME]),
    ..Platform::named("oracle", read)
};

const PROTOCOL: Protocol = Protocol {
    headers: &[("authorization", "Bearer Oracle")],
    answers_with: None,
    session: None,
    privileged_port: false,
};
const INSTANCE: &str = "/opc/v2/instance/";
const NICS: &str = "/opc/v2/vnics/";
const USER_DATA: &str = "/metadata/user_data";
const FIELDS: &[(&str, &str)] = &[
    ("/hostname", "hostname"),
    ("/canonicalRegionName", "region"),
    ("/shape", "instance-type"),
    ("/faultDomain", "fault-domain"),
    ("/availabilityDomain", "availability-domain"),
    ("/compartmentId", "compartment"),
    ("/tenantId", "tenancy"),
    ("/displayName", "name"),
];
const IPS: &[(&str, Option<Scope>)] = &[
    ("/*/privateIp", Some(Scope::Private)),
    ("/*/ipv6Addresses/*", None),
    ("/*/publicIp", Some(Scope::Public)),
];

fn read(context: &mut ReadContext) -> Result<PlatformData> {
    let mut service = context.service(ADDRESSES, PROTOCOL);
    let mut data = PlatformData::default();
    let bytes = service.get(INSTANCE)?;
    data.user_data = document(&bytes, &service.url(INSTANCE), &mut data.facts)?;
    data.instance_data = instance_data(&bytes, &service.url(INSTANCE))?;
    if let Some(bytes) = service.find(NICS)? {
        let url = service.url(NICS);
        data.facts.add_addresses(nics(&bytes, &url)?, &url);
    }
    Ok(data)
}

/// cloud-init's data source has the whole document as `ds`, and keeps `ds.meta_data` to itself.
fn instance_data(instance: &[u8], source: &str) -> Result<InstanceData> {
    let instance = Json::parse(instance, source)?.into_value();
    let field = |path: &str| instance.pointer(path).cloned().unwrap_or_default();
    let document = json!({
        "availability-zone": field("/ociAdName"),
        "instance-id": field("/id"),
        "local-hostname": field("/hostname"),
        "name": field("/displayName"),
        "public_keys": field("/metadata/ssh_authorized_keys"),
    });
    let mut data = InstanceData::new("oracle", document);
    if let Value::Object(fields) = instance {
        data = fields.into_iter().fold(data, |data, (name, value)| data.beside(&name, value));
    }
    Ok(data)
}

/// Adds the facts of `instance`; returns the user data in it.
pub(super) fn document(bytes: &[u8], source: &str, facts: &mut Facts) -> Result<Option<UserData>> {
    let found = Json::parse(bytes, source)?;
    found.add_id(facts, "/id")?;
    found.add(facts, FIELDS)?;
    if facts.region.value().is_none() {
        // Some regions have a short code here.
        found.add(facts, &[("/region", "region")])?;
    }
    // A tenancy's own prefix comes first: qIZq:FRA-AD-2.
    let zone = found
        .text("/availabilityDomain")?
        .and_then(|domain| domain.rsplit(':').next().map(str::to_owned));
    facts
        .zone
        .add_some(zone.filter(|zone| !zone.is_empty()), found.origin("/availabilityDomain"));
    found.add_tags(facts, "/freeformTags")?;
    let text = found.raw(USER_DATA)?;
    text.map_or(Ok(None), |text| user_data::decoded(text.as_bytes(), found.origin(USER_DATA)))
}

/// The addresses in `vnics`.
pub(super) fn nics(bytes: &[u8], source: &str) -> Result<Vec<Address>> {
    Json::parse(bytes, source)?.addresses(IPS)
}
