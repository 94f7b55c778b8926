//! Amazon EC2: the instance metadata service, only version 2
//! (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-metadata.html>). Version 1 answers
//! anyone who can make the machine send a request, so the agent never uses it.

pub(crate) mod metadata;

mod auto_scaling;
mod boothook;
mod cloudformation;
mod delivery;
mod query_api;
mod sigv4;

use std::time::Duration;

use super::{Attestation, Guarded, Platform};
use crate::evidence::{Evidence, Field, Sign, Strength};
use crate::net::service::{Protocol, Session};
use crate::paths;

const ADDRESSES: &[&str] = &["169.254.169.254", "fd00:ec2::254"];
const PROTOCOL: Protocol = Protocol {
    headers: &[],
    answers_with: None,
    session: Some(Session {
        path: "/latest/api/token",
        ask: ("x-aws-ec2-metadata-token-ttl-seconds", "300"),
        carry: "x-aws-ec2-metadata-token",
    }),
    privileged_port: false,
};
/// PKCS #7 with the document in it, signed by an RSA key of the region
/// (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-identity-documents.html>).
const IDENTITY: &str = "/latest/dynamic/instance-identity/rsa2048";

pub(super) const PLATFORM: Platform = Platform {
    signs: &[
        Sign::Is(Field::SysVendor, "Amazon EC2"),
        Sign::Other(Strength::Firmware, uuid),
        Sign::Other(Strength::Hypervisor, xen),
    ],
    look_alikes: &[
        Sign::Contains(Field::ProductSerial, ".brightbox.com"),
        Sign::Contains(Field::ChassisAssetTag, ".zstack.io"),
        Sign::Is(Field::SysVendor, "e24cloud"),
        Sign::Is(Field::SysVendor, "Tilaa"),
        Sign::Is(Field::SysVendor, "3DS Outscale"),
    ],
    // In IPv6-only subnets the service answers only after DHCPv6 is done.
    deadline: Duration::from_secs(240),
    provider_id: Some("aws:///${zone}/${instance-id}"),
    node_name: Some("${hostname}"),
    guarded: Guarded::Addresses(ADDRESSES),
    reporters: &[&auto_scaling::REPORTER, &cloudformation::REPORTER],
    follow: Some(delivery::follow),
    attestation: Some(Attestation {
        kind: "ec2-rsa2048",
        addresses: ADDRESSES,
        protocol: PROTOCOL,
        path: |_, _| IDENTITY.to_owned(),
        document: |answer| Some(answer.to_owned()),
    }),
    ..Platform::named("ec2", metadata::read)
};

/// The names of the pieces that a boothook delivers, for fuzzing.
pub(super) fn boothook_names(script: &[u8]) -> std::result::Result<Vec<String>, &'static str> {
    Ok(boothook::read(script)?.map(|pieces| pieces.names().collect()).unwrap_or_default())
}

/// Machines on Xen have a UUID that begins with ec2, in either order of the bytes of its first group. On
/// other machines that is chance.
fn uuid(evidence: &Evidence) -> Option<String> {
    let uuid = evidence.field(Field::ProductUuid)?.to_ascii_lowercase();
    if !evidence.field_is(Field::SysVendor, "Xen") && !evidence.field_is(Field::ProductSerial, &uuid) {
        return None;
    }
    let first = uuid.split('-').next().filter(|first| first.len() == 8)?.as_bytes();
    let is_swapped = first[4] == b'2' && first.ends_with(b"ec");
    (uuid.starts_with("ec2") || is_swapped).then(|| "smbios product_uuid begins with ec2".to_owned())
}

fn xen(evidence: &Evidence) -> Option<String> {
    let uuid = crate::host::kernel::text(evidence.root(), paths::HYPERVISOR_UUID)?;
    uuid.to_ascii_lowercase()
        .starts_with("ec2")
        .then(|| "/sys/hypervisor/uuid begins with ec2".to_owned())
}
