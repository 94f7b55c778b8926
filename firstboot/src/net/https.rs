//! One request to an `https://` URL that a config names, and its answer: bounded, no proxy, redirects not followed.
//!
//! [`send`] gives whatever was answered; [`post`] only a success.

use std::sync::Arc;
use std::time::SystemTime;

use http::header::DATE;
use http::{HeaderMap, Method, Request};
use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig};

use super::connection::{Connection, Fault};
use super::error::retry_after;
use super::exchange;
use super::head::head;
use super::network::{Counters, Network};
use super::trust::{self, Authorities, ClientCertificate};
use super::{Answer, Deadline, Error, pinned, resolve};
use crate::error::{ErrorKind, Failure, Result};
use crate::kubernetes::server::Server;

/// Statuses that say nothing of the request itself: it may be sent again. So are all from 500 on.
const PASSING: &[u16] = &[408, 425, 429];

/// Why a server is trusted. Its certificate must name the URL's host in any case.
#[derive(Debug, Clone)]
pub enum Trust {
    /// The CAs of the machine's image.
    System,
    /// These CAs alone.
    Authorities(Authorities),
    /// Any of these keys: lower-case hex SHA-256 of the SubjectPublicKeyInfo, without `sha256:`, of the server's own certificate or of a CA
    /// that it sends with it.
    Keys(Vec<String>),
}

/// One request.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// The method.
    pub method: &'a Method,
    /// `https://host[:port]/path?query`
    pub url: &'a str,
    /// Beside `Host`, `User-Agent` and `Content-Length`; none of them is ever shown.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body; none is sent when it is empty.
    pub body: &'a [u8],
    /// Whom the server must be.
    pub trust: &'a Trust,
    /// Who asks, where the server wants to know it by TLS.
    pub certificate: Option<&'a ClientCertificate>,
}

/// An answer, whatever its status.
#[derive(Debug)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Vec<u8>,
}

/// POST, once; an answer that is no success is an error, which says whether the same request may succeed later.
pub fn post(
    network: &Network,
    url: &str,
    headers: &[(&str, &str)],
    body: &[u8],
    trust: &Trust,
    certificate: Option<&ClientCertificate>,
    deadline: Deadline,
) -> std::result::Result<Answer, Error> {
    let reply =
        send(network, &Ask { method: &Method::POST, url, headers, body, trust, certificate }, deadline)?;
    let asked = format!("POST {}", shown(url));
    judge(&asked, &reply)?;
    let date = reply
        .headers
        .get(DATE)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| httpdate::parse_http_date(text).ok());
    Ok(Answer { status: reply.status, date, body: reply.body, asked })
}

/// Sends the request, once; it has the network's time for a request at most.
pub fn send(network: &Network, ask: &Ask, deadline: Deadline) -> std::result::Result<Reply, Error> {
    let (server, path) = split(ask.url)
        .map_err(|why| Failure::new(ErrorKind::Config, format!("{}: {why}", shown(ask.url))))?;
    let tls = match ask.trust {
        Trust::System => trust::verifying(&Authorities::system()?, ask.certificate),
        Trust::Authorities(authorities) => trust::verifying(authorities, ask.certificate),
        Trust::Keys(keys) => pinned::verifying(keys, ask.certificate),
    }?;
    let deadline = deadline.within(network.request_timeout);
    let mut connection = connect(network, &server, tls, ask, deadline)?;
    let request = request(&server, &path, ask)?;
    Counters::add(&network.counters().requests, 1);
    let received = exchange::ask(&mut connection, request, ask.body, deadline)
        .map_err(|fault| failure(ask, &server, fault, deadline))?;
    let (status, headers) = (received.status, received.headers.clone());
    let (body, _) = received
        .whole_body(&mut connection, deadline)
        .map_err(|fault| failure(ask, &server, fault, deadline))?;
    Ok(Reply { status, headers, body })
}

/// The error for a status that is no success. What the body says is not shown: it may repeat what was sent.
pub fn judge(asked: &str, reply: &Reply) -> std::result::Result<(), Error> {
    let status = reply.status;
    let reason = http::StatusCode::from_u16(status)
        .ok()
        .and_then(|code| code.canonical_reason())
        .unwrap_or("unknown status");
    let (class, why) = match status {
        200..=299 => return Ok(()),
        300..=399 => (ErrorKind::Unreachable, format!("{status} {reason}: redirects are not followed")),
        401 | 403 => (ErrorKind::Credential, format!("{status} {reason}")),
        408 | 425 | 429 | 500.. => (ErrorKind::Unreachable, format!("{status} {reason}")),
        _ => (ErrorKind::Refused, format!("{status} {reason}")),
    };
    let failure = Failure::new(class, format!("{asked}: {why}"));
    let failure = if PASSING.contains(&status) || status >= 500 { failure.transient() } else { failure };
    Err(Error {
        status: Some(status),
        retry_after: retry_after(&reply.headers, SystemTime::now()),
        ..failure.into()
    })
}

/// A URL as a message shows it: without its query, which may be secret.
pub fn shown(url: &str) -> String {
    super::error::shown(url.split(['?', '#']).next().unwrap_or_default())
}

/// A URL's server, and what is asked of it. Credentials in a URL are refused: they would be shown.
pub fn split(url: &str) -> std::result::Result<(Server, String), String> {
    let url = url.split('#').next().unwrap_or_default();
    if !url.starts_with("https://") {
        return Err("the URL does not begin with https://".to_owned());
    }
    let (server, path) = url.split_at(origin(url));
    Ok((server.parse()?, if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }))
}

/// Where the path of a URL begins.
pub(crate) fn origin(url: &str) -> usize {
    let host = "https://".len().min(url.len());
    url[host..].find(['/', '?', '#']).map_or(url.len(), |length| host + length)
}

/// What the header `Host` says: the port only where it is not 443.
pub fn host(server: &Server) -> String {
    let url = server.url("");
    let host = url.strip_prefix("https://").unwrap_or(&url);
    host.strip_suffix(":443").unwrap_or(host).to_owned()
}

fn connect(
    network: &Network,
    server: &Server,
    tls: Arc<ClientConfig>,
    ask: &Ask,
    deadline: Deadline,
) -> Result<Connection> {
    let endpoint = &server.endpoint;
    let host = endpoint.host.split('%').next().unwrap_or(&endpoint.host).to_owned();
    let name = ServerName::try_from(host).map_err(|_| {
        Failure::new(
            ErrorKind::Config,
            format!("{endpoint}: the host is neither a DNS name nor an IP address"),
        )
    })?;
    let addresses = resolve::addresses(network, &endpoint.host, endpoint.port, deadline)?;
    Connection::open(&addresses, name, tls, network, deadline)
        .map_err(|fault| failure(ask, server, fault, deadline))
}

fn request(server: &Server, path: &str, ask: &Ask) -> Result<Request<()>> {
    let request =
        head(ask.method, &server.url(path), &host(server), ask.headers.iter().copied(), ask.body.len());
    request
        .map_err(|why| Failure::new(ErrorKind::Config, format!("{} {}: {why}", ask.method, shown(ask.url))))
}

fn failure(ask: &Ask, server: &Server, fault: Fault, deadline: Deadline) -> Failure {
    if let Fault::Tls(error) = &fault {
        return untrusted(server, error);
    }
    let failure = Failure::new(
        ErrorKind::Unreachable,
        format!("{} {}: {}", ask.method, shown(ask.url), fault.why(deadline)),
    );
    if fault.may_pass() { failure.transient() } else { failure }
}

/// Like an API server's, but in words of any server.
fn untrusted(server: &Server, error: &rustls::Error) -> Failure {
    use CertificateError::{
        ApplicationVerificationFailure, BadSignature, UnknownIssuer,
        UnsupportedSignatureAlgorithmForPublicKeyContext as OtherKindOfKey,
    };
    let peer = server.endpoint.to_string();
    let why = match error {
        rustls::Error::InvalidCertificate(UnknownIssuer | BadSignature | OtherKindOfKey { .. }) => {
            "is not signed by a CA that is trusted for it"
        }
        rustls::Error::InvalidCertificate(ApplicationVerificationFailure) => {
            "has none of the keys that are trusted for it"
        }
        _ => return Failure { help: None, ..trust::failure(&peer, error, None) },
    };
    Failure::new(ErrorKind::Untrusted, format!("the certificate of {peer} {why}"))
}

#[cfg(test)]
#[path = "https_tests.rs"]
mod tests;
