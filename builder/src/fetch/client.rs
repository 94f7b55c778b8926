//! Opens a place: HTTP/1.1 over TCP or TLS (rustls, the system's roots), or a local file.

use std::error::Error as StdError;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::blocking::{self, Response};
use reqwest::header::{self, HeaderMap, HeaderName};
use reqwest::{Method, Proxy, StatusCode, Url, redirect};

use crate::error::{Error, ErrorKind, Result};
use crate::fetch::Route;
use crate::fetch::attempt::Failure;
use crate::fetch::bearer::{self, Tokens};
use crate::fetch::mirror::Place;

/// The maximum number of redirects; release hosts need two or three.
const REDIRECTS: usize = 10;

/// A server that asks for a longer wait counts as out of service.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(300);

/// Opens places. All downloads share its connections.
pub(super) struct Client {
    route: Route,
    connect: Duration,
    stall: Duration,
    /// Created for the first server, because reading the system's roots takes time and a local mirror does
    /// not need them.
    made: Mutex<Option<blocking::Client>>,
    tokens: Tokens,
}

/// The state from which an interrupted download resumes.
#[derive(Debug, Clone, Default)]
pub(super) struct Resume {
    /// The number of bytes that exist.
    pub offset: u64,
    /// The strong entity tag of their response.
    pub tag: Option<String>,
}

/// Bytes of a file.
pub(super) struct Source {
    /// The bytes from `offset` on.
    pub body: Box<dyn Read>,
    /// The position where the caller wanted to resume, or 0.
    pub offset: u64,
    /// The length of the whole file, if the place reports it.
    pub total: Option<u64>,
    /// Strong entity tag (RFC 9110 §8.8.3), for resuming.
    pub tag: Option<String>,
}

impl Client {
    pub fn new(route: Route, connect: Duration, stall: Duration) -> Self {
        Self { route, connect, stall, made: Mutex::new(None), tokens: Tokens::default() }
    }

    /// Opens `place` at `resume`, or at the first byte if the place cannot resume.
    pub fn open(&self, place: &Place, resume: &Resume) -> Result<Source, Failure> {
        match place {
            Place::Local(path) => open_file(path, resume.offset),
            Place::Server(url) => self.open_url(url, resume),
        }
    }

    /// The length of the file, without fetching it; `None` if the server does not report it.
    pub fn length(&self, place: &Place) -> Result<Option<u64>, Failure> {
        match place {
            Place::Local(path) => open_file(path, 0).map(|source| source.total),
            Place::Server(url) => {
                let response = self.send(Method::HEAD, url, &Resume::default())?;
                match response.status() {
                    // Some servers do not support HEAD, or sign addresses only for GET. The download will
                    // show whether the file exists.
                    StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED | StatusCode::FORBIDDEN => {
                        Ok(None)
                    }
                    status if status.is_success() => Ok(number(response.headers(), header::CONTENT_LENGTH)),
                    _ => Err(refused(&response)),
                }
            }
        }
    }

    /// The error while a body was read.
    pub fn broken(&self, error: &io::Error, received: u64, total: Option<u64>) -> Error {
        let timed_out = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<reqwest::Error>())
            .is_some_and(reqwest::Error::is_timeout);
        if timed_out {
            return Error::new(
                ErrorKind::Fetch,
                format!("the server sent nothing for {:?} after {received} bytes", self.stall),
            );
        }
        let of = total.map(|total| format!(" of {total}")).unwrap_or_default();
        Error::new(ErrorKind::Fetch, format!("broke off after {received}{of} bytes: {}", reason(error)))
    }

    fn open_url(&self, url: &Url, resume: &Resume) -> Result<Source, Failure> {
        let response = self.send(Method::GET, url, resume)?;
        let headers = response.headers();
        let tag = text(headers, header::ETAG).filter(|tag| tag.starts_with('"')).map(str::to_owned);
        let (offset, total) = match response.status() {
            StatusCode::OK => (0, number(headers, header::CONTENT_LENGTH)),
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE if resume.offset > 0 => {
                match text(headers, header::CONTENT_RANGE).and_then(content_range) {
                    Some(range) if range.0 == resume.offset => range,
                    // The server has another file, or reads ranges differently: start from the first byte.
                    _ => return self.open_url(url, &Resume::default()),
                }
            }
            _ => return Err(refused(&response)),
        };
        Ok(Source { body: Box::new(response), offset, total, tag })
    }

    fn send(&self, method: Method, url: &Url, resume: &Resume) -> Result<Response, Failure> {
        let response = self.send_once(method.clone(), url, resume)?;
        // The token of an earlier request may have expired.
        if self.get_token(url, &response)? { self.send_once(method, url, resume) } else { Ok(response) }
    }

    /// Gets the token that a registry of container images asks for with this answer; false if it asks for
    /// none.
    fn get_token(&self, url: &Url, answer: &Response) -> Result<bool, Failure> {
        let header = text(answer.headers(), header::WWW_AUTHENTICATE);
        let address = header.and_then(|header| bearer::token_address(header, url));
        let Some(address) = address.filter(|_| answer.status() == StatusCode::UNAUTHORIZED) else {
            return Ok(false);
        };
        let request = self.made()?.get(address.clone());
        let response = request.send().map_err(|error| self.unanswered(&address, error))?;
        if !response.status().is_success() {
            return Err(refused(&response));
        }
        let total = number(response.headers(), header::CONTENT_LENGTH);
        let source = Source { body: Box::new(response), offset: 0, total, tag: None };
        let bytes = read_all(source, bearer::LARGEST_ANSWER, self)?;
        Ok(bytes.is_some_and(|bytes| self.tokens.keep(url, &bytes)))
    }

    fn send_once(&self, method: Method, url: &Url, resume: &Resume) -> Result<Response, Failure> {
        // Without this some servers compress the body, and the bytes do not match the digest.
        let mut request =
            self.made()?.request(method, url.clone()).header(header::ACCEPT_ENCODING, "identity");
        if bearer::is_document(url) {
            request = request.header(header::ACCEPT, bearer::DOCUMENTS);
        }
        if let Some(token) = self.tokens.of(url) {
            request = request.header(header::AUTHORIZATION, token);
        }
        if resume.offset > 0 {
            request = request.header(header::RANGE, format!("bytes={}-", resume.offset));
            if let Some(tag) = &resume.tag {
                request = request.header(header::IF_RANGE, tag);
            }
        }
        request.send().map_err(|error| self.unanswered(url, error))
    }

    fn made(&self) -> Result<blocking::Client, Failure> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = &*made {
            return Ok(client.clone());
        }
        let client = self.make().map_err(Failure::Final)?;
        Ok(made.insert(client).clone())
    }

    fn make(&self) -> Result<blocking::Client> {
        // Fails only if a provider is installed already, which is fine.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let proxy = match &self.route {
            Route::Environment | Route::Direct => None,
            Route::Proxy(address) => Some(Proxy::all(address).map_err(|error| {
                Error::new(ErrorKind::Usage, format!("the proxy address is wrong: {}", reason(&error)))
                    .help("write http://HOST:PORT")
            })?),
        };
        let builder = || {
            let builder = blocking::Client::builder()
                .user_agent(concat!("kiln/", env!("CARGO_PKG_VERSION")))
                .referer(false)
                .redirect(redirect::Policy::custom(follow))
                .connect_timeout(self.connect)
                // In the blocking client this limits the wait for the headers and for each read, not the
                // whole download.
                .timeout(self.stall);
            match (&self.route, &proxy) {
                (Route::Direct, _) => builder.no_proxy(),
                (_, Some(proxy)) => builder.proxy(proxy.clone()),
                _ => builder,
            }
        };
        // A machine without root certificates can still use servers without TLS.
        builder().build().or_else(|_| builder().tls_certs_only([]).build()).map_err(|error| {
            Error::new(ErrorKind::Internal, format!("starting the HTTP client: {}", reason(&error)))
        })
    }

    fn unanswered(&self, url: &Url, error: reqwest::Error) -> Failure {
        let host = url.host_str().unwrap_or_default();
        let new = |text: String| Error::new(ErrorKind::Fetch, text);
        if error.is_redirect() {
            return Failure::Place(new(format!("redirect refused: {}", reason(&error))));
        }
        if error.is_timeout() {
            let waited = if error.is_connect() { self.connect.min(self.stall) } else { self.stall };
            return Failure::passing(new(format!("no answer from {host} for {waited:?}")).help(NETWORK));
        }
        if error.is_dns() {
            return Failure::passing(
                new(format!("the name of host {host} cannot be resolved")).help(NETWORK),
            );
        }
        match tls_error(&error) {
            Some(tls @ rustls::Error::InvalidCertificate(_)) => Failure::Place(
                new(format!("TLS: the certificate of {host} is not trusted: {tls}")).help(CERTIFICATES),
            ),
            Some(tls) => Failure::passing(new(format!("TLS with {host} failed: {tls}"))),
            None if error.is_connect() => {
                Failure::passing(new(format!("cannot connect to {host}: {}", reason(&error))).help(NETWORK))
            }
            None => Failure::passing(new(format!("the exchange with {host} broke: {}", reason(&error)))),
        }
    }
}

const NETWORK: &str = "check the network and the proxy (HTTPS_PROXY, HTTP_PROXY, NO_PROXY), or name a mirror: --mirror PREFIX=URL_OR_DIR";
const CERTIFICATES: &str =
    "install the package ca-certificates, check the clock, or add the root of your proxy to the system's";

/// All bytes of `source`, or `None` if it is longer than `limit`.
pub(super) fn read_all(source: Source, limit: u64, client: &Client) -> Result<Option<Vec<u8>>, Failure> {
    let mut bytes = Vec::new();
    let outcome = source.body.take(limit.saturating_add(1)).read_to_end(&mut bytes);
    let length = bytes.len() as u64;
    outcome.map_err(|error| Failure::passing(client.broken(&error, length, source.total)))?;
    Ok((length <= limit).then_some(bytes))
}

fn open_file(path: &Path, offset: u64) -> Result<Source, Failure> {
    let failed = |error: &io::Error| match error.kind() {
        io::ErrorKind::NotFound => Failure::Absent(Error::new(ErrorKind::Fetch, "no such file")),
        _ => Failure::Place(Error::new(ErrorKind::Fetch, error.to_string())),
    };
    // Opening a pipe would wait for somebody who writes to it.
    let metadata = path.metadata().map_err(|error| failed(&error))?;
    if !metadata.is_file() {
        return Err(Failure::Place(Error::new(ErrorKind::Fetch, "not a regular file")));
    }
    let mut file = File::open(path).map_err(|error| failed(&error))?;
    let offset = if offset <= metadata.len() { offset } else { 0 };
    file.seek(SeekFrom::Start(offset)).map_err(|error| failed(&error))?;
    Ok(Source { body: Box::new(file), offset, total: Some(metadata.len()), tag: None })
}

/// Follows a limited number of redirects, never from TLS to plain text.
fn follow(attempt: redirect::Attempt<'_>) -> redirect::Action {
    match forbidden(attempt.previous(), attempt.url()) {
        Some(why) => attempt.error(why),
        None => attempt.follow(),
    }
}

fn forbidden(previous: &[Url], next: &Url) -> Option<String> {
    if previous.len() > REDIRECTS {
        return Some(format!("more than {REDIRECTS} redirects"));
    }
    let encrypted = previous.last().is_some_and(|url| url.scheme() == "https");
    (encrypted && next.scheme() != "https").then(|| format!("it leads from https to {}", next.scheme()))
}

/// The meaning of an answer without the file: most 4xx codes are final, the others are temporary.
fn refused(response: &Response) -> Failure {
    let status = response.status();
    let error = Error::new(ErrorKind::Fetch, format!("the server answered {status}"));
    let error = match status {
        StatusCode::NOT_FOUND | StatusCode::GONE => {
            error.help("check the version: upstream may not have released or may have removed it")
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            error.help("the server wants a login, or refuses this network")
        }
        StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            error.help("put the login into the proxy's address: http://USER:PASSWORD@HOST:PORT")
        }
        _ => error,
    };
    let passes = status.is_server_error()
        || matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
        );
    match retry_after(response.headers()) {
        _ if matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE) => Failure::Absent(error),
        _ if !passes => Failure::Place(error),
        Some(after) if after > LONGEST_RETRY_AFTER => {
            Failure::Place(error.context(format!("the server asks to come back in {} s", after.as_secs())))
        }
        after => Failure::Passing { error, after, advanced: false },
    }
}

/// `Retry-After` (RFC 9110 §10.2.3): seconds, or a date, which counts from the server's own `Date`.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = text(headers, header::RETRY_AFTER)?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let then = httpdate::parse_http_date(value).ok()?;
    let now = httpdate::parse_http_date(text(headers, header::DATE)?).ok()?;
    Some(then.duration_since(now).unwrap_or_default())
}

/// The first byte and the whole length in `Content-Range: bytes 5-9/10` (RFC 9110 §14.4).
fn content_range(value: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = value.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    let total = if total == "*" { None } else { Some(total.parse::<u64>().ok()?) };
    (first <= last && total.is_none_or(|total| last < total)).then_some((first, total))
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

fn number(headers: &HeaderMap, name: HeaderName) -> Option<u64> {
    text(headers, name)?.trim().parse().ok()
}

fn tls_error(error: &reqwest::Error) -> Option<&rustls::Error> {
    let mut next = error.source();
    while let Some(cause) = next {
        if let Some(tls) = cause.downcast_ref() {
            return Some(tls);
        }
        // An io::Error does not list the error that it wraps among its sources.
        let wrapped = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = wrapped.map(|inner| inner as &(dyn StdError + 'static)).or_else(|| cause.source());
    }
    None
}

/// The causes of an error, without its outermost text, which only repeats the address.
fn reason(error: &dyn StdError) -> String {
    let mut causes: Vec<String> = Vec::new();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if causes.last() != Some(&text) {
            causes.push(text);
        }
        source = cause.source();
    }
    if causes.is_empty() { error.to_string() } else { causes.join(": ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(HeaderName, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.clone(), header::HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn content_ranges() {
        assert_eq!(content_range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(content_range("bytes 5-9/*"), Some((5, None)));
        for wrong in
            ["", "bytes */10", "bytes 9-5/10", "bytes 5-10/10", "items 5-9/10", "bytes 5-9", "bytes -5/10"]
        {
            assert_eq!(content_range(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn retry_after_as_seconds_and_as_a_date() {
        assert_eq!(retry_after(&headers(&[(header::RETRY_AFTER, "7")])), Some(Duration::from_secs(7)));
        let dated = [
            (header::RETRY_AFTER, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (header::DATE, "Sun, 06 Nov 1994 08:49:07 GMT"),
        ];
        assert_eq!(retry_after(&headers(&dated)), Some(Duration::from_secs(30)));
        assert_eq!(retry_after(&headers(&dated[..1])), None);
        assert_eq!(retry_after(&headers(&[(header::RETRY_AFTER, "soon")])), None);
    }

    #[test]
    fn redirects_never_lead_out_of_tls_and_end() {
        let urls = |texts: &[&str]| texts.iter().map(|text| Url::parse(text).unwrap()).collect::<Vec<_>>();
        let (plain, tls) = (Url::parse("http://b/x").unwrap(), Url::parse("https://b/x").unwrap());
        assert!(
            forbidden(&urls(&["https://a/x"]), &plain).is_some_and(|why| why.contains("from https to http"))
        );
        assert_eq!(forbidden(&urls(&["https://a/x"]), &tls), None);
        assert_eq!(forbidden(&urls(&["http://a/x"]), &plain), None);
        assert_eq!(forbidden(&urls(&["http://a/x"; REDIRECTS]), &tls), None);
        assert!(forbidden(&urls(&["http://a/x"; REDIRECTS + 1]), &tls).is_some());
    }

    #[test]
    fn a_local_file_continues_where_it_is_asked_to() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"0123456789").unwrap();
        for (wanted, offset, rest) in
            [(0, 0, "0123456789"), (4, 4, "456789"), (10, 10, ""), (11, 0, "0123456789")]
        {
            let mut source = open_file(file.path(), wanted).unwrap_or_else(|_| panic!("opening"));
            let mut text = String::new();
            source.body.read_to_string(&mut text).unwrap();
            assert_eq!((source.offset, source.total, text.as_str()), (offset, Some(10), rest));
        }
    }
}
