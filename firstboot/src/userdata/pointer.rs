//! `firstboot.kiln/v1` ConfigPointer: the URL of the user data, for platforms that store too little of it.

use ring::digest::{Algorithm, SHA256, SHA512, digest};
use zeroize::Zeroizing;

use super::bounds::{text, wrong};
use super::tree::{Fields, Tree};
use crate::error::{ErrorKind, Failure, Result};
use crate::net::url::{endpoint, is_near, shown};
use crate::text::hex;
use contract::suggest;

/// The kind.
const KIND: &str = "ConfigPointer";
/// The only version.
const API_VERSION: &str = "firstboot.kiln/v1";
/// The fields.
const FIELDS: &[&str] = &["apiVersion", "kind", "url", "sha256", "sha512", "signature"];

/// The URL of the user data, and how to verify it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer {
    /// An https URL, or http, because the content is verified anyway.
    pub url: Address,
    /// A minisign signature of the content.
    pub signature: Option<String>,
    digest: Option<Digest>,
}

/// A URL whose secret parts are not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Address(Zeroizing<String>);

impl Address {
    /// A URL as it is written.
    pub fn new(url: &str) -> Self {
        Self(Zeroizing::new(url.to_owned()))
    }

    /// The whole URL, for the code that fetches it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&shown(&self.0))
    }
}

impl std::fmt::Debug for Address {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{self}/…")
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Digest {
    Sha256(String),
    Sha512(String),
}

impl Digest {
    fn parts(&self) -> (&'static str, &'static Algorithm, &str) {
        match self {
            Self::Sha256(digits) => ("SHA-256", &SHA256, digits),
            Self::Sha512(digits) => ("SHA-512", &SHA512, digits),
        }
    }
}

/// Parses a pointer. `None` if the document in `bytes` is of another kind.
pub fn read(bytes: &[u8]) -> Result<Option<Pointer>> {
    let is_near = bytes.windows(KIND.len()).any(|window| window == KIND.as_bytes());
    if !is_near {
        return Ok(None);
    }
    // Several documents are a node config that only mentions pointers. The parser of node configs handles
    // them.
    let Ok(tree) = Tree::read(text(bytes)?) else { return Ok(None) };
    let Some(fields) = tree.fields()? else { return Ok(None) };
    if fields.value("kind").and_then(|kind| kind.as_str()) != Some(KIND) {
        return Ok(None);
    }
    fields_of(&fields).map(Some).map_err(|failure| failure.doing(KIND))
}

fn fields_of(fields: &Fields) -> Result<Pointer> {
    if fields.text("apiVersion")? != Some(API_VERSION) {
        return Err(
            wrong("the apiVersion is not one that is known").help(format!("write apiVersion: {API_VERSION}"))
        );
    }
    if let Some(unknown) = fields.names().find(|name| !FIELDS.contains(name)) {
        let meant = suggest::did_you_mean(unknown, FIELDS.iter().copied());
        return Err(wrong(format!("it has a field that is not known{meant}"))
            .help(format!("its fields are {}", FIELDS.join(", "))));
    }
    let url = fields.text("url")?.unwrap_or_default();
    let host = url
        .split_once("://")
        .filter(|(scheme, _)| ["https", "http"].contains(scheme))
        .map(|(_, rest)| rest);
    if !host.is_some_and(|host| !host.starts_with('/') && !host.is_empty())
        || url.contains(|each: char| each.is_control() || each == ' ')
    {
        return Err(fields.wrong("url", "an https or http URL"));
    }
    let digest = match (hex_of(fields, "sha256", 64)?, hex_of(fields, "sha512", 128)?) {
        (_, Some(digits)) => Some(Digest::Sha512(digits)),
        (Some(digits), None) => Some(Digest::Sha256(digits)),
        (None, None) => None,
    };
    let signature = fields.text("signature")?.map(str::to_owned);
    if digest.is_none() && signature.is_none() {
        return Err(wrong("it has neither sha256 nor sha512 nor signature")
            .help("add sha256: and the output of sha256sum"));
    }
    Ok(Pointer { url: Address::new(url), signature, digest })
}

fn hex_of(fields: &Fields, name: &str, digits: usize) -> Result<Option<String>> {
    let Some(text) = fields.text(name)? else { return Ok(None) };
    let is_digest = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_digest {
        Ok(Some(text.to_ascii_lowercase()))
    } else {
        Err(fields.wrong(name, &format!("a digest of {digits} hex digits")))
    }
}

impl Pointer {
    /// Whether it has a digest. Without one only the signature protects the content.
    pub fn has_digest(&self) -> bool {
        self.digest.is_some()
    }

    /// Whether it is an https URL whose host is not, by its name or address, this machine or its link.
    pub fn is_far(&self) -> bool {
        let Some(rest) = self.url.reveal().strip_prefix("https://") else { return false };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let authority = authority.rsplit('@').next().unwrap_or_default();
        let Ok(endpoint) = endpoint(authority, 443) else { return false };
        let host = endpoint.host.split('%').next().unwrap_or_default().to_ascii_lowercase();
        let is_local_name = host == "localhost" || host.ends_with(".localhost");
        !is_local_name && !host.parse().is_ok_and(is_near)
    }

    /// Whether `bytes` match the digest.
    pub fn verify(&self, bytes: &[u8]) -> Result<()> {
        let Some((name, algorithm, expected)) = self.digest.as_ref().map(Digest::parts) else {
            return Ok(());
        };
        let found = hex(digest(algorithm, bytes).as_ref());
        if found == expected {
            return Ok(());
        }
        let message = format!("what {} gives is not what the pointer names: its {name} is {found}", self.url);
        Err(Failure::new(ErrorKind::Untrusted, message)
            .help("write the digest of the file that the server has now, or restore that file"))
    }
}

#[cfg(test)]
#[path = "pointer_tests.rs"]
mod tests;
