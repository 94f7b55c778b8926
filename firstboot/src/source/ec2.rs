//! Amazon EC2: the instance metadata service, version 2 alone
//! (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-metadata.html>). Version 1 gives its answers to whoever can make the
//! machine send a request, so it is not asked, whatever the service says.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::{Document, Reader, Reading, Source, UserData};
use crate::api::service::{Manners, Service, Session};
use crate::error::Result;
use crate::facts::{Address, Facts, Scope};
use crate::platform::{Evidence, Field, Sign, Strength};

pub(super) const SOURCE: Source = Source {
    signs: &[Sign::Is(Field::SysVendor, "Amazon EC2"), Sign::Other(Strength::Smbios, uuid), Sign::Other(Strength::Channel, xen)],
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
    ..Source::named("ec2", read)
};

/// Where the service answers.
pub(crate) const ADDRESSES: &[&str] = &["169.254.169.254", "[fd00:ec2::254]"];
/// How it is asked.
pub(crate) const MANNERS: Manners = Manners {
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

/// What may be missing, with the field that it is.
const TEXTS: &[(&str, &str)] = &[
    ("local-hostname", "hostname"),
    ("hostname", "hostname"),
    ("placement/region", "region"),
    ("placement/availability-zone", "zone"),
    ("placement/availability-zone-id", "zone-id"),
    ("instance-type", "instance-type"),
    ("autoscaling/target-lifecycle-state", "lifecycle"),
    ("services/partition", "partition"),
    ("services/domain", "domain"),
];

fn read(reader: &mut Reader) -> Result<Reading> {
    let mut service = reader.service(ADDRESSES, MANNERS);
    let mut reading = Reading::default();
    facts(&mut service, &mut reading.facts)?;
    let path = format!("{ROOT}/user-data");
    if let Some(bytes) = service.find(&path)? {
        let document = Document::new(bytes).ok_or_else(|| service.wrong(&path, "the user-data is too long"))?;
        reading.user_data = UserData::new(document, service.url(&path));
    }
    Ok(reading)
}

fn facts(service: &mut Service, facts: &mut Facts) -> Result<()> {
    let path = |name: &str| format!("{ROOT}/meta-data/{name}");
    let id = path("instance-id");
    facts.instance_id.say(service.text(&id)?, service.url(&id));
    for (name, field) in TEXTS {
        facts.fact(field).say_some(service.find_text(&path(name))?, service.url(&path(name)));
    }
    let cycle = path("instance-life-cycle");
    facts.spot.say_some(service.find_text(&cycle)?.map(|cycle| cycle == "spot"), service.url(&cycle));
    addresses(service, facts)?;
    tags(service, facts)
}

fn addresses(service: &mut Service, facts: &mut Facts) -> Result<()> {
    let mut found = Vec::new();
    for (name, scope) in [("local-ipv4", Scope::Private), ("ipv6", Scope::Private), ("public-ipv4", Scope::Public)] {
        let text = service.find_text(&format!("{ROOT}/meta-data/{name}"))?.unwrap_or_default();
        found.extend(text.lines().filter_map(|line| line.trim().parse::<IpAddr>().ok()).map(|ip| Address { scope, ip }));
    }
    facts.addresses.say(found, service.url(&format!("{ROOT}/meta-data/")));
    Ok(())
}

/// Only there when the instance was started with tags in its metadata.
fn tags(service: &mut Service, facts: &mut Facts) -> Result<()> {
    let folder = format!("{ROOT}/meta-data/tags/instance");
    let Some(names) = service.find_text(&format!("{folder}/"))? else { return Ok(()) };
    let mut tags = BTreeMap::new();
    for name in names.lines().map(str::trim).filter(|name| is_plain(name)) {
        let value = service.find_text(&format!("{folder}/{name}"))?.unwrap_or_default();
        tags.insert(name.to_owned(), value);
    }
    facts.tags.say(tags, service.url(&folder));
    Ok(())
}

/// Names in a listing become part of a path.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-=._:@".contains(&byte)) && !name.contains("..")
}

/// Machines on Xen have a UUID that begins with ec2, in either order of the bytes of its first group. On other machines that is chance.
fn uuid(evidence: &Evidence) -> Option<String> {
    let is_xen =
        evidence.field(Field::SysVendor) == Some("Xen") || evidence.field(Field::ProductSerial) == evidence.field(Field::ProductUuid);
    let uuid = evidence.field(Field::ProductUuid).filter(|_| is_xen)?.to_ascii_lowercase();
    let first = uuid.split('-').next().filter(|first| first.len() == 8)?.as_bytes();
    let is_swapped = first[4] == b'2' && first.ends_with(b"ec");
    (uuid.starts_with("ec2") || is_swapped).then(|| "smbios product_uuid begins with ec2".to_owned())
}

fn xen(evidence: &Evidence) -> Option<String> {
    let uuid = crate::host::kernel::text(evidence.root(), "/sys/hypervisor/uuid")?;
    uuid.starts_with("ec2").then(|| "/sys/hypervisor/uuid begins with ec2".to_owned())
}
