//! Amazon EC2: the instance metadata service, version 2 alone
//! (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-metadata.html>). Version 1 gives its answers to whoever can make the
//! machine send a request, so it is not asked, whatever the service says.

use std::time::Duration;

use super::json::Json;
use super::{Platform, PlatformData, ReadContext, drive, http, keys};
use crate::error::Result;
use crate::evidence::{Evidence, Field, Sign, Strength};
use crate::facts::{Address, Facts, Scope};
use crate::net::service::{Protocol, Service, Session};

pub(super) const PLATFORM: Platform = Platform {
    signs: &[
        Sign::Is(Field::SysVendor, "Amazon EC2"),
        Sign::Other(Strength::Smbios, uuid),
        Sign::Other(Strength::Channel, xen),
    ],
    look_alikes: &[
        Sign::Contains(Field::ProductSerial, ".brightbox.com"),
        Sign::Contains(Field::ChassisAssetTag, ".zstack.io"),
        Sign::Is(Field::SysVendor, "e24cloud"),
        Sign::Is(Field::SysVendor, "Tilaa"),
        Sign::Is(Field::SysVendor, "3DS Outscale"),
    ],
    // In subnets with IPv6 alone DHCPv6 must be through before the service answers.
    deadline: Duration::from_secs(240),
    provider_id: Some("aws:///${zone}/${instance-id}"),
    node_name: Some("${hostname}"),
    guarded: &["169.254.169.254", "fd00:ec2::254"],
    ..Platform::named("ec2", read)
};

/// Where the service answers.
pub(crate) const ADDRESSES: &[&str] = &["169.254.169.254", "[fd00:ec2::254]"];
/// How it is asked.
pub(crate) const PROTOCOL: Protocol = Protocol {
    headers: &[],
    answers_with: None,
    session: Some(Session {
        path: "/latest/api/token",
        ask: ("x-aws-ec2-metadata-token-ttl-seconds", "300"),
        carry: "x-aws-ec2-metadata-token",
    }),
    privileged_port: false,
};
/// The first version whose tree has the tags.
const ROOT: &str = "/2021-03-23";

/// Most of what must be there, in one request.
const DOCUMENT: &str = "/2021-03-23/dynamic/instance-identity/document";
const FIELDS: &[(&str, &str)] = &[
    ("/region", "region"),
    ("/availabilityZone", "zone"),
    ("/instanceType", "instance-type"),
    ("/accountId", "account"),
];
/// What may be missing, with the field that it is.
const TEXTS: &[(&str, &str)] = &[
    ("local-hostname", "hostname"),
    ("placement/availability-zone-id", "zone-id"),
    ("autoscaling/target-lifecycle-state", "lifecycle"),
    ("services/partition", "partition"),
    ("services/domain", "domain"),
];

fn read(context: &mut ReadContext) -> Result<PlatformData> {
    let mut service = context.service(ADDRESSES, PROTOCOL);
    let mut data = PlatformData::default();
    facts(&mut service, &mut data.facts)?;
    data.user_data = http::user_data(&mut service, &format!("{ROOT}/user-data"))?;
    Ok(data)
}

fn facts(service: &mut Service, facts: &mut Facts) -> Result<()> {
    let folder = format!("{ROOT}/meta-data");
    let mut addresses = document(&service.get(DOCUMENT)?, &service.url(DOCUMENT), facts)?;
    keys::texts(service, &folder, TEXTS, facts)?;
    let cycle = format!("{folder}/instance-life-cycle");
    facts
        .spot
        .say_some(service.find_text(&cycle)?.map(|cycle| cycle == "spot"), service.url(&cycle));
    for (key, scope) in [("ipv6", Scope::Private), ("public-ipv4", Scope::Public)] {
        let text = service.find_text(&format!("{folder}/{key}"))?.unwrap_or_default();
        addresses.extend(keys::listed(&text, Some(scope)));
    }
    drive::say_addresses(addresses, &service.url(&folder), facts);
    keys::tags(service, &format!("{folder}/tags/instance"), facts)
}

/// Takes the facts of the identity document; gives the address in it.
pub(super) fn document(bytes: &[u8], source: &str, facts: &mut Facts) -> Result<Vec<Address>> {
    let found = Json::parse(bytes, source)?;
    found.say_id(facts, "/instanceId")?;
    found.say(facts, FIELDS)?;
    found.addresses(&[("/privateIp", Some(Scope::Private))])
}

/// Machines on Xen have a UUID that begins with ec2, in either order of the bytes of its first group. On other machines that is chance.
fn uuid(evidence: &Evidence) -> Option<String> {
    let is_xen = evidence.field(Field::SysVendor) == Some("Xen")
        || evidence.field(Field::ProductSerial) == evidence.field(Field::ProductUuid);
    let uuid = evidence.field(Field::ProductUuid).filter(|_| is_xen)?.to_ascii_lowercase();
    let first = uuid.split('-').next().filter(|first| first.len() == 8)?.as_bytes();
    let is_swapped = first[4] == b'2' && first.ends_with(b"ec");
    (uuid.starts_with("ec2") || is_swapped).then(|| "smbios product_uuid begins with ec2".to_owned())
}

fn xen(evidence: &Evidence) -> Option<String> {
    let uuid = crate::host::kernel::text(evidence.root(), "/sys/hypervisor/uuid")?;
    uuid.starts_with("ec2").then(|| "/sys/hypervisor/uuid begins with ec2".to_owned())
}
