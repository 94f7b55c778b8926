//! Why a request failed, as far as callers distinguish it.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::RETRY_AFTER;

use crate::error::Failure;

/// Limit on the wait that a server may ask for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// A request that failed.
#[derive(Debug, Clone)]
pub struct Error {
    /// The failure.
    pub failure: Failure,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// The wait that the server asks for (`Retry-After`).
    pub retry_after: Option<Duration>,
    /// The target of a redirect. It may be secret, such as a signed URL.
    pub location: Option<String>,
}

impl Error {
    /// 404: the object does not exist.
    pub fn is_missing(&self) -> bool {
        self.status == Some(404)
    }

    /// 409: the object exists already, or was changed meanwhile.
    pub fn is_conflict(&self) -> bool {
        self.status == Some(409)
    }

    /// 403: the credential does not allow it.
    pub fn is_forbidden(&self) -> bool {
        self.status == Some(403)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self { failure, status: None, retry_after: None, location: None }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        error.failure
    }
}

/// Whether a status does not depend on the request, so that the same request may succeed later.
pub(crate) fn may_pass(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500..)
}

/// Seconds or a date (RFC 9110, section 10.2.3).
pub(crate) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default(),
    };
    Some(wait.min(LONGEST_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = httpdate::parse_http_date("Mon, 23 Nov 2026 18:00:00 GMT").unwrap();
        for (text, wait) in [
            ("7", Some(7)),
            ("Mon, 23 Nov 2026 18:00:09 GMT", Some(9)),
            ("Mon, 23 Nov 2026 17:00:09 GMT", Some(0)),
            ("99999999", Some(3600)),
            ("soon", None),
        ] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]);
            assert_eq!(retry_after(&headers, now).map(|wait| wait.as_secs()), wait, "{text}");
        }
    }
}
