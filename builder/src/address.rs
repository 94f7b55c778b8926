//! Secrets in addresses. Addresses of artifacts are copied into locks, manifests, SBOMs and messages, so they
//! must hold none; those of mirrors may, and are shown without them. Everything that Kiln says passes
//! [`said`], so this is the only place that knows how an address is shown.

use std::path::{Path, PathBuf};

use contract::text::visible_lines;

/// Parts of the names of parameters that grant access, in lower case: signatures of object stores
/// (`X-Amz-Signature`, `X-Goog-Credential`, `AWSAccessKeyId`), and tokens.
const GRANTS: [&str; 10] =
    ["auth", "bearer", "cred", "jwt", "key", "pass", "pwd", "secret", "session", "token"];

/// Schemes after which readers of addresses take any number of slashes, in either direction
/// (<https://url.spec.whatwg.org/#special-scheme>).
const SPECIAL: [&str; 4] = ["http", "https", "ftp", "file"];

/// What stands in the place of a secret.
const HIDDEN: &str = "***";

/// The `file:` address of a local path; `None` if the working directory is gone.
pub fn of_path(path: &Path) -> Option<String> {
    let path = std::path::absolute(path).ok()?;
    reqwest::Url::from_file_path(path).ok().map(String::from)
}

/// The local path of a `file:` address.
pub fn to_path(address: &str) -> Option<PathBuf> {
    let url = reqwest::Url::parse(address).ok().filter(|url| url.scheme() == "file")?;
    url.to_file_path().ok()
}

/// `text` as it may be said: without the secrets of addresses in it, and without hidden characters.
pub fn said(text: &str) -> String {
    visible_lines(&shown(text)).into_owned()
}

/// The secret in `address`: a login, or the name of a parameter that grants access.
pub fn secret(address: &str) -> Option<String> {
    let (scheme, rest) = address.split_at(scheme_end(address));
    if login_end(rest) > 0 || (scheme.is_empty() && rest.contains('@')) {
        return Some("a login".to_owned());
    }
    let name = parameters(rest).find_map(granting)?;
    Some(format!("the parameter {name}, which grants access"))
}

/// An address alone, however wrong it is, without the secrets in it.
pub fn shown_alone(address: &str) -> String {
    let start = scheme_end(address);
    let (scheme, rest) = address.split_at(start);
    match rest.rfind('@') {
        // The scheme is wrong or missing, or the address ends nowhere: a login may have any form.
        Some(at) if start == 0 || rest.contains(char::is_whitespace) => {
            shown(&format!("{scheme}{HIDDEN}{}", &rest[at..]))
        }
        _ => shown(&format!("{scheme}{}", shown_rest(rest))),
    }
}

/// `text`, which may hold several addresses, without the secrets in them.
pub fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let (mut rest, mut is_address) = (text, false);
    loop {
        if !is_address {
            let Some(start) = next_address(rest) else { return shown + rest };
            shown.push_str(&rest[..start]);
            rest = &rest[start..];
        }
        let end = rest.find([' ', '\t', '\r', '\n', '"', '\'']).unwrap_or(rest.len());
        // An address may follow at once, as in PREFIX=URL. A backslash at the end is of a quote in JSON.
        let next = next_address(&rest[..end]);
        let end = next.unwrap_or_else(|| rest[..end].trim_end_matches('\\').len());
        shown.push_str(&shown_rest(&rest[..end]));
        (rest, is_address) = (&rest[end..], next.is_some());
    }
}

/// An address from its authority on, without secrets.
fn shown_rest(rest: &str) -> String {
    let login = login_end(rest);
    let mut shown = if login > 0 { format!("{HIDDEN}@") } else { String::new() };
    let rest = &rest[login..];
    let start = rest.find(['?', '#']).unwrap_or(rest.len());
    shown.push_str(&rest[..start]);
    for parameter in parameters(rest) {
        let value = parameter.find('=').filter(|_| granting(parameter).is_some());
        shown.push_str(value.map_or(parameter, |value| &parameter[..=value]));
        shown.push_str(value.map_or("", |_| HIDDEN));
    }
    shown
}

/// The position in `text` at which the next address has its authority.
fn next_address(text: &str) -> Option<usize> {
    text.match_indices(':').find_map(|(colon, _)| {
        let end = after_colon(text, colon);
        (end > colon + 1).then_some(end)
    })
}

/// The position at which the authority of an address begins, after the scheme; 0 if it has none.
fn scheme_end(address: &str) -> usize {
    let colon = address.find(':').unwrap_or_default();
    let is_special = SPECIAL.iter().any(|scheme| address[..colon].eq_ignore_ascii_case(scheme));
    let end = after_colon(address, colon);
    if is_special || end > colon + 1 { end } else { 0 }
}

/// The end of the slashes after a colon that ends a scheme, or the position after the colon.
fn after_colon(text: &str, colon: usize) -> usize {
    let is_of_scheme = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '+' | '-' | '.');
    let scheme = text[..colon].rsplit(|letter| !is_of_scheme(letter)).next().unwrap_or_default();
    let rest = text.get(colon + 1..).unwrap_or_default();
    let slashes = rest.len() - rest.trim_start_matches(['/', '\\']).len();
    let is_special = SPECIAL.iter().any(|special| scheme.eq_ignore_ascii_case(special));
    colon
        + 1
        + match slashes {
            0 | 1 if !is_special => 0,
            // A file has no server, but its path begins with a slash.
            _ if scheme.eq_ignore_ascii_case("file") || !is_special => slashes.min(2),
            _ => slashes,
        }
}

/// The end of the login in an address from its authority on; 0 without one. A login with a slash, a question
/// mark or a hash in it reads as a server and more, but such a server has no proper name or port.
fn login_end(rest: &str) -> usize {
    let authority = &rest[..rest.find(['/', '\\', '?', '#']).unwrap_or(rest.len())];
    let within = authority.rfind('@').map(|at| at + 1);
    let encoded = authority.to_ascii_lowercase().rfind("%40").map(|at| at + 3);
    let beyond = || rest.rfind('@').map(|at| at + 1).filter(|_| !is_server(authority));
    within.or(encoded).or_else(beyond).unwrap_or_default()
}

fn is_server(authority: &str) -> bool {
    let bracket = authority.rfind(']').map(|at| at + 1);
    let end = bracket.or_else(|| authority.find(':')).unwrap_or(authority.len());
    let (host, port) = authority.split_at(end);
    let others: &[u8] = if bracket.is_some() { b"[:.%-]" } else { b".-_" };
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    host.bytes().all(|byte| byte.is_ascii_alphanumeric() || others.contains(&byte))
        && (port.is_empty() || port.strip_prefix(':').is_some_and(is_number))
}

/// The parameters in query and fragment, each with the character before it.
fn parameters(rest: &str) -> impl Iterator<Item = &str> {
    let mut rest = &rest[rest.find(['?', '#']).unwrap_or(rest.len())..];
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let end = rest[first.len_utf8()..].find(['?', '#', '&', ';']).map_or(rest.len(), |at| at + 1);
        let (parameter, after) = rest.split_at(end);
        rest = after;
        Some(parameter)
    })
}

/// The name of the parameter, if its value grants access: by its name, or because it is an address that does.
fn granting(parameter: &str) -> Option<String> {
    let (name, value) = parameter.get(1..)?.split_once('=')?;
    let name = decoded(name).to_ascii_lowercase();
    let grants = matches!(name.as_str(), "sig" | "sign")
        || name.contains("signature")
        || GRANTS.iter().any(|word| name.contains(word))
        || (value.contains('%') && secret(&decoded(value)).is_some());
    grants.then_some(name)
}

/// The text without percent-encoding (RFC 3986 §2.1).
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(&byte) = bytes.get(at) {
        let digits = text.get(at + 1..at + 3).filter(|_| byte == b'%');
        let code = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        out.push(code.unwrap_or(byte));
        at += if code.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_and_signed_queries_are_found_and_hidden() {
        for (address, found, masked) in [
            ("https://me:s3cr3t@a/x", "a login", "https://***@a/x"),
            ("https://s3cr3t:x-oauth-basic@a/x", "a login", "https://***@a/x"),
            ("https://s3cr3t@a/x?y=1", "a login", "https://***@a/x?y=1"),
            ("https://a:s3cr3t@b@c:8443", "a login", "https://***@c:8443"),
            ("HTTPS://me:s3cr3t@a/x", "a login", "HTTPS://***@a/x"),
            ("https:/me:s3cr3t@a/x", "a login", "https:/***@a/x"),
            ("https:me:s3cr3t@a/x", "a login", "https:***@a/x"),
            ("https:\\\\me:s3cr3t@a\\x", "a login", "https:\\\\***@a\\x"),
            ("https:///me:s3cr3t@a/x", "a login", "https:///***@a/x"),
            ("htps://me:s3cr3t@a/x", "a login", "htps://***@a/x"),
            ("https://me%3As3cr3t@a/x", "a login", "https://***@a/x"),
            ("https://me:s3cr3t%40a/x", "a login", "https://***@a/x"),
            ("https://me:s3/cr3t@a/x", "a login", "https://***@a/x"),
            ("https://me:s3?cr3t@a/x", "a login", "https://***@a/x"),
            ("https://me:s3#cr3t@a/x", "a login", "https://***@a/x"),
            ("me:s3cr3t@a/x", "a login", "***@a/x"),
            ("//me:s3cr3t@a/x", "a login", "***@a/x"),
            ("https//me:s3cr3t@a/x", "a login", "***@a/x"),
            ("https://me:s3 cr3t@a/x", "a login", "https://***@a/x"),
            (
                "https://a/x?raw=1&X-Amz-Signature=s3cr3t",
                "x-amz-signature",
                "https://a/x?raw=1&X-Amz-Signature=***",
            ),
            ("https://a/x?sig=s3cr3t&se=2030", "sig", "https://a/x?sig=***&se=2030"),
            ("https://a/x?private_token=s3cr3t#f", "private_token", "https://a/x?private_token=***#f"),
            ("https://a/x?to%6ben=s3cr3t", "token", "https://a/x?to%6ben=***"),
            ("https://a/x?b;token=s3cr3t", "token", "https://a/x?b;token=***"),
            ("https://a/x#access_token=s3cr3t&b=c", "access_token", "https://a/x#access_token=***&b=c"),
            ("https://a?AWSAccessKeyId=s3cr3t", "awsaccesskeyid", "https://a?AWSAccessKeyId=***"),
            ("https://a?of=https%3A%2F%2Fme%3As3cr3t%40b", "of", "https://a?of=***"),
        ] {
            assert!(secret(address).is_some_and(|text| text.contains(found)), "{address}");
            assert_eq!(shown_alone(address), masked);
            assert_eq!(shown_alone(&shown_alone(address)), masked, "shown twice");
        }
        for plain in [
            "https://a/x?raw=true&design=1",
            "https://a/@scope/x",
            "https://a.b:8443/x@1/y?z#w",
            "https://[::1]:80/@x",
            "https://[::1]/@x",
            "file:///a@b/x",
            "no address",
            "",
        ] {
            assert_eq!((secret(plain), shown_alone(plain)), (None, plain.to_owned()));
        }
    }

    #[test]
    fn every_address_of_a_text_is_masked() {
        let text =
            "mirror \"https://a=ftp://me:s3cr3t@b/x\": HTTP:/me:s3cr3t@c and https://c?token=s3,cr3t\nmore";
        let masked = "mirror \"https://a=ftp://***@b/x\": HTTP:/***@c and https://c?token=***\nmore";
        assert_eq!(shown(text), masked);
        let json = serde_json::json!({ "a": text }).to_string();
        let read: serde_json::Value = serde_json::from_str(&shown(&json)).unwrap();
        assert!(!read.to_string().contains("s3"), "{read}");
        for plain in ["a:b@c", "registry/name:1.2@sha256:ab", "12:30: x", "é:é", "::", "c:/x@y", "a://", ""]
        {
            assert_eq!(shown(plain), plain);
        }
    }
}
