//! Google Compute Engine: the metadata server
//! (<https://cloud.google.com/compute/docs/metadata/querying-metadata>).

pub(crate) mod metadata;
mod report;

use super::{Attestation, Guarded, Platform};
use crate::evidence::{Field, Sign};
use crate::net::service::Protocol;
use crate::text::percent;

const ADDRESSES: &[&str] = &["169.254.169.254", "fd20:ce::254"];
const FLAVOR: (&str, &str) = ("metadata-flavor", "Google");
const PROTOCOL: Protocol =
    Protocol { headers: &[FLAVOR], answers_with: Some(FLAVOR), session: None, privileged_port: false };

pub(super) const PLATFORM: Platform = Platform {
    signs: &[
        Sign::Is(Field::ProductName, "Google Compute Engine"),
        Sign::Begins(Field::ProductSerial, "GoogleCloud-"),
    ],
    provider_id: Some("gce://${project}/${zone}/${name}"),
    // The cloud controller manager finds an instance by its name, not by its host name, which has the project
    // in it.
    node_name: Some("${name}"),
    guarded: Guarded::Addresses(ADDRESSES),
    reporters: &[&report::REPORTER],
    attestation: Some(Attestation {
        kind: "gce-jwt",
        addresses: ADDRESSES,
        protocol: PROTOCOL,
        path: identity,
        document: |answer| Some(answer.to_owned()),
    }),
    ..Platform::named("gce", metadata::read)
};

/// A token for one audience (<https://cloud.google.com/compute/docs/instances/verifying-instance-identity>).
fn identity(audience: &str, _: &str) -> String {
    format!(
        "/computeMetadata/v1/instance/service-accounts/default/identity?audience={}&format=full",
        percent::encoded(audience, b"")
    )
}
