//! What an API server answered.

use std::time::SystemTime;

use serde::de::DeserializeOwned;

use crate::error::{ErrorKind, Failure, Result};

/// The successful answer to one request.
#[derive(Debug, Clone)]
pub struct Answer {
    /// 200 to 299.
    pub status: u16,
    /// The server's own time, from its `Date` header.
    pub date: Option<SystemTime>,
    /// The whole body.
    pub body: Vec<u8>,
    /// The request and the server, for errors.
    pub(super) asked: String,
}

impl Answer {
    /// The body as JSON. What it holds is not repeated in the error: it may be secret.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.body).map_err(|error| {
            let place = format!("line {}, column {}", error.line(), error.column());
            Failure::new(
                ErrorKind::Unreachable,
                format!("{}: the answer is not what a Kubernetes API server sends ({place})", self.asked),
            )
            .help("check that the endpoint is a Kubernetes API server, not another server or a sign-in page")
        })
    }
}
