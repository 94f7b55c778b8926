//! Signatures in minisign's form (<https://jedisct1.github.io/minisign/>): Ed25519 over BLAKE2b of the signed
//! bytes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use contract::public_key::PublicKey;

use super::bounds::wrong;
use crate::error::{ErrorKind, Failure, Result};
use crate::text::hex;

/// Which signers are trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// User data needs no signature.
    Any,
    /// User data needs a signature by one of these keys. Without keys nothing is accepted.
    SignedBy(Vec<PublicKey>),
}

/// Finds which of `keys` made the minisign file `signature` over one of `readings`, which are variants of the
/// same content. Returns the key's id.
pub fn verify<'k>(keys: &'k [PublicKey], readings: &[&[u8]], signature: &str) -> Result<&'k str> {
    let signature = signature.trim_start();
    let parsed = minisign_verify::Signature::decode(signature).map_err(|_| not_minisigns())?;
    let signer = keys.iter().find(|key| readings.iter().any(|bytes| key.has_signed(bytes, &parsed)));
    signer.map(PublicKey::id).ok_or_else(|| {
        Failure::new(
            ErrorKind::Untrusted,
            "the signature is not one that a key of this image made over this content",
        )
        .help(format!("this image trusts {}; sign the file again as it is, with minisign -S", ids(keys)))
    })
}

/// Fails unless `signature` names one of `keys`. Nothing else is known before the signed content is there.
pub fn check_signer(keys: &[PublicKey], signature: &str) -> Result<()> {
    let id = signer(signature).ok_or_else(not_minisigns)?;
    if keys.iter().any(|key| key.id() == id) {
        return Ok(());
    }
    let message = format!("the signature is not one that a key of this image made: it names the key {id}");
    Err(Failure::new(ErrorKind::Untrusted, message).help(format!("this image trusts {}", ids(keys))))
}

/// The id of the key in the second line: two bytes for the algorithm, then the id, the last byte first.
fn signer(signature: &str) -> Option<String> {
    minisign_verify::Signature::decode(signature.trim_start()).ok()?;
    let line = signature.trim_start().lines().nth(1)?;
    let bytes = STANDARD.decode(line.trim()).ok()?;
    let id: Vec<u8> = bytes.get(2..10)?.iter().rev().copied().collect();
    Some(hex(&id).to_ascii_uppercase())
}

fn not_minisigns() -> Failure {
    wrong("the signature is not one of minisign's").help("it has four lines, as minisign -S writes them")
}

/// The error for content without a signature.
pub fn unsigned(keys: &[PublicKey]) -> Failure {
    Failure::new(ErrorKind::Untrusted, "it is not signed, and this image accepts only signed user data")
        .help(format!("sign it with minisign -S; this image trusts {}", ids(keys)))
}

fn ids(keys: &[PublicKey]) -> String {
    let ids: Vec<&str> = keys.iter().map(PublicKey::id).collect();
    if ids.is_empty() { "no key".to_owned() } else { format!("key {}", ids.join(", ")) }
}

#[cfg(test)]
#[path = "signature_tests.rs"]
mod tests;
