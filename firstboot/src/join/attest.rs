//! A machine's proof of identity by its platform: a signed document, for platforms that sign one.

use ring::rand::{SecureRandom, SystemRandom};
use serde_json::{Value, json};

use crate::error::{ErrorKind, Failure, Result};
use crate::net::Deadline;
use crate::net::service::Service;
use crate::platforms;

/// Limit on the bytes of a document.
const LONGEST: usize = 32 * 1024;

/// The document for `audience`, in the form for a token request: `{"kind", "document", "nonce"}`.
pub fn document(platform: Option<&str>, audience: &str, deadline: Deadline) -> Result<Value> {
    document_at(platform, audience, None, deadline)
}

/// Like [`document`], but from a service at other addresses.
fn document_at(
    platform: Option<&str>,
    audience: &str,
    addresses: Option<&[&str]>,
    deadline: Deadline,
) -> Result<Value> {
    let name = platform.unwrap_or("a machine without a platform");
    let signers = || platforms::ALL.iter().filter_map(|row| Some((row.name, row.attestation.as_ref()?)));
    let (_, signer) = signers().find(|(signer, _)| Some(*signer) == platform).ok_or_else(|| {
        let known: Vec<&str> = signers().map(|(signer, _)| signer).collect();
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

/// Azure requires ten digits.
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
