//! A client of a metadata service: HTTP without TLS on a link-local address, with limits and with retries of
//! transient failures.
//!
//! It uses literal addresses only: no names, no proxy, no redirects. Any machine on the link may answer, so
//! nothing here trusts the answer.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::{Duration, SystemTime};

use http::{HeaderMap, Method};
use zeroize::Zeroizing;

use super::connection::Transport;
use super::error::{may_pass, retry_after};
use super::exchange::LONGEST_BODY;
use super::http::{Client, Peer, Reply, date, head};
use super::oauth::{self, Clock, OAuth};
use super::retry::{self, Backoff};
use super::stream::Fault;
use super::{Deadline, Error, Network};
use crate::error::{ErrorKind, Failure, Result};
use crate::host::network;
use crate::host::root::Root;

/// Time limit for one of several addresses to accept a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// Time limit of one request.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);
/// Bounds of the waits between tries. They are short because a service may start late.
const WAITS: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// A session: one request gets a value that all others must send, such as EC2's IMDSv2 token.
#[derive(Debug, Clone, Copy)]
pub struct Session {
    /// The path of the value, for a PUT request.
    pub path: &'static str,
    /// The header of that request: name and value.
    pub ask: (&'static str, &'static str),
    /// The header for the value in later requests.
    pub carry: &'static str,
}

/// The rules of a service for all requests.
#[derive(Debug, Clone, Copy, Default)]
pub struct Protocol {
    /// Headers of every request.
    pub headers: &'static [(&'static str, &'static str)],
    /// A header that every answer must have, with its value. Without it, another program answers.
    pub answers_with: Option<(&'static str, &'static str)>,
    /// The session, if there is one.
    pub session: Option<Session>,
    /// Whether requests must come from a port below 1024, which only root can use.
    pub privileged_port: bool,
}

/// A service at one of several addresses.
pub struct Service {
    /// `169.254.169.254`, `[fd00:ec2::254]`, `[fe80::a9fe:a9fe%]` (on every interface), each with an optional
    /// port.
    addresses: Vec<String>,
    protocol: Protocol,
    deadline: Deadline,
    session: Option<Zeroizing<String>>,
    /// The machine's keys, where the service knows it by them.
    keys: Option<OAuth>,
    clock: Clock,
    client: Client,
    /// The address that accepted a connection. Later requests use only this one.
    answering: Option<String>,
}

/// One request.
#[derive(Debug, Clone, Default)]
pub struct Request<'a> {
    /// The method; GET by default.
    pub method: Method,
    /// The path, from the first slash on.
    pub path: &'a str,
    /// Headers besides those of the service.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body. An empty one is not sent.
    pub body: &'a [u8],
}

impl Service {
    /// The service at the first of `addresses` that answers. All its requests together end by `deadline`.
    pub fn new(addresses: &[&str], protocol: Protocol, deadline: Deadline) -> Self {
        let addresses = addresses.iter().map(|address| in_url(address)).collect();
        let mut network = Network::new(Root::default());
        network.connect_timeout = CONNECT_LIMIT;
        let transport = Transport::Plain { privileged_port: protocol.privileged_port };
        let client = Client::new(&network, Peer::At(Vec::new()), transport);
        let (session, keys, clock, answering) = (None, None, Clock::default(), None);
        Self { addresses, protocol, deadline, session, keys, clock, client, answering }
    }

    /// The same service, with later requests signed by these keys.
    pub fn signed(self, keys: OAuth) -> Self {
        Self { keys: Some(keys), ..self }
    }

    /// The addresses, in the form for URLs.
    #[cfg(test)]
    pub(crate) fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// Gets a value that must exist. A missing one may only be late, so the request is repeated until the
    /// deadline.
    pub fn get(&mut self, path: &str) -> Result<Zeroizing<Vec<u8>>> {
        self.send(&Request { path, ..Request::default() })
    }

    /// Like [`Service::get`], but gives up after `limit` or earlier.
    pub fn get_within(&mut self, limit: Duration, path: &str) -> Result<Zeroizing<Vec<u8>>> {
        let whole = self.deadline;
        self.deadline = whole.within(limit);
        let got = self.get(path);
        self.deadline = whole;
        got
    }

    /// Like [`Service::get`], as trimmed text.
    pub fn text(&mut self, path: &str) -> Result<String> {
        let bytes = self.get(path)?;
        self.as_text(path, &bytes)
    }

    /// Gets a value that may be missing: none for 404, 204 and an empty answer. Call [`Service::get`] for a
    /// required value first, so that the service is known to be up.
    pub fn find(&mut self, path: &str) -> Result<Option<Zeroizing<Vec<u8>>>> {
        self.with_retry(&Request { path, ..Request::default() }, true)
            .map(|body| body.filter(|body| !body.is_empty()))
    }

    /// Like [`Service::find`], as trimmed text.
    pub fn find_text(&mut self, path: &str) -> Result<Option<String>> {
        let Some(bytes) = self.find(path)? else { return Ok(None) };
        self.as_text(path, &bytes).map(|text| Some(text).filter(|text| !text.is_empty()))
    }

    /// Sends any request. Returns the body of the answer.
    pub fn send(&mut self, request: &Request) -> Result<Zeroizing<Vec<u8>>> {
        self.with_retry(request, false).map(Option::unwrap_or_default)
    }

    /// The URL of `path`, for provenance and errors.
    pub fn url(&self, path: &str) -> String {
        let address = self.answering.as_ref().or(self.addresses.first());
        format!("http://{}{}", address.map_or("", String::as_str), path.split('?').next().unwrap_or_default())
    }

    /// A failure about the content of `path`.
    pub fn wrong(&self, path: &str, why: impl std::fmt::Display) -> Failure {
        Failure::new(ErrorKind::Source, format!("{}: {why}", self.url(path)))
    }

    fn as_text(&self, path: &str, bytes: &[u8]) -> Result<String> {
        let text = std::str::from_utf8(bytes)
            .map_err(|_| self.wrong(path, "the answer is not UTF-8"))?
            .trim();
        let is_odd = |character: char| character.is_control() && !matches!(character, '\n' | '\t' | '\r');
        if text.contains(is_odd) {
            Err(self.wrong(path, "the answer has control characters in it"))
        } else {
            Ok(text.to_owned())
        }
    }

    fn with_retry(&mut self, request: &Request, may_be_missing: bool) -> Result<Option<Zeroizing<Vec<u8>>>> {
        let mut backoff = Backoff::new().between(WAITS.0, WAITS.1);
        let deadline = self.deadline;
        retry::until(deadline, &mut backoff, || self.once(request, may_be_missing))
    }

    fn once(
        &mut self,
        request: &Request,
        may_be_missing: bool,
    ) -> std::result::Result<Option<Zeroizing<Vec<u8>>>, Error> {
        self.begin_session()?;
        let mut reply = self.exchange(request)?;
        // Some services answer 403 if the session has ended.
        if matches!(reply.status, 401 | 403) && (self.session.take().is_some() || self.follow_clock(&reply)) {
            self.begin_session()?;
            reply = self.exchange(request)?;
        }
        let body = Zeroizing::new(std::mem::take(&mut reply.body));
        if may_be_missing && matches!(reply.status, 204 | 404) {
            return Ok(None);
        }
        self.check(request.path, &reply)?;
        Ok(Some(body))
    }

    /// A service refuses a signature whose time is far from its own.
    fn follow_clock(&mut self, refused: &Reply) -> bool {
        self.keys.is_some() && self.clock.follow(date(&refused.headers), SystemTime::now())
    }

    fn begin_session(&mut self) -> std::result::Result<(), Error> {
        let Some(session) = self.protocol.session.filter(|_| self.session.is_none()) else { return Ok(()) };
        let request = Request { method: Method::PUT, path: session.path, headers: &[session.ask], body: &[] };
        let mut reply = self.exchange(&request)?;
        let body = Zeroizing::new(std::mem::take(&mut reply.body));
        self.check(session.path, &reply)?;
        let text = self.as_text(session.path, &body)?;
        let is_token = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        self.session = Some(Zeroizing::new(text)).filter(|_| is_token);
        if is_token {
            Ok(())
        } else {
            Err(self.wrong(session.path, "what it gives is no session token").transient().into())
        }
    }

    fn check(&self, path: &str, reply: &Reply) -> std::result::Result<(), Error> {
        let status = reply.status;
        let failure = match status {
            200..=299 => return self.check_sender(path, &reply.headers),
            300..=399 => self.wrong(path, format!("it answers {status}, a redirect, which is not followed")),
            403 => self
                .wrong(path, "it answers 403")
                .help("the metadata service is switched off for this machine, or refuses it"),
            _ => self.wrong(path, format!("it answers {status}")),
        };
        // Services answer 404 or 410 before they know the machine.
        let is_passing = may_pass(status) || matches!(status, 404 | 410);
        let failure = if is_passing { failure.transient() } else { failure };
        Err(Error {
            status: Some(status),
            retry_after: retry_after(&reply.headers, SystemTime::now()),
            ..failure.into()
        })
    }

    fn check_sender(&self, path: &str, headers: &HeaderMap) -> std::result::Result<(), Error> {
        let Some((name, value)) = self.protocol.answers_with else { return Ok(()) };
        let has = headers.get(name).is_some_and(|found| found.as_bytes() == value.as_bytes());
        if has {
            Ok(())
        } else {
            Err(self
                .wrong(path, format!("its answer lacks the header {name}: {value}, so someone else answers"))
                .into())
        }
    }

    /// Sends a request on the open connection, or on a new one, because services close idle connections at
    /// any time.
    fn exchange(&mut self, request: &Request) -> std::result::Result<Reply, Error> {
        let deadline = self.deadline.within(REQUEST_LIMIT);
        let sent = self.connect(deadline).and_then(|()| {
            let head = self.head(request)?;
            self.client.send(&head, request.body, LONGEST_BODY, deadline)
        });
        sent.map_err(|fault| self.unanswered(request, &fault, deadline))
    }

    fn head(&self, request: &Request) -> std::result::Result<http::Request<()>, Fault> {
        let host = self.answering.as_deref().map(without_zone).unwrap_or_default();
        let session = self
            .protocol
            .session
            .and_then(|session| Some((session.carry, self.session.as_ref()?.as_str())));
        let headers = self.protocol.headers.iter().copied();
        let signature = self.signature()?;
        let signature = signature.as_ref().map(|value| (oauth::HEADER, value.as_str()));
        let headers = headers.chain(request.headers.iter().copied()).chain(session).chain(signature);
        let url = format!("http://{host}{}", request.path);
        head(&request.method, &url, &host, headers, request.body.len()).map_err(Fault::Protocol)
    }

    fn signature(&self) -> std::result::Result<Option<Zeroizing<String>>, Fault> {
        let Some(keys) = &self.keys else { return Ok(None) };
        let header = keys.header(self.clock.at(SystemTime::now()));
        header
            .map(Some)
            .ok_or_else(|| Fault::Protocol("the system has no random numbers".to_owned()))
    }

    /// Finds the address that accepts a connection, and keeps it.
    fn connect(&mut self, deadline: Deadline) -> std::result::Result<(), Fault> {
        if self.answering.is_some() {
            return Ok(());
        }
        let candidates: Vec<_> = self.addresses.iter().flat_map(|address| candidates(address)).collect();
        self.client.peer = Peer::At(candidates.iter().map(|(_, address)| *address).collect());
        let peer = self.client.connect(deadline)?;
        self.client.peer = Peer::At(vec![peer]);
        self.answering = candidates.into_iter().find(|(_, address)| *address == peer).map(|(text, _)| text);
        Ok(())
    }

    /// All errors below HTTP are transient, and another address may answer the next time.
    fn unanswered(&mut self, request: &Request, fault: &Fault, deadline: Deadline) -> Error {
        let failure = self.wrong(request.path, fault.why(deadline));
        self.answering = None;
        if fault.may_pass() { failure.transient().into() } else { failure.into() }
    }
}

/// Parses an address from a URL. A link-local address without an interface means every interface.
fn in_url(address: &str) -> String {
    match address.parse::<Ipv6Addr>() {
        Ok(ip) if ip.is_unicast_link_local() => format!("[{ip}%]"),
        Ok(ip) => format!("[{ip}]"),
        Err(_) => address.to_owned(),
    }
}

/// The socket addresses for an address. A `%` without a name after it means the address on every interface.
fn candidates(address: &str) -> Vec<(String, SocketAddr)> {
    if let Ok(parsed) = address.parse::<SocketAddr>() {
        return vec![(address.to_owned(), parsed)];
    }
    let plain = address.trim_start_matches('[').trim_end_matches(']');
    if let Ok(ip) = plain.parse::<IpAddr>() {
        return vec![(address.to_owned(), SocketAddr::new(ip, 80))];
    }
    let Some(ip) = plain.strip_suffix('%').and_then(|ip| ip.parse::<Ipv6Addr>().ok()) else {
        return Vec::new();
    };
    let interfaces = network::interfaces().into_iter();
    interfaces
        .map(|(name, index)| (format!("[{ip}%{name}]"), SocketAddrV6::new(ip, 80, 0, index).into()))
        .collect()
}

/// A zone has a meaning only on this machine, so it does not belong in a URL (RFC 9844).
fn without_zone(address: &str) -> String {
    match address.split_once('%') {
        Some((ip, _)) => format!("{ip}]"),
        None => address.to_owned(),
    }
}

#[cfg(test)]
#[path = "service_tests.rs"]
mod tests;
