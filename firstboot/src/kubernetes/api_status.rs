//! Errors of the API server: the kind of failure by status, and the message of its Status object.

use std::time::SystemTime;

use http::HeaderMap;
use serde::Deserialize;

use crate::error::{ErrorKind, Failure};
use crate::net::Error;
use crate::net::error::{may_pass, retry_after};
use crate::net::http::reason;
use crate::text::one_line;

/// The error for an answer that is no success.
pub(super) fn error(asked: &str, status: u16, headers: &HeaderMap, body: &[u8]) -> Error {
    let failure = Failure::new(kind(status), format!("{asked}: {}", message(status, body)));
    let failure = Failure { transient: may_pass(status), help: help(status).map(str::to_owned), ..failure };
    Error {
        failure,
        status: Some(status),
        retry_after: retry_after(headers, SystemTime::now()),
        location: None,
    }
}

fn kind(status: u16) -> ErrorKind {
    match status {
        401 | 403 => ErrorKind::Credential,
        300..=399 => ErrorKind::Unreachable,
        _ if may_pass(status) => ErrorKind::Unreachable,
        _ => ErrorKind::Refused,
    }
}

fn help(status: u16) -> Option<&'static str> {
    match status {
        401 => Some(
            "the token is unknown or expired, or lacks the usage authentication: make a new one with kubeadm token create",
        ),
        403 => Some(
            "the credential may not do that: check the token's groups and the cluster's RBAC rules for joining nodes",
        ),
        300..=399 => Some("API servers do not redirect: check that the endpoint is a Kubernetes API server"),
        _ => None,
    }
}

/// The message of a Status object
/// (<https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/>), or the bare status.
fn message(status: u16, body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Status {
        kind: String,
        message: String,
    }
    let reason = reason(status);
    match serde_json::from_slice::<Status>(body) {
        Ok(object) if object.kind == "Status" && !object.message.is_empty() => {
            format!("{status} {reason}: {}", one_line(&object.message))
        }
        _ => format!("{status} {reason}"),
    }
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
            let failed = error("GET /x from a:1", status, &HeaderMap::new(), b"");
            assert_eq!((failed.failure.kind, failed.failure.transient), (class, transient), "{status}");
            assert_eq!(failed.status, Some(status));
        }
    }

    #[test]
    fn the_servers_message_is_shown_on_one_line_and_bounded() {
        let body = format!(
            r#"{{"kind":"Status","message":"nodes \"a\" is\n\u001b[31mforbidden{}"}}"#,
            "x".repeat(1000)
        );
        let failed = error("GET /x from a:1", 403, &HeaderMap::new(), body.as_bytes());
        assert!(
            failed
                .failure
                .message
                .starts_with("GET /x from a:1: 403 Forbidden: nodes \"a\" is  [31mforbiddenx"),
            "{}",
            failed.failure
        );
        assert!(failed.failure.message.chars().count() < 350);
        let plain = error("GET /x from a:1", 500, &HeaderMap::new(), b"<html>secret</html>");
        assert_eq!(plain.failure.message, "GET /x from a:1: 500 Internal Server Error");
    }
}
