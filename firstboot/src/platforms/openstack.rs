//! OpenStack: its config drive or its metadata service
//! (<https://docs.openstack.org/nova/latest/user/metadata.html>).
//!
//! | order | where | why there |
//! |---|---|---|
//! | 1 | a disc labelled `config-2`, as Nova attaches it by default | only the cloud puts discs in, and nobody on the link can forge one |
//! | 2 | the metadata service | a tenant cannot forge it |
//! | 3 | another disk labelled `config-2`, if the service does not answer | Nova makes such drives too (`config_drive_format = vfat`), but a tenant's volume may have the label |

use std::time::Duration;

use super::{Guarded, Platform, PlatformData, ReadContext};
use crate::error::Result;
use crate::evidence::{Field, Sign, Strength};
use crate::facts::{Facts, Scope};
use crate::net::service::{Protocol, Service};
use crate::platforms::format::json::Json;
use crate::platforms::format::keys::{self, Ip};
use crate::platforms::format::{config_drive, disk, user_data};

const ADDRESSES: &[&str] = &["169.254.169.254", "fe80::a9fe:a9fe"];

/// Tags that operators of clouds set. They count more than the hypervisor's vendor, whose software some of
/// these clouds run.
const ASSET_TAGS: &[&str] = &[
    "OpenStack Nova",
    "OpenStack Compute",
    "OpenTelekomCloud",
    "SAP CCloud VM",
    "HUAWEICLOUD",
    "Samsung Cloud Platform",
];

/// One of the tags.
pub(super) const ASSET_TAG: Sign = Sign::Other(Strength::Firmware, |evidence| {
    let tag = ASSET_TAGS.iter().find(|tag| evidence.field_is(Field::ChassisAssetTag, tag))?;
    Some(format!("smbios chassis_asset_tag is {tag:?}"))
});

pub(super) const PLATFORM: Platform = Platform {
    signs: &[
        Sign::Is(Field::ProductName, "OpenStack Nova"),
        Sign::Is(Field::ProductName, "OpenStack Compute"),
        ASSET_TAG,
    ],
    provider_id: Some("openstack:///${instance-id}"),
    // Nova's name for the host has a domain, and the cloud controller manager finds a server without it.
    node_name: Some("${local-hostname}"),
    guarded: Guarded::Addresses(ADDRESSES),
    ..Platform::named("openstack", read)
};

const META_DATA: &str = "/openstack/latest/meta_data.json";
const NETWORK_DATA: &str = "/openstack/latest/network_data.json";
/// Facts that only the EC2-style part has.
const EC2: &str = "/latest/meta-data";
const IPS: &[Ip] = &[("local-ipv4", Some(Scope::Private)), ("public-ipv4", Some(Scope::Public))];

/// How long a service may take to answer where a disk could take its place.
const PROBE: Duration = Duration::from_secs(10);

fn read(context: &mut ReadContext) -> Result<PlatformData> {
    let mut service = context.service(ADDRESSES, Protocol::default());
    let drives = context.evidence.disks(config_drive::LABEL);
    if drives.is_empty() {
        let meta_data = service.get(META_DATA)?;
        return read_service(service, &meta_data);
    }
    if !context.evidence.is_bound_to_disk() && !drives.iter().any(|drive| drive.is_optical()) {
        let names: Vec<String> = drives.iter().map(|drive| drive.device.display().to_string()).collect();
        let names = format!("{}, with the label {},", names.join(", "), config_drive::LABEL);
        match service.get_within(PROBE, META_DATA) {
            Ok(meta_data) => {
                context.notice(format!("{names} is no disc and is not read: the metadata service answers"));
                return read_service(service, &meta_data);
            }
            Err(failure) => context.notice(format!("{names} is read: {failure}")),
        }
    }
    config_drive::read(&disk::only_disk(context, config_drive::LABEL)?)
}

/// Reads what else the service has, which answered with its `meta_data`.
fn read_service(mut service: Service, meta_data: &[u8]) -> Result<PlatformData> {
    let mut data = PlatformData::default();
    let facts = &mut data.facts;
    document(meta_data, &service.url(META_DATA), facts)?;
    let mut instance_data = config_drive::instance_data("openstack", meta_data, &service.url(META_DATA))?;
    let mut addresses = Vec::new();
    if let Some(bytes) = service.find(NETWORK_DATA)? {
        let url = service.url(NETWORK_DATA);
        addresses = config_drive::network_data(&bytes, &url)?;
        instance_data = instance_data.beside("network_json", Json::parse(&bytes, &url)?.into_value());
    }
    keys::texts(&mut service, EC2, &[("instance-type", "instance-type")], facts)?;
    for (key, scope) in IPS {
        let text = service.find_text(&format!("{EC2}/{key}"))?.unwrap_or_default();
        addresses.extend(keys::listed(&text, *scope));
    }
    facts.add_addresses(addresses, &service.url(NETWORK_DATA));
    data.user_data = user_data::get(&mut service, "/openstack/latest/user_data")?;
    data.instance_data = instance_data.served("ec2_metadata", service, EC2);
    Ok(data)
}

/// Adds the facts of `meta_data.json`, in which the machine's id must be.
pub(super) fn document(bytes: &[u8], source: &str, facts: &mut Facts) -> Result<()> {
    let document = Json::parse(bytes, source)?;
    document.must("/uuid")?;
    config_drive::meta_data(bytes, source, facts)
}
