//! A URL that a config names, or a platform: https by the system's CAs or a pinned one; without TLS only where nobody is in between.

use std::net::IpAddr;

use super::{Setting, Telling, Wish};
use crate::error::{ErrorKind, Failure, Result};
use crate::net::http::{self, Method, Request};
use crate::net::trust::{Authorities, Trust};
use crate::net::url::{Url, origin, shown};

/// What may be said of a URL.
pub(super) const SETTINGS: &[Setting] = &[
    Setting { name: "url", is_required: true, check: check_url },
    Setting {
        name: "caCert",
        is_required: false,
        check: |pem| Authorities::from_pem(pem.as_bytes()).map(drop),
    },
    Setting { name: "bearerToken", is_required: false, check: check_token },
];

/// Bytes of an answer without TLS that are read; what it says is not used.
const LONGEST_ANSWER: usize = 64 * 1024;

fn check_url(text: &str) -> std::result::Result<(), String> {
    let Url { endpoint, is_secure, .. } = text.parse()?;
    if is_secure {
        return Ok(());
    }
    let is_near = endpoint.host.split('%').next().unwrap_or_default().parse().is_ok_and(is_near);
    if is_near {
        Ok(())
    } else {
        Err("must begin with https://; http:// is for addresses of this machine or of the link".to_owned())
    }
}

/// Loopback and link-local addresses.
fn is_near(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback() || address.is_link_local(),
        IpAddr::V6(address) => address.is_loopback() || address.is_unicast_link_local(),
    }
}

fn check_token(text: &str) -> std::result::Result<(), String> {
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    if is_plain { Ok(()) } else { Err("must be printable ASCII without blanks".to_owned()) }
}

/// Who is told by a wish with a URL.
pub(super) fn host(wish: &Wish) -> Result<String> {
    url(wish).map(|url| origin(url).to_owned())
}

fn url(wish: &Wish) -> Result<&str> {
    wish.get("url").ok_or_else(|| Failure::new(ErrorKind::Config, "there is no url"))
}

/// POST to the URL of a wish.
pub(super) fn post(wish: &Wish, telling: &Telling, content_type: &str, body: &[u8]) -> Result<()> {
    let url = url(wish)?;
    let trust = match wish.get("caCert").map(|pem| Authorities::from_pem(pem.as_bytes())) {
        Some(authorities) => {
            Trust::Authorities(authorities.map_err(|why| Failure::new(ErrorKind::Config, why))?)
        }
        None => telling.trust.clone(),
    };
    let authorization =
        wish.get("bearerToken").map(|token| zeroize::Zeroizing::new(format!("Bearer {token}")));
    let mut headers = vec![("content-type", content_type)];
    headers.extend(authorization.as_ref().map(|value| ("authorization", value.as_str())));
    if url.starts_with("http://") && headers.len() > 1 {
        return Err(Failure::new(ErrorKind::Config, "a bearerToken is not sent without TLS"));
    }
    send(telling, url, &headers, body, &trust)
}

/// POST to a URL that the platform itself names, with or without TLS.
pub(super) fn post_anywhere(telling: &Telling, url: &str, content_type: &str, body: &[u8]) -> Result<()> {
    send(telling, url, &[("content-type", content_type)], body, &telling.trust)
}

fn send(telling: &Telling, url: &str, headers: &[(&str, &str)], body: &[u8], trust: &Trust) -> Result<()> {
    let request = match url.starts_with("http://") {
        true => Request { limit: LONGEST_ANSWER, ..Request::new(Method::POST, url, &Trust::Nobody) },
        false => Request::new(Method::POST, url, trust),
    };
    let request = Request { headers, body, ..request };
    let sent = telling.until_told(|| http::send_ok(&telling.network, &request, telling.deadline).map(drop));
    // The path may be secret: the hooks of chat services have their credential in it.
    sent.map_err(|failure| Failure { message: failure.message.replace(&shown(url), origin(url)), ..failure })
}

#[cfg(test)]
#[path = "target_tests.rs"]
mod tests;
