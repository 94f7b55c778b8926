//! Why a request failed: the failure by its class, and what the caller may want to tell apart.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::RETRY_AFTER;
use serde::Deserialize;

use crate::error::{ErrorKind, Failure};

/// The longest that a server may ask to be left alone.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3600);
/// Characters of the server's own message that are shown.
const LONGEST_MESSAGE: usize = 300;

/// A request that failed.
#[derive(Debug, Clone)]
pub struct Error {
    /// What failed, by class.
    pub failure: Failure,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// How long the server asks to be left alone.
    pub retry_after: Option<Duration>,
    /// Where the server sends the client to instead. May hold a secret: a signed URL.
    pub location: Option<String>,
}

impl Error {
    /// 404: there is no such object.
    pub fn is_missing(&self) -> bool {
        self.status == Some(404)
    }

    /// 409: there is one already, or it was changed meanwhile.
    pub fn is_conflict(&self) -> bool {
        self.status == Some(409)
    }

    /// 403: the credential may not do that.
    pub fn is_forbidden(&self) -> bool {
        self.status == Some(403)
    }

    /// The error for an answer that is no success.
    pub(super) fn of_answer(asked: &str, status: u16, headers: &HeaderMap, body: &[u8]) -> Self {
        let said = said(status, body);
        let failure = Failure::new(class(status), format!("{asked}: {said}"));
        let (transient, help) = advice(status);
        let failure = Failure { transient, help: help.map(str::to_owned), ..failure };
        Self {
            failure,
            status: Some(status),
            retry_after: retry_after(headers, SystemTime::now()),
            location: None,
        }
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

fn class(status: u16) -> ErrorKind {
    match status {
        401 | 403 => ErrorKind::Credential,
        300..=399 | 408 | 429 | 500..=599 => ErrorKind::Unreachable,
        _ => ErrorKind::Refused,
    }
}

/// Whether the same request may succeed later, and what to do otherwise.
fn advice(status: u16) -> (bool, Option<&'static str>) {
    match status {
        401 => (
            false,
            Some(
                "the token is unknown or expired, or lacks the usage authentication: make a new one with kubeadm token create",
            ),
        ),
        403 => (
            false,
            Some(
                "the credential may not do that: check the token's groups and the cluster's RBAC rules for joining nodes",
            ),
        ),
        300..=399 => {
            (false, Some("API servers do not redirect: check that the endpoint is a Kubernetes API server"))
        }
        408 | 429 | 500..=599 => (true, None),
        _ => (false, None),
    }
}

/// The message of a Status object (<https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/>), or the bare status.
fn said(status: u16, body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Status {
        kind: String,
        message: String,
    }
    let reason = http::StatusCode::from_u16(status)
        .ok()
        .and_then(|code| code.canonical_reason())
        .unwrap_or("unknown status");
    match serde_json::from_slice::<Status>(body) {
        Ok(object) if object.kind == "Status" && !object.message.is_empty() => {
            format!("{status} {reason}: {}", shown(&object.message))
        }
        _ => format!("{status} {reason}"),
    }
}

/// Foreign text, fit for one line of a log.
pub(crate) fn shown(text: &str) -> String {
    let mut line: String = text
        .chars()
        .take(LONGEST_MESSAGE)
        .map(|char| if char.is_control() { ' ' } else { char })
        .collect();
    if text.chars().nth(LONGEST_MESSAGE).is_some() {
        line.push('…');
    }
    line
}

/// Seconds or a date (RFC 9110, section 10.2.3).
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
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
    fn every_status_has_its_class() {
        for (status, class, transient) in [
            (301, ErrorKind::Unreachable, false),
            (400, ErrorKind::Refused, false),
            (401, ErrorKind::Credential, false),
            (403, ErrorKind::Credential, false),
            (404, ErrorKind::Refused, false),
            (409, ErrorKind::Refused, false),
            (429, ErrorKind::Unreachable, true),
            (500, ErrorKind::Unreachable, true),
            (503, ErrorKind::Unreachable, true),
        ] {
            let error = Error::of_answer("GET /x from a:1", status, &HeaderMap::new(), b"");
            assert_eq!((error.failure.kind, error.failure.transient), (class, transient), "{status}");
            assert_eq!(error.status, Some(status));
        }
    }

    #[test]
    fn the_servers_message_is_shown_on_one_line_and_bounded() {
        let body = format!(
            r#"{{"kind":"Status","message":"nodes \"a\" is\n\u001b[31mforbidden{}"}}"#,
            "x".repeat(1000)
        );
        let error = Error::of_answer("GET /x from a:1", 403, &HeaderMap::new(), body.as_bytes());
        assert!(
            error
                .failure
                .message
                .starts_with("GET /x from a:1: 403 Forbidden: nodes \"a\" is  [31mforbiddenx"),
            "{}",
            error.failure
        );
        assert!(error.failure.message.chars().count() < 350);
        let plain = Error::of_answer("GET /x from a:1", 500, &HeaderMap::new(), b"<html>secret</html>");
        assert_eq!(plain.failure.message, "GET /x from a:1: 500 Internal Server Error");
    }

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
