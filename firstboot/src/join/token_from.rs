//! Requests a token just before it is used. So a launch template can be of any age, and holds no secret.
//!
//! ```text
//! POST {apiVersion: firstboot.kiln/v1, kind: TokenRequest, machine, platform, instanceId, nodeName, identity: {kind, document, nonce}}
//!   ─► {token, expires, endpoint, caCertHashes}: only the token must be there
//! ```
//!
//! An interrupted join requests a new token. The token stays in memory.

use std::path::Path;
use std::time::SystemTime;

use serde::Deserialize;
use serde_json::{Value, json};
use x509_cert::der::DateTime;
use zeroize::Zeroizing;

use super::{Join, attest};
use crate::config::model::{Discovery, Proof, TokenFrom};
use crate::config::read_pin;
use crate::error::{ErrorKind, Failure, Result};
use crate::host::files;
use crate::host::root::Root;
use crate::kubernetes::token::Token;
use crate::net::Endpoint;
use crate::net::http::{self, Method, Request};
use crate::net::retry::{self, Backoff};
use crate::net::trust::{Authorities, ClientCertificate, Trust};
use crate::net::url::{resource, shown};
use crate::net::{Deadline, Error, Network};
use crate::secret::Secret;

/// Limit on an answer, in bytes.
const LONGEST: usize = 64 * 1024;
/// Limit on a file with a certificate or key, in bytes.
const LONGEST_FILE: u64 = 256 * 1024;
/// Limit on the hashes in an answer.
const MOST: usize = 16;

/// A token and the parts of a discovery that came with it.
#[derive(Debug, PartialEq, Eq)]
pub struct TokenResponse {
    /// The bootstrap token.
    pub token: Token,
    /// The address of the API server.
    pub endpoint: Option<Endpoint>,
    /// Lower-case hex SHA-256 of the public keys of the cluster's CA.
    pub pins: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    token: String,
    expires: Option<String>,
    endpoint: Option<String>,
    ca_cert_hashes: Option<Vec<String>>,
}

/// Requests a token and returns the complete discovery.
pub fn ask(join: &Join, from: &TokenFrom) -> Result<Discovery> {
    let deadline = join.deadline.within(from.timeout);
    let shown = shown(from.url.reveal());
    let identity = match from.identity {
        Proof::Platform => {
            Some(attest::document(join.facts.text("platform"), &resource(from.url.reveal()), deadline)?)
        }
        Proof::None | Proof::Certificate => None,
    };
    let body = request(join, identity).to_string();
    let given = send(&join.network, join.root, from, body.as_bytes(), deadline, &mut join.backoff())
        .map_err(|failure| failure.doing("asking for a token"))?;
    join.print(&format!("a token came from {shown}"));
    merge(&join.config.join.discovery, given)
}

fn request(join: &Join, identity: Option<Value>) -> Value {
    json!({
        "apiVersion": "firstboot.kiln/v1",
        "kind": "TokenRequest",
        "machine": join.machine.identity,
        "platform": join.facts.text("platform"),
        "instanceId": join.facts.text("instance-id"),
        "nodeName": join.config.node_name(),
        "identity": identity,
    })
}

/// Sends the request until an answer decides it.
fn send(
    network: &Network,
    root: &Root,
    from: &TokenFrom,
    body: &[u8],
    deadline: Deadline,
    backoff: &mut Backoff,
) -> Result<TokenResponse> {
    let (trust, certificate) = (trust(from)?, certificate(root, from)?);
    let headers = [("content-type", "application/json"), ("accept", "application/json")];
    let request = Request {
        headers: &headers,
        body,
        certificate: certificate.as_ref(),
        ..Request::new(Method::POST, from.url.reveal(), &trust)
    };
    let (date, body) = retry::until(deadline, backoff, || {
        let reply = http::send_ok(network, &request, deadline)?;
        Ok::<_, Error>((reply.date(), Zeroizing::new(reply.body)))
    })?;
    parse(&body, date.unwrap_or_else(SystemTime::now))
        .map_err(|failure| failure.doing(shown(from.url.reveal())))
}

/// Reads an answer that arrived at `now`; null and an empty text are as good as a missing field. Errors do
/// not repeat it.
pub fn parse(body: &[u8], now: SystemTime) -> Result<TokenResponse> {
    if body.len() > LONGEST {
        return Err(wrong(&format!("it is longer than {LONGEST} bytes")));
    }
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(wrong("it is no JSON object"));
    }
    let answer: Answer = serde_json::from_slice(body).map_err(|error| {
        wrong(&format!(
            "it is not the JSON that is expected, at line {} column {}",
            error.line(),
            error.column()
        ))
    })?;
    let text = Zeroizing::new(answer.token);
    let token = text.parse().map_err(|why| wrong(&format!("token: {why}")))?;
    let given = |text: &String| !text.is_empty();
    check_expiry(answer.expires.filter(given).as_deref(), now)?;
    let endpoint = answer
        .endpoint
        .filter(given)
        .map(|text| text.parse().map_err(|_| wrong("endpoint: it is not host:port")))
        .transpose()?;
    let pins = answer.ca_cert_hashes.unwrap_or_default();
    if pins.len() > MOST {
        return Err(wrong(&format!("caCertHashes: there are more than {MOST}")));
    }
    let pin =
        |text: &String| read_pin(text).ok_or_else(|| wrong("caCertHashes: one is not sha256: and 64 digits"));
    Ok(TokenResponse { token, endpoint, pins: pins.iter().map(pin).collect::<Result<_>>()? })
}

fn wrong(why: &str) -> Failure {
    Failure::new(ErrorKind::Credential, format!("the answer is no token: {why}"))
}

fn check_expiry(expires: Option<&str>, now: SystemTime) -> Result<()> {
    let Some(expires) = expires else { return Ok(()) };
    let at = utc(expires).ok_or_else(|| wrong("expires: it is no time of the form 2026-01-02T03:04:05Z"))?;
    if SystemTime::UNIX_EPOCH + at.unix_duration() > now {
        return Ok(());
    }
    Err(Failure::new(ErrorKind::Credential, "the token that was given has expired")
        .help("the server must make tokens that live for some minutes; is its clock right?"))
}

/// A time in UTC (RFC 3339), without the fractions of its second that many libraries write.
fn utc(text: &str) -> Option<DateTime> {
    let (seconds, zone) = text.split_at_checked("2026-01-02T03:04:05".len())?;
    let zone = zone.trim_start_matches(|letter: char| letter == '.' || letter.is_ascii_digit());
    matches!(zone, "Z" | "+00:00").then(|| format!("{seconds}Z").parse().ok())?
}

/// Values of the config win. Missing parts come from the answer, because the config trusts its sender.
fn merge(config: &Discovery, given: TokenResponse) -> Result<Discovery> {
    let Discovery::RequestedToken { endpoints, pins, unsafe_skip_ca_verification } = config else {
        return Err(Failure::new(ErrorKind::Internal, "a token was asked for that nobody needs"));
    };
    let missing = |what: &str| {
        Failure::new(
            ErrorKind::Config,
            format!("neither the node config nor the answer to tokenFrom has {what}"),
        )
        .help("write it into discovery.bootstrapToken, or let the server give it")
    };
    let endpoints =
        if endpoints.is_empty() { given.endpoint.into_iter().collect() } else { endpoints.clone() };
    let pins = if pins.is_empty() { given.pins } else { pins.clone() };
    if endpoints.is_empty() {
        return Err(missing("the endpoint of an API server"));
    }
    if pins.is_empty() && !unsafe_skip_ca_verification {
        return Err(missing("caCertHashes"));
    }
    Ok(Discovery::Token {
        endpoints,
        token: given.token,
        pins,
        unsafe_skip_ca_verification: *unsafe_skip_ca_verification,
    })
}

fn trust(from: &TokenFrom) -> Result<Trust> {
    match &from.ca_cert {
        Some(pem) => {
            let authorities = Authorities::from_pem(pem.as_bytes());
            authorities
                .map(Trust::Authorities)
                .map_err(|why| Failure::new(ErrorKind::Config, format!("tokenFrom.caCert: {why}")))
        }
        None if from.ca_cert_hashes.is_empty() => Ok(Trust::System),
        None => Ok(Trust::Keys(from.ca_cert_hashes.clone())),
    }
}

fn certificate(root: &Root, from: &TokenFrom) -> Result<Option<ClientCertificate>> {
    let Some((certificate, key)) = &from.client else { return Ok(None) };
    let read = |path: &Path| {
        let wrong =
            |why: &str| Failure::new(ErrorKind::Config, format!("tokenFrom: {}: {why}", path.display()));
        let bytes = Zeroizing::new(
            files::read(&root.path(path), LONGEST_FILE)?.ok_or_else(|| wrong("there is no such file"))?,
        );
        std::str::from_utf8(&bytes)
            .map(|text| Secret::new(text.to_owned()))
            .map_err(|_| wrong("it is not PEM"))
    };
    let pair = ClientCertificate::from_pem(&read(certificate)?, &read(key)?);
    pair.map(Some).map_err(|why| Failure::new(ErrorKind::Config, format!("tokenFrom: {why}")))
}

#[cfg(test)]
#[path = "token_from_tests.rs"]
mod tests;
