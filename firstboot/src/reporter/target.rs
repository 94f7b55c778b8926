//! A URL that a config names, or a platform: https by the system's CAs or a pinned one; without TLS only where nobody is in between.

use std::net::IpAddr;

use super::{ReportContext, ReportTarget, Setting};
use crate::error::{ErrorKind, Failure, Result};
use crate::kubernetes::endpoint::Endpoint;
use crate::net::Error;
use crate::net::https::{self, Reply, Trust};
use crate::net::plain::Plain;
use crate::net::trust::Authorities;

/// What may be said of a URL.
pub(crate) const SETTINGS: &[Setting] = &[
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
    let Some(rest) = text.strip_prefix("http://") else { return https::split(text).map(drop) };
    let (endpoint, _) = split_plain(rest)?;
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

/// Host, port and path of what stands behind `http://`.
fn split_plain(rest: &str) -> std::result::Result<(Endpoint, String), String> {
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let has_port = authority.rsplit(']').next().is_some_and(|tail| tail.contains(':'));
    let endpoint = if has_port { authority.parse() } else { format!("{authority}:80").parse() }?;
    let path = path.split('#').next().unwrap_or_default();
    if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("the URL holds characters that no URL has".to_owned());
    }
    Ok((endpoint, if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }))
}

/// A URL's scheme, host and port. The rest may be secret: hooks of chat services have their credential in the path.
pub(crate) fn host_of(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    &url[..url[host..].find(['/', '?', '#']).map_or(url.len(), |length| host + length)]
}

/// Who is told by a target with a URL.
pub(crate) fn host(target: &ReportTarget) -> Result<String> {
    url(target).map(|url| host_of(url).to_owned())
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
    let sent = context.retry(|| match url.strip_prefix("http://") {
        Some(rest) => send_plain(context, rest, headers, body),
        None => https::post(&context.network, url, headers, body, trust, None, context.deadline).map(drop),
    });
    sent.map_err(|failure| Failure {
        message: failure.message.replace(&https::shown(url), host_of(url)),
        ..failure
    })
}

fn send_plain(
    context: &ReportContext,
    rest: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> std::result::Result<(), Error> {
    let (endpoint, path) = split_plain(rest).map_err(|why| Failure::new(ErrorKind::Config, why))?;
    let content_type = headers.first().map_or("", |(_, value)| value);
    let server = Plain {
        network: &context.network,
        endpoint: &endpoint,
        limit: LONGEST_ANSWER,
        deadline: context.deadline,
    };
    let answer = server.post(&path, content_type, body)?;
    https::judge(
        &format!("POST http://{endpoint}"),
        &Reply { status: answer.status, headers: http::HeaderMap::new(), body: Vec::new() },
    )
}

#[cfg(test)]
#[path = "target_tests.rs"]
mod tests;
