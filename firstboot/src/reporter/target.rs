//! A URL named by a config or a platform: https by the system's CAs or a pinned one; plain http only to
//! addresses of this machine or link.

use super::{ReportContext, ReportTarget, Setting};
use crate::error::{ErrorKind, Failure, Result};
use crate::net::http::{self, Method, Request};
use crate::net::trust::{Authorities, Trust};
use crate::net::url::{Url, is_near, shown};

/// Settings of a report to a URL.
pub(crate) const SETTINGS: &[Setting] = &[
    Setting { name: "url", is_secret: true, is_required: true, check: check_url },
    Setting {
        name: "caCert",
        is_secret: false,
        is_required: false,
        check: |pem| Authorities::from_pem(pem.as_bytes()).map(drop),
    },
    Setting { name: "bearerToken", is_secret: true, is_required: false, check: check_token },
];

/// Limit on the bytes of an answer without TLS; its contents are not used.
const LONGEST_ANSWER: usize = 64 * 1024;

fn check_url(text: &str) -> std::result::Result<(), String> {
    let Url { endpoint, is_secure, .. } = text.parse()?;
    if is_secure {
        return Ok(());
    }
    if is_near_host(&endpoint.host) {
        Ok(())
    } else {
        Err("must begin with https://; http:// is for addresses of this machine or of the link".to_owned())
    }
}

/// Whether a host is an address of this machine or of the link.
pub(crate) fn is_near_host(host: &str) -> bool {
    host.split('%').next().unwrap_or_default().parse().is_ok_and(is_near)
}

fn check_token(text: &str) -> std::result::Result<(), String> {
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    if is_plain { Ok(()) } else { Err("must be printable ASCII without blanks".to_owned()) }
}

/// The receiver of a target with a URL.
pub(crate) fn host(target: &ReportTarget) -> Result<String> {
    url(target).map(shown)
}

fn url(target: &ReportTarget) -> Result<&str> {
    target.get("url").ok_or_else(|| Failure::new(ErrorKind::Config, "there is no url"))
}

/// POST to the URL of a target.
pub(crate) fn post(
    target: &ReportTarget,
    context: &ReportContext,
    content_type: &str,
    body: &[u8],
) -> Result<()> {
    let url = url(target)?;
    let trust = match target.get("caCert").map(|pem| Authorities::from_pem(pem.as_bytes())) {
        Some(authorities) => {
            Trust::Authorities(authorities.map_err(|why| Failure::new(ErrorKind::Config, why))?)
        }
        None => context.trust.clone(),
    };
    let authorization =
        target.get("bearerToken").map(|token| zeroize::Zeroizing::new(format!("Bearer {token}")));
    let mut headers = vec![("content-type", content_type)];
    headers.extend(authorization.as_ref().map(|value| ("authorization", value.as_str())));
    if url.starts_with("http://") && headers.len() > 1 {
        return Err(Failure::new(ErrorKind::Config, "a bearerToken is not sent without TLS"));
    }
    send(context, url, &headers, body, &trust)
}

/// POST to a URL that the platform itself names, with or without TLS.
pub(crate) fn post_anywhere(
    context: &ReportContext,
    url: &str,
    content_type: &str,
    body: &[u8],
) -> Result<()> {
    send(context, url, &[("content-type", content_type)], body, &context.trust)
}

fn send(
    context: &ReportContext,
    url: &str,
    headers: &[(&str, &str)],
    body: &[u8],
    trust: &Trust,
) -> Result<()> {
    let request = match url.starts_with("http://") {
        true => Request { limit: LONGEST_ANSWER, ..Request::new(Method::POST, url, &Trust::Nobody) },
        false => Request::new(Method::POST, url, trust),
    };
    let request = Request { headers, body, ..request };
    context.retry(|| http::send_ok(&context.network, &request, context.deadline).map(drop))
}

#[cfg(test)]
#[path = "target_tests.rs"]
mod tests;
