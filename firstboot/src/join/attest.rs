//! Documents in which a platform says, under its signature, which of its machines asks.

use ring::rand::{SecureRandom, SystemRandom};
use serde_json::{Value, json};

use crate::error::{ErrorKind, Failure, Result};
use crate::net::Deadline;
use crate::net::service::{Protocol, Service};
use crate::platforms::{azure, ec2, gce};
use crate::text::percent;

/// A platform that signs.
struct Signer {
    platform: &'static str,
    /// What the document is called in a request.
    kind: &'static str,
    addresses: &'static [&'static str],
    protocol: Protocol,
    /// Where it is, for an audience and a nonce.
    path: fn(&str, &str) -> String,
    /// The document in the answer.
    document: fn(&str) -> Option<String>,
}

/// EC2: PKCS #7 with the document in it, by an RSA key of the region
/// (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-identity-documents.html>). GCE: a token for one audience
/// (<https://cloud.google.com/compute/docs/instances/verifying-instance-identity>). Azure: PKCS #7 with the nonce in it
/// (<https://learn.microsoft.com/azure/virtual-machines/instance-metadata-service#attested-data>).
const SIGNERS: &[Signer] = &[
    Signer {
        platform: "ec2",
        kind: "ec2-rsa2048",
        addresses: ec2::ADDRESSES,
        protocol: ec2::PROTOCOL,
        path: |_, _| "/latest/dynamic/instance-identity/rsa2048".to_owned(),
        document: |answer| Some(answer.to_owned()),
    },
    Signer {
        platform: "gce",
        kind: "gce-jwt",
        addresses: gce::ADDRESSES,
        protocol: gce::PROTOCOL,
        path: |audience, _| {
            format!(
                "/computeMetadata/v1/instance/service-accounts/default/identity?audience={}&format=full",
                percent::encoded(audience, b"")
            )
        },
        document: |answer| Some(answer.to_owned()),
    },
    Signer {
        platform: "azure",
        kind: "azure-attested",
        addresses: &["169.254.169.254"],
        protocol: azure::PROTOCOL,
        path: |_, nonce| format!("/metadata/attested/document?api-version=2025-04-07&nonce={nonce}"),
        document: |answer| {
            serde_json::from_str::<Value>(answer).ok()?.get("signature")?.as_str().map(str::to_owned)
        },
    },
];

/// Longest document.
const LONGEST: usize = 32 * 1024;

/// The document for `audience`, as a request for a token carries it: `{"kind", "document", "nonce"}`.
pub fn document(platform: Option<&str>, audience: &str, deadline: Deadline) -> Result<Value> {
    document_at(platform, audience, None, deadline)
}

/// The same from a service at other addresses.
fn document_at(
    platform: Option<&str>,
    audience: &str,
    addresses: Option<&[&str]>,
    deadline: Deadline,
) -> Result<Value> {
    let name = platform.unwrap_or("a machine without a platform");
    let signer = SIGNERS.iter().find(|signer| Some(signer.platform) == platform).ok_or_else(|| {
        let known: Vec<&str> = SIGNERS.iter().map(|signer| signer.platform).collect();
        Failure::new(
            ErrorKind::Config,
            format!("tokenFrom.identity: platform: {name} signs nothing for its machines"),
        )
        .help(format!("{} do; elsewhere use identity: certificate", known.join(", ")))
    })?;
    let nonce = nonce()?;
    let path = (signer.path)(audience, &nonce);
    let mut service = Service::new(addresses.unwrap_or(signer.addresses), signer.protocol, deadline);
    let answer = service
        .text(&path)
        .map_err(|failure| failure.doing("getting the platform's proof of what this machine is"))?;
    let document =
        (signer.document)(&answer).filter(|document| !document.is_empty() && document.len() <= LONGEST);
    let document = document.ok_or_else(|| service.wrong(&path, "the answer holds no signed document"))?;
    Ok(json!({ "kind": signer.kind, "document": document, "nonce": nonce }))
}

/// Ten digits, which is what Azure takes.
fn nonce() -> Result<String> {
    let mut bytes = [0; 8];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| Failure::new(ErrorKind::Host, "the system has no random numbers"))?;
    Ok(format!("{:010}", u64::from_le_bytes(bytes) % 10_000_000_000))
}

#[cfg(test)]
#[path = "attest_tests.rs"]
mod tests;
