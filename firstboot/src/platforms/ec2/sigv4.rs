//! AWS Signature Version 4, for requests without a query
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>). Pure;
//! tested with AWS's own test suite.

use std::collections::BTreeMap;
use std::time::SystemTime;

use ring::{digest, hmac};
use x509_cert::der::DateTime;

use crate::secret::Secret;
use crate::text::hex;

/// The credentials of the caller.
#[derive(Debug)]
pub struct Credentials {
    /// The access key's id, which is no secret.
    pub access_key: String,
    /// The access key.
    pub secret_key: Secret,
    /// The session's token: roles have one.
    pub token: Option<Secret>,
}

/// The scope of a signature: region, service and time.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// `eu-central-1`
    pub region: &'a str,
    /// `autoscaling`
    pub service: &'a str,
    /// Servers accept some minutes of difference.
    pub time: DateTime,
}

/// This machine's time; none before 1970.
pub fn now() -> Option<DateTime> {
    DateTime::from_system_time(SystemTime::now()).ok()
}

/// The headers that a request needs beside `headers`, all of which are signed: the names in lower case, the
/// last one is `authorization`.
pub fn sign(
    credentials: &Credentials,
    scope: &Scope,
    method: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Vec<(&'static str, Secret)> {
    sign_path(credentials, scope, (method, "/"), headers, body)
}

/// The same for a request of another path, which is encoded and has no query.
pub fn sign_path(
    credentials: &Credentials,
    scope: &Scope,
    (method, path): (&str, &str),
    headers: &[(&str, &str)],
    body: &[u8],
) -> Vec<(&'static str, Secret)> {
    let time = stamp(&scope.time);
    let mut added = vec![("x-amz-date", Secret::new(time))];
    added.extend(credentials.token.clone().map(|token| ("x-amz-security-token", token)));
    let all: Vec<(&str, &str)> = headers
        .iter()
        .copied()
        .chain(added.iter().map(|(name, value)| (*name, value.reveal())))
        .collect();
    let (canonical, signed) = canonical((method, path), &all, body);
    let text = string_to_sign(scope, &canonical);
    let signature = hex(hmac(&key(&credentials.secret_key, scope), &text).as_ref());
    let (id, scope) = (&credentials.access_key, scope_text(scope));
    let value =
        format!("AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={signed}, Signature={signature}");
    added.push(("authorization", Secret::new(value)));
    added
}

/// The canonical request, and the list of its headers.
fn canonical((method, path): (&str, &str), headers: &[(&str, &str)], body: &[u8]) -> (String, String) {
    let mut sorted: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        let value = value.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
        sorted.entry(name.to_ascii_lowercase()).or_default().push(value);
    }
    let lines: String =
        sorted.iter().map(|(name, values)| format!("{name}:{}\n", values.join(","))).collect();
    let names = sorted.into_keys().collect::<Vec<_>>().join(";");
    (format!("{method}\n{path}\n\n{lines}\n{names}\n{}", sha256(body)), names)
}

fn string_to_sign(scope: &Scope, canonical: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256\n{}\n{}\n{}",
        stamp(&scope.time),
        scope_text(scope),
        sha256(canonical.as_bytes())
    )
}

fn key(secret: &Secret, scope: &Scope) -> hmac::Tag {
    let first = Secret::new(format!("AWS4{}", secret.reveal()));
    let date = hmac::sign(
        &hmac::Key::new(hmac::HMAC_SHA256, first.reveal().as_bytes()),
        day(&scope.time).as_bytes(),
    );
    [scope.region, scope.service, "aws4_request"]
        .iter()
        .fold(date, |key, part| hmac(&key, part))
}

fn hmac(key: &hmac::Tag, text: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()), text.as_bytes())
}

fn scope_text(scope: &Scope) -> String {
    format!("{}/{}/{}/aws4_request", day(&scope.time), scope.region, scope.service)
}

/// The digest of a body, in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// `20150830`
fn day(time: &DateTime) -> String {
    format!("{:04}{:02}{:02}", time.year(), time.month(), time.day())
}

/// `20150830T123600Z`
fn stamp(time: &DateTime) -> String {
    format!("{}T{:02}{:02}{:02}Z", day(time), time.hour(), time.minutes(), time.seconds())
}

#[cfg(test)]
#[path = "sigv4_tests.rs"]
mod tests;
