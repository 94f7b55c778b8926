//! The tokens that registries of container images ask for, also of those who have no account there
//! (<https://distribution.github.io/distribution/spec/auth/token/>).

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use reqwest::Url;
use reqwest::header::HeaderValue;

/// The largest answer with a token that is read, in bytes.
pub(super) const LARGEST_ANSWER: u64 = 1 << 20;

/// The kinds of documents that a registry may give for an image; without these words some give an older kind.
pub(super) const DOCUMENTS: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.docker.distribution.manifest.v2+json";

/// The tokens of a run: one for each repository.
#[derive(Debug, Default)]
pub(super) struct Tokens(Mutex<BTreeMap<String, HeaderValue>>);

impl Tokens {
    /// The token for what is at `url`.
    pub(super) fn of(&self, url: &Url) -> Option<HeaderValue> {
        let tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.get(&repository(url)?).cloned()
    }

    /// Keeps the token in the answer of a token server for what is at `url`; false if there is none in it.
    pub(super) fn keep(&self, url: &Url, answer: &[u8]) -> bool {
        let (Some(repository), Some(token)) = (repository(url), token(answer)) else { return false };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(repository, token);
        true
    }
}

/// Whether a registry has an index or a manifest at `url`.
pub(super) fn is_document(url: &Url) -> bool {
    repository(url).is_some() && url.path().contains("/manifests/")
}

/// The repository of a registry that `url` leads into (distribution-spec, "Endpoints").
fn repository(url: &Url) -> Option<String> {
    let path = url.path().strip_prefix("/v2/")?;
    let end = ["/manifests/", "/blobs/"].iter().filter_map(|kind| path.rfind(kind)).max()?;
    Some(format!("{}/{}", url.origin().ascii_serialization(), &path[..end]))
}

fn token(answer: &[u8]) -> Option<HeaderValue> {
    let answer: serde_json::Value = serde_json::from_slice(answer).ok()?;
    let token = ["token", "access_token"].iter().find_map(|key| answer[key].as_str())?;
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The address of the token that the server at `url` asks for in its header `WWW-Authenticate` (RFC 9110
/// §11.6.1): `Bearer realm="https://…",service="…",scope="…"`. Never one without TLS for a server with it.
pub fn token_address(header: &str, url: &Url) -> Option<Url> {
    let (scheme, rest) = header.trim().split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let values = parameters(rest)?;
    let mut address = Url::parse(values.get("realm")?).ok()?;
    let allowed = address.scheme() == "https" || (address.scheme() == "http" && url.scheme() == "http");
    if !allowed {
        return None;
    }
    for key in ["service", "scope"] {
        if let Some(value) = values.get(key) {
            address.query_pairs_mut().append_pair(key, value);
        }
    }
    Some(address)
}

/// `key="value", …`; values may be without quotes.
fn parameters(mut rest: &str) -> Option<BTreeMap<String, String>> {
    let mut values = BTreeMap::new();
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return Some(values);
        }
        let (key, after) = rest.split_once('=')?;
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_at(after.find(',').unwrap_or(after.len())),
        };
        values.insert(key.trim().to_ascii_lowercase(), value.trim().to_owned());
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(header: &str, url: &str) -> Option<String> {
        token_address(header, &Url::parse(url).unwrap()).map(String::from)
    }

    #[test]
    fn a_challenge_leads_to_the_token_and_never_out_of_tls() {
        let hub = "https://hub.example/v2/a/b/manifests/1";
        let scope = r#"Bearer realm="https://auth.example/token?x=1",service="hub.example",scope="repository:a/b:pull""#;
        let address = "https://auth.example/token?x=1&service=hub.example&scope=repository%3Aa%2Fb%3Apull";
        assert_eq!(asked(scope, hub).as_deref(), Some(address));
        assert_eq!(asked("bearer realm=https://a/t", hub).as_deref(), Some("https://a/t"));
        let plain = r#"Bearer realm="http://auth.example/token""#;
        assert_eq!(asked(plain, hub), None);
        assert!(asked(plain, "http://hub.example/v2/a/b/blobs/x").is_some());
        for wrong in
            ["Basic realm=\"https://a\"", "Bearer", "Bearer realm", "Bearer realm=\"https://a", "Bearer x=1"]
        {
            assert_eq!(asked(wrong, hub), None, "{wrong}");
        }
    }

    #[test]
    fn a_token_is_of_one_repository() {
        let tokens = Tokens::default();
        let url = |text: &str| Url::parse(text).unwrap();
        let manifest = url("https://hub.example/v2/a/b/manifests/1");
        for wrong in ["", "{}", r#"{"token":1}"#, "{\"token\":\"a\\nb\"}"] {
            assert!(!tokens.keep(&manifest, wrong.as_bytes()), "{wrong}");
        }
        assert!(tokens.keep(&manifest, br#"{"access_token":"t"}"#));
        let token = tokens.of(&url("https://hub.example/v2/a/b/blobs/sha256:00")).unwrap();
        assert_eq!(token, "Bearer t");
        assert!(!format!("{tokens:?}").contains("Bearer t"));
        for other in [
            "https://hub.example/v2/a/c/blobs/x",
            "https://other.example/v2/a/b/blobs/x",
            "https://hub.example/x",
        ] {
            assert_eq!(tokens.of(&url(other)), None, "{other}");
        }
    }
}
