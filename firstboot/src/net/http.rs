//! One HTTP/1.1 client for every server: the API server, metadata services, report targets, the kubelet.
//!
//! [`Client`] keeps its connection for the next request. [`send`] makes one request to a URL. No proxy is
//! used, and redirects are not followed.

use std::net::SocketAddr;
use std::time::SystemTime;

pub use http::Method;
use http::header::{CONTENT_LENGTH, DATE, HOST, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::connection::{Connection, Transport};
use super::error::{may_pass, retry_after};
use super::exchange::{self, LONGEST_BODY, Received};
use super::network::{Counters, Network};
use super::stream::{Fault, Stream};
use super::trust::{self, ClientCertificate, Trust};
use super::url::{Url, shown};
use super::{Deadline, Endpoint, Error, resolve, tls};
use crate::error::{ErrorKind, Failure};

/// The header `User-Agent` of every request.
pub(crate) const AGENT: &str = concat!("firstboot/", env!("CARGO_PKG_VERSION"));
/// Methods that have a body, even if it is empty.
const WITH_BODY: [Method; 3] = [Method::POST, Method::PUT, Method::PATCH];

/// The address of a server.
#[derive(Debug, Clone)]
pub(crate) enum Peer {
    /// A host and a port; names are resolved for every connection.
    Named(Endpoint),
    /// The first of these addresses that accepts a connection.
    At(Vec<SocketAddr>),
}

/// A client of one server. It reuses its connection if the server keeps it open.
pub(crate) struct Client {
    /// The address of the server.
    pub peer: Peer,
    network: Network,
    transport: Transport,
    connection: Option<Connection>,
}

impl Client {
    /// A client of the server at `peer`. Sends nothing yet.
    pub fn new(network: &Network, peer: Peer, transport: Transport) -> Self {
        Self { peer, network: network.clone(), transport, connection: None }
    }

    /// The limits and counters of its connections.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Opens a connection for the next request. Returns the address of the server that accepted it.
    pub fn connect(&mut self, deadline: Deadline) -> Result<SocketAddr, Fault> {
        let connection = self.open(deadline)?;
        let peer = connection.peer;
        self.connection = Some(connection);
        Ok(peer)
    }

    /// Takes over the open connection of another client of the same server.
    pub fn take_connection(&mut self, other: &mut Self) {
        self.connection = other.connection.take();
    }

    /// Sends the request and receives the head of its answer. If the server has closed the idle connection,
    /// the client tries a new one once.
    pub fn ask(
        &mut self,
        request: &http::Request<()>,
        body: &[u8],
        deadline: Deadline,
    ) -> Result<(Connection, Received), Fault> {
        loop {
            let mut connection = match self.connection.take() {
                Some(connection) => connection,
                None => self.open(deadline)?,
            };
            let was_used = connection.used;
            Counters::add(&connection.counters().requests, 1);
            match exchange::ask(&mut connection, request.clone(), body, deadline) {
                Ok(received) => return Ok((connection, received)),
                Err(fault) if was_used && fault.is_stale() => {}
                Err(fault) => return Err(fault),
            }
        }
    }

    /// Sends the request and receives the whole answer, whose body has at most `limit` bytes.
    pub fn send(
        &mut self,
        request: &http::Request<()>,
        body: &[u8],
        limit: usize,
        deadline: Deadline,
    ) -> Result<Reply, Fault> {
        let (mut connection, received) = self.ask(request, body, deadline)?;
        let (status, headers) = (received.status, received.headers.clone());
        let (body, reusable) = received.body_within(limit, &mut connection, deadline)?;
        self.keep(connection, reusable);
        Ok(Reply { status, headers, body })
    }

    /// Keeps the connection for the next request, unless bytes after the answer arrived on it: they would be
    /// read as the next answer. Services that require a privileged port require a new one for each request.
    pub fn keep(&mut self, connection: Connection, reusable: bool) {
        let is_privileged = matches!(self.transport, Transport::Plain { privileged_port: true });
        let is_reusable = reusable && connection.inbox().is_empty() && !is_privileged;
        self.connection = is_reusable.then_some(connection);
    }

    fn open(&self, deadline: Deadline) -> Result<Connection, Fault> {
        let resolved;
        let addresses = match &self.peer {
            Peer::At(addresses) => addresses,
            Peer::Named(Endpoint { host, port }) => {
                resolved = resolve::addresses(&self.network, host, *port, deadline).map_err(Fault::Name)?;
                &resolved
            }
        };
        Connection::open(addresses, &self.transport, &self.network, deadline)
    }
}

/// One request to a URL.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// The method.
    pub method: Method,
    /// `https://host[:port]/path?query`, or `http://…` with [`Trust::Nobody`].
    pub url: &'a str,
    /// Headers besides `Host`, `User-Agent` and `Content-Length`. Messages never show them.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body. An empty one is not sent.
    pub body: &'a [u8],
    /// The servers to trust.
    pub trust: &'a Trust,
    /// The client's certificate, for servers that request one.
    pub certificate: Option<&'a ClientCertificate>,
    /// Limit on the answer's body, in bytes.
    pub limit: usize,
}

impl<'a> Request<'a> {
    /// A request without headers or body.
    pub fn new(method: Method, url: &'a str, trust: &'a Trust) -> Self {
        Self { method, url, headers: &[], body: b"", trust, certificate: None, limit: LONGEST_BODY }
    }

    /// Its name in messages.
    fn shown(&self) -> String {
        format!("{} {}", self.method, shown(self.url))
    }
}

/// An answer with any status.
#[derive(Debug)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Reply {
    /// The server's time, from its `Date` header.
    pub fn date(&self) -> Option<SystemTime> {
        date(&self.headers)
    }

    /// An error unless the status is a success. The error does not show the body, which may repeat data from
    /// the request.
    pub fn check(&self, asked: &str) -> Result<(), Error> {
        let status = self.status;
        let reason = reason(status);
        let (kind, why) = match status {
            200..=299 => return Ok(()),
            300..=399 => (ErrorKind::Unreachable, format!("{status} {reason}: redirects are not followed")),
            401 | 403 => (ErrorKind::Credential, format!("{status} {reason}")),
            _ if may_pass(status) => (ErrorKind::Unreachable, format!("{status} {reason}")),
            _ => (ErrorKind::Refused, format!("{status} {reason}")),
        };
        let failure = Failure::new(kind, format!("{asked}: {why}"));
        let failure = if may_pass(status) { failure.transient() } else { failure };
        Err(Error {
            status: Some(status),
            retry_after: retry_after(&self.headers, SystemTime::now()),
            ..failure.into()
        })
    }
}

/// The time in a `Date` header.
pub(crate) fn date(headers: &HeaderMap) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()
}

/// The standard text for a status.
pub(crate) fn reason(status: u16) -> &'static str {
    http::StatusCode::from_u16(status)
        .ok()
        .and_then(|code| code.canonical_reason())
        .unwrap_or("unknown status")
}

/// Sends the request once, within the network's limit for one request.
pub fn send(network: &Network, request: &Request, deadline: Deadline) -> Result<Reply, Error> {
    let wrong = |why: &str| Failure::new(ErrorKind::Config, format!("{}: {why}", shown(request.url)));
    let (url, transport) = match request.trust {
        Trust::Nobody => (request.url.parse::<Url>(), Transport::Plain { privileged_port: false }),
        trust => {
            let url = Url::secure(request.url).map_err(|why| wrong(&why))?;
            let name = tls::server_name(&url.endpoint, None)?;
            (Ok(url), Transport::Tls(name, tls::config(trust, request.certificate)?))
        }
    };
    let url = url.map_err(|why| wrong(&why))?;
    if url.is_secure != matches!(transport, Transport::Tls(..)) {
        return Err(wrong("the URL does not begin with http://").into());
    }
    let headers = request.headers.iter().copied();
    let head = head(&request.method, &url.target(), &url.host(), headers, request.body.len())
        .map_err(|why| Failure::new(ErrorKind::Config, format!("{}: {why}", request.shown())))?;
    let deadline = deadline.within(network.request_timeout);
    let sent = Client::new(network, Peer::Named(url.endpoint.clone()), transport).send(
        &head,
        request.body,
        request.limit,
        deadline,
    );
    sent.map_err(|fault| failure(request, &url, fault, deadline).into())
}

/// Sends the request once. An answer without success is an error.
pub fn send_ok(network: &Network, request: &Request, deadline: Deadline) -> Result<Reply, Error> {
    let reply = send(network, request, deadline)?;
    reply.check(&request.shown())?;
    Ok(reply)
}

fn failure(request: &Request, url: &Url, fault: Fault, deadline: Deadline) -> Failure {
    match &fault {
        Fault::Name(failure) => return failure.clone(),
        Fault::Tls(error) => return trust::failure(&url.endpoint.to_string(), error, None),
        _ => {}
    }
    let message = format!("{}: {}", request.shown(), fault.why(deadline));
    let failure = Failure::new(ErrorKind::Unreachable, message);
    // A server without TLS is on this machine or near it, and may still be starting.
    if fault.may_pass() || !url.is_secure { failure.transient() } else { failure }
}

/// The head of a request: `Host`, `User-Agent`, `headers` and, if the method can have a body,
/// `Content-Length`. An error names a header that cannot be sent, without its value.
pub(super) fn head<'a>(
    method: &Method,
    url: &str,
    host: &str,
    headers: impl IntoIterator<Item = (&'a str, &'a str)>,
    length: usize,
) -> Result<http::Request<()>, String> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let name: HeaderName =
            name.parse().map_err(|_| "a header's name has characters that no header may have")?;
        let mut value = HeaderValue::from_str(value)
            .map_err(|_| "a header's value has characters that no header may have")?;
        value.set_sensitive(true);
        map.append(name, value);
    }
    map.insert(HOST, HeaderValue::from_str(host).map_err(|_| "its host cannot be sent")?);
    map.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    if length > 0 || WITH_BODY.contains(method) {
        map.insert(CONTENT_LENGTH, length.into());
    }
    let mut request = http::Request::builder().method(method.clone()).uri(url);
    if let Some(headers) = request.headers_mut() {
        *headers = map;
    }
    request.body(()).map_err(|_| "it has characters that no URL may have".to_owned())
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
