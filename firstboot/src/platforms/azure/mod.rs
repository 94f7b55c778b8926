//! Microsoft Azure: the instance metadata service
//! (<https://learn.microsoft.com/azure/virtual-machines/instance-metadata-service>), the wire server, and the
//! disc that a machine is provisioned with.

pub(crate) mod metadata;
pub mod report;

use serde_json::Value;

use super::{Attestation, Guarded, Platform};
use crate::evidence::{Field, Sign};
use crate::net::service::Protocol;

/// The asset tag of every machine on Azure. Azure is Hyper-V, and this tag tells the two apart.
pub(super) const ASSET_TAG: Sign = Sign::Is(Field::ChassisAssetTag, "7783-7084-3265-9085-8269-3286-77");
const ADDRESSES: &[&str] = &["169.254.169.254"];
/// The same for all machines, in every region.
const WIRE_SERVER: &str = "168.63.129.16";
const PROTOCOL: Protocol =
    Protocol { headers: &[("metadata", "true")], answers_with: None, session: None, privileged_port: false };

pub(super) const PLATFORM: Platform = Platform {
    signs: &[ASSET_TAG],
    provider_id: Some("azure://${resource-id}"),
    node_name: Some("${hostname}"),
    guarded: Guarded::Addresses(&[ADDRESSES[0], WIRE_SERVER]),
    reporters: &[&report::REPORTER],
    attestation: Some(Attestation {
        kind: "azure-attested",
        addresses: ADDRESSES,
        protocol: PROTOCOL,
        path: |_, nonce| format!("/metadata/attested/document?api-version=2025-04-07&nonce={nonce}"),
        document: signature,
    }),
    ..Platform::named("azure", metadata::read)
};

/// PKCS #7 with the nonce in it
/// (<https://learn.microsoft.com/azure/virtual-machines/instance-metadata-service#attested-data>).
fn signature(answer: &str) -> Option<String> {
    serde_json::from_str::<Value>(answer).ok()?.get("signature")?.as_str().map(str::to_owned)
}
