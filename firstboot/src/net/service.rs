//! A client of a metadata service: HTTP without TLS on an address of the link, bounded, tried again where that helps.
//!
//! No proxy, no redirects, no names: literal addresses only. What is answered may come from anyone on the link, so nothing here trusts it.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use http::{HeaderMap, Method, Request};
use zeroize::Zeroizing;

use super::connection::Fault;
use super::error::retry_after;
use super::exchange;
use super::head::head;
use super::plain_connection::PlainConnection;
use super::retry::{self, Backoff};
use super::{Deadline, Error};
use crate::error::{ErrorKind, Failure, Result};
use crate::host::network;

/// The longest that one of several addresses may take to accept a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// The longest that one request may take.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);
/// Bounds of the waits between tries: a service that comes late is waited for by the second.
const WAITS: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// Statuses that say nothing of the request itself: it is sent again. 404 and 410 are what services answer before they know the machine.
const PASSING: &[u16] = &[404, 408, 410, 425, 429];

/// A session: a value that one request gives and that all others must carry, such as EC2's IMDSv2 token.
#[derive(Debug, Clone, Copy)]
pub struct Session {
    /// Where it is asked for, by PUT.
    pub path: &'static str,
    /// The header of that request: name and value.
    pub ask: (&'static str, &'static str),
    /// The header that carries it afterwards.
    pub carry: &'static str,
}

/// What is particular of a service.
#[derive(Debug, Clone, Copy, Default)]
pub struct Manners {
    /// Headers of every request.
    pub headers: &'static [(&'static str, &'static str)],
    /// A header that every answer must have, with its value: otherwise someone else answers.
    pub answers_with: Option<(&'static str, &'static str)>,
    /// The session, where there is one.
    pub session: Option<Session>,
    /// Whether requests must come from a port below 1024.
    pub privileged_port: bool,
}

/// A service at one of several addresses.
pub struct Service {
    /// `169.254.169.254`, `[fd00:ec2::254]`, `[fe80::a9fe:a9fe%]` (on every interface), each with an optional port.
    addresses: Vec<String>,
    manners: Manners,
    deadline: Deadline,
    session: Option<Zeroizing<String>>,
    connection: Option<(SocketAddr, PlainConnection)>,
    /// The address that has answered; from then on the only one.
    answering: Option<(String, SocketAddr)>,
}

/// One request.
#[derive(Debug, Clone, Default)]
pub struct Ask<'a> {
    /// GET when none is given.
    pub method: Method,
    /// From the first slash on.
    pub path: &'a str,
    /// Beside those of the service.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body; none is sent when it is empty.
    pub body: &'a [u8],
}

impl Service {
    /// The service at the first of `addresses` that answers; all its requests together have until `deadline`.
    pub fn new(addresses: &[&str], manners: Manners, deadline: Deadline) -> Self {
        let addresses = addresses.iter().map(|address| in_url(address)).collect();
        Self { addresses, manners, deadline, session: None, connection: None, answering: None }
    }

    /// The addresses, as they stand in URLs.
    #[cfg(test)]
    pub(crate) fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// What is there, whatever it takes until the deadline: what is missing may only be late.
    pub fn get(&mut self, path: &str) -> Result<Zeroizing<Vec<u8>>> {
        self.send(&Ask { path, ..Ask::default() })
    }

    /// Like [`Service::get`], as text without the blanks around it.
    pub fn text(&mut self, path: &str) -> Result<String> {
        let bytes = self.get(path)?;
        self.as_text(path, &bytes)
    }

    /// What may be missing: none for 404, 204, and an empty answer. Ask for what must be there first: then a service that is up has said so.
    pub fn find(&mut self, path: &str) -> Result<Option<Zeroizing<Vec<u8>>>> {
        self.with_retry(&Ask { path, ..Ask::default() }, true)
            .map(|body| body.filter(|body| !body.is_empty()))
    }

    /// Like [`Service::find`], as text without the blanks around it.
    pub fn find_text(&mut self, path: &str) -> Result<Option<String>> {
        let Some(bytes) = self.find(path)? else { return Ok(None) };
        self.as_text(path, &bytes).map(|text| Some(text).filter(|text| !text.is_empty()))
    }

    /// Any request; its answer's body.
    pub fn send(&mut self, ask: &Ask) -> Result<Zeroizing<Vec<u8>>> {
        self.with_retry(ask, false).map(Option::unwrap_or_default)
    }

    /// The URL of `path`, for provenance and errors.
    pub fn url(&self, path: &str) -> String {
        let address = self.answering.as_ref().map(|(address, _)| address).or(self.addresses.first());
        format!("http://{}{}", address.map_or("", String::as_str), path.split('?').next().unwrap_or_default())
    }

    /// A failure about what `path` gave.
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

    fn with_retry(&mut self, ask: &Ask, may_be_missing: bool) -> Result<Option<Zeroizing<Vec<u8>>>> {
        let mut backoff = Backoff::new().between(WAITS.0, WAITS.1);
        let deadline = self.deadline;
        retry::until(deadline, &mut backoff, || self.once(ask, may_be_missing))
    }

    fn once(
        &mut self,
        ask: &Ask,
        may_be_missing: bool,
    ) -> std::result::Result<Option<Zeroizing<Vec<u8>>>, Error> {
        self.begin_session()?;
        let (mut status, mut headers, mut body) = self.exchange(ask)?;
        // Some say 403 to a session that has ended.
        if matches!(status, 401 | 403) && self.session.take().is_some() {
            self.begin_session()?;
            (status, headers, body) = self.exchange(ask)?;
        }
        if may_be_missing && matches!(status, 204 | 404) {
            return Ok(None);
        }
        self.judge(ask.path, status, &headers)?;
        Ok(Some(body))
    }

    fn begin_session(&mut self) -> std::result::Result<(), Error> {
        let Some(session) = self.manners.session.filter(|_| self.session.is_none()) else { return Ok(()) };
        let ask = Ask { method: Method::PUT, path: session.path, headers: &[session.ask], body: &[] };
        let (status, headers, body) = self.exchange(&ask)?;
        self.judge(session.path, status, &headers)?;
        let text = self.as_text(session.path, &body)?;
        let is_token = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        self.session = Some(Zeroizing::new(text)).filter(|_| is_token);
        if is_token {
            Ok(())
        } else {
            Err(self.wrong(session.path, "what it gives is no session token").transient().into())
        }
    }

    fn judge(&self, path: &str, status: u16, headers: &HeaderMap) -> std::result::Result<(), Error> {
        let failure = match status {
            200..=299 => return self.check_sender(path, headers),
            300..=399 => self.wrong(path, format!("it answers {status}, a redirect, which is not followed")),
            403 => self
                .wrong(path, "it answers 403")
                .help("the metadata service is switched off for this machine, or refuses it"),
            _ => self.wrong(path, format!("it answers {status}")),
        };
        let is_passing = PASSING.contains(&status) || status >= 500;
        let failure = if is_passing { failure.transient() } else { failure };
        Err(Error {
            status: Some(status),
            retry_after: retry_after(headers, std::time::SystemTime::now()),
            ..failure.into()
        })
    }

    fn check_sender(&self, path: &str, headers: &HeaderMap) -> std::result::Result<(), Error> {
        let Some((name, value)) = self.manners.answers_with else { return Ok(()) };
        let has = headers.get(name).is_some_and(|found| found.as_bytes() == value.as_bytes());
        if has {
            Ok(())
        } else {
            Err(self
                .wrong(path, format!("its answer lacks the header {name}: {value}, so someone else answers"))
                .into())
        }
    }

    /// One request on the open connection, or on a new one: services close idle connections whenever they like.
    fn exchange(&mut self, ask: &Ask) -> std::result::Result<(u16, HeaderMap, Zeroizing<Vec<u8>>), Error> {
        let deadline = self.deadline.within(REQUEST_LIMIT);
        if let Some((address, connection)) = self.connection.take() {
            match self.exchange_on(connection, address, ask, deadline) {
                Err(fault) if fault.is_stale() => {}
                ended => return ended.map_err(|fault| self.unanswered(ask, &fault, deadline)),
            }
        }
        let (address, connection) =
            self.connect(deadline).map_err(|fault| self.unanswered(ask, &fault, deadline))?;
        self.exchange_on(connection, address, ask, deadline)
            .map_err(|fault| self.unanswered(ask, &fault, deadline))
    }

    fn exchange_on(
        &mut self,
        mut connection: PlainConnection,
        address: SocketAddr,
        ask: &Ask,
        deadline: Deadline,
    ) -> std::result::Result<(u16, HeaderMap, Zeroizing<Vec<u8>>), Fault> {
        let request = self.request(ask)?;
        let received = exchange::ask(&mut connection, request, ask.body, deadline)?;
        let (status, headers) = (received.status, received.headers.clone());
        let (body, reusable) = received.whole_body(&mut connection, deadline)?;
        if reusable && !self.manners.privileged_port {
            self.connection = Some((address, connection));
        }
        Ok((status, headers, body.into()))
    }

    fn request(&self, ask: &Ask) -> std::result::Result<Request<()>, Fault> {
        let host = self.answering.as_ref().map(|(address, _)| without_zone(address)).unwrap_or_default();
        let session = self
            .manners
            .session
            .and_then(|session| Some((session.carry, self.session.as_ref()?.as_str())));
        let headers = self.manners.headers.iter().copied().chain(ask.headers.iter().copied()).chain(session);
        head(&ask.method, &format!("http://{host}{}", ask.path), &host, headers, ask.body.len())
            .map_err(Fault::Protocol)
    }

    fn connect(&mut self, deadline: Deadline) -> std::result::Result<(SocketAddr, PlainConnection), Fault> {
        let candidates = match &self.answering {
            Some(answering) => vec![answering.clone()],
            None => self.addresses.iter().flat_map(|address| candidates(address)).collect(),
        };
        let mut last =
            Fault::Io("connecting", std::io::Error::other("this machine has no address of that family yet"));
        for (text, address) in candidates {
            match PlainConnection::open(address, self.manners.privileged_port, deadline.within(CONNECT_LIMIT))
            {
                Ok(connection) => {
                    self.answering = Some((text, address));
                    return Ok((address, connection));
                }
                Err(fault) => last = fault,
            }
        }
        Err(last)
    }

    /// Everything below HTTP may heal, and another address may answer the next time.
    fn unanswered(&mut self, ask: &Ask, fault: &Fault, deadline: Deadline) -> Error {
        let failure = self.wrong(ask.path, fault.why(deadline));
        self.answering = None;
        if fault.may_pass() { failure.transient().into() } else { failure.into() }
    }
}

/// An address as it stands in a URL. A link-local one is on every interface unless it names one.
fn in_url(address: &str) -> String {
    match address.parse::<Ipv6Addr>() {
        Ok(ip) if ip.is_unicast_link_local() => format!("[{ip}%]"),
        Ok(ip) => format!("[{ip}]"),
        Err(_) => address.to_owned(),
    }
}

/// What an address stands for: with a `%` and no name behind it, one address on every interface.
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

/// A zone is this machine's own affair: it does not belong in a URL (RFC 9844).
fn without_zone(address: &str) -> String {
    match address.split_once('%') {
        Some((ip, _)) => format!("{ip}]"),
        None => address.to_owned(),
    }
}

#[cfg(test)]
#[path = "service_tests.rs"]
mod tests;
