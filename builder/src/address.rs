//! Secrets in addresses. Addresses of artifacts are copied into locks, manifests, SBOMs and messages, so they
//! must hold none; those of mirrors may, and are shown without them.

/// Parts of the names of query parameters that grant access, in lower case: signatures of object stores
/// (`X-Amz-Signature`, `X-Goog-Credential`, `AWSAccessKeyId`), and tokens.
const GRANTS: [&str; 7] = ["auth", "credential", "jwt", "key", "pass", "secret", "token"];

/// What stands in the place of a secret.
const HIDDEN: &str = "***";

/// The secret in `address`: a login, or the name of a query parameter that grants access.
pub fn secret(address: &str) -> Option<String> {
    let (_, rest) = address.split_once("://")?;
    if userinfo(authority(rest)).is_some() {
        return Some("a login".to_owned());
    }
    let (name, _) = parameters(rest).find(|(name, _)| grants(name))?;
    Some(format!("the parameter {name}, which grants access"))
}

/// `text`, which may hold several addresses, without the secrets in them.
pub fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("://") {
        let (before, after) = rest.split_at(start + 3);
        let end = after.find([' ', '\t', '\n', '"', '\'']).unwrap_or(after.len());
        // An address may follow at once, as in PREFIX=URL.
        let end = after.find("://").map_or(end, |next| next.min(end));
        shown.push_str(before);
        shown.push_str(&shown_rest(&after[..end]));
        rest = &after[end..];
    }
    shown + rest
}

/// An address from its authority on, without secrets.
fn shown_rest(rest: &str) -> String {
    let authority = authority(rest);
    let tail = &rest[authority.len()..];
    let mut shown = match userinfo(authority).map(|login| login.split_once(':')) {
        None => authority.to_owned(),
        Some(Some((user, _))) => format!("{user}:{HIDDEN}@{}", host(authority)),
        // A name alone may be a token.
        Some(None) => format!("{HIDDEN}@{}", host(authority)),
    };
    let (path, query) = tail.split_once('?').map_or((tail, None), |(path, query)| (path, Some(query)));
    shown.push_str(path);
    for (index, parameter) in query.into_iter().flat_map(|query| query.split('&')).enumerate() {
        shown.push(if index == 0 { '?' } else { '&' });
        match parameter.split_once('=') {
            Some((name, _)) if grants(name) => shown.push_str(&format!("{name}={HIDDEN}")),
            _ => shown.push_str(parameter),
        }
    }
    shown
}

fn authority(rest: &str) -> &str {
    &rest[..rest.find(['/', '\\', '?', '#']).unwrap_or(rest.len())]
}

fn userinfo(authority: &str) -> Option<&str> {
    authority.rsplit_once('@').map(|(login, _)| login)
}

fn host(authority: &str) -> &str {
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

fn parameters(rest: &str) -> impl Iterator<Item = (&str, &str)> {
    let query = rest.split_once('?').map_or("", |(_, query)| query);
    query.split('&').filter_map(|parameter| parameter.split_once('='))
}

fn grants(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name == "sig" || name.contains("signature") || GRANTS.iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_and_signed_queries_are_found_and_hidden() {
        for (address, found, masked) in [
            ("https://me:s3cr3t@a/x", "a login", "https://me:***@a/x"),
            ("https://s3cr3t@a/x?y=1", "a login", "https://***@a/x?y=1"),
            ("https://a:s3cr3t@b@c:8443", "a login", "https://a:***@c:8443"),
            (
                "https://a/x?raw=1&X-Amz-Signature=s3cr3t",
                "X-Amz-Signature",
                "https://a/x?raw=1&X-Amz-Signature=***",
            ),
            ("https://a/x?sig=s3cr3t&se=2030", "sig", "https://a/x?sig=***&se=2030"),
            ("https://a/x?private_token=s3cr3t#f", "private_token", "https://a/x?private_token=***"),
            ("https://a?AWSAccessKeyId=s3cr3t", "AWSAccessKeyId", "https://a?AWSAccessKeyId=***"),
        ] {
            assert!(secret(address).is_some_and(|text| text.contains(found)), "{address}");
            assert_eq!(shown(address), masked);
        }
        for plain in
            ["https://a/x?raw=true&design=1", "https://a/@scope/x", "file:///a@b/x", "no address", ""]
        {
            assert_eq!((secret(plain), shown(plain)), (None, plain.to_owned()));
        }
    }

    #[test]
    fn every_address_of_a_text_is_masked() {
        let text = "mirror \"https://a=ftp://me:s3cr3t@b/x\": https://c?token=s3,cr3t and more";
        assert_eq!(shown(text), "mirror \"https://a=ftp://me:***@b/x\": https://c?token=*** and more");
    }
}
