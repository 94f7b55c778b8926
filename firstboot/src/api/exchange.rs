//! One HTTP/1.1 request and its answer on an open connection. `ureq-proto` knows the protocol, this moves the bytes.

use std::ops::ControlFlow;

use http::{HeaderMap, Request};
use ureq_proto::BodyMode;
use ureq_proto::client::state::{RecvBody, RecvResponse};
use ureq_proto::client::{Call, RecvBodyResult, RecvResponseResult, SendRequestResult};

use super::Deadline;
use super::connection::{Connection, Fault};

/// Longest head of an answer, and longest piece of framing between two pieces of a body.
const LONGEST_HEAD: usize = 64 * 1024;
/// Longest head of a request: a path and a bearer token.
const LONGEST_REQUEST_HEAD: usize = 32 * 1024;

/// The head of an answer, and what it takes to read its body.
pub(super) struct Received {
    pub status: u16,
    pub headers: HeaderMap,
    body: Body,
}

/// Takes one piece of a body; may break off, or fail.
pub(super) type Sink<'a> = dyn FnMut(&[u8]) -> Result<ControlFlow<()>, Fault> + 'a;

enum Body {
    None { reusable: bool },
    Follows(Box<Call<RecvBody>>),
}

/// Sends the request and receives the head of the answer.
pub(super) fn ask(connection: &mut Connection, request: Request<()>, body: &[u8], deadline: Deadline) -> Result<Received, Fault> {
    let call = send(connection, request, body, deadline)?;
    receive_head(connection, call, deadline)
}

fn send(connection: &mut Connection, request: Request<()>, body: &[u8], deadline: Deadline) -> Result<Call<RecvResponse>, Fault> {
    let mut call = Call::new(request).map_err(protocol)?.proceed();
    let mut bytes = vec![0; LONGEST_REQUEST_HEAD];
    let mut length = 0;
    while !call.can_proceed() {
        length += call.write(&mut bytes[length..]).map_err(protocol)?;
    }
    bytes.truncate(length);
    let call = match call.proceed().map_err(protocol)? {
        Some(SendRequestResult::RecvResponse(call)) => Some(call),
        Some(SendRequestResult::SendBody(mut call)) => {
            bytes.resize(length + body.len(), 0);
            call.write(body, &mut bytes[length..]).map_err(protocol)?;
            call.proceed()
        }
        _ => None,
    };
    let call = call.ok_or_else(|| Fault::Protocol("the request is incomplete".to_owned()))?;
    connection.send(&bytes, deadline)?;
    connection.used = true;
    Ok(call)
}

fn receive_head(connection: &mut Connection, mut call: Call<RecvResponse>, deadline: Deadline) -> Result<Received, Fault> {
    loop {
        let (used, response) = call.try_response(connection.inbox(), false).map_err(protocol)?;
        connection.consume(used);
        if let Some(response) = response {
            let body = match call.proceed() {
                Some(RecvResponseResult::RecvBody(call)) => Body::Follows(Box::new(call)),
                Some(RecvResponseResult::Cleanup(call)) => Body::None { reusable: !call.must_close_connection() },
                Some(RecvResponseResult::Redirect(_)) | None => Body::None { reusable: false },
            };
            return Ok(Received { status: response.status().as_u16(), headers: response.into_parts().0.headers, body });
        }
        if used > 0 {
            continue; // 100 Continue and its like: the real answer follows
        }
        if connection.inbox().len() > LONGEST_HEAD {
            return Err(Fault::Protocol(format!("its head is longer than {LONGEST_HEAD} bytes")));
        }
        let nothing_yet = connection.inbox().is_empty();
        match connection.fill(deadline) {
            Ok(true) => {}
            Ok(false) | Err(Fault::Truncated) if nothing_yet => return Err(Fault::Closed),
            Ok(false) => return Err(Fault::Truncated),
            Err(fault) => return Err(fault),
        }
    }
}

impl Received {
    /// Hands the body on, piece by piece, until it ends or `sink` breaks off. True when the connection can take another request.
    pub fn body(self, connection: &mut Connection, deadline: Deadline, sink: &mut Sink<'_>) -> Result<bool, Fault> {
        let mut call = match self.body {
            Body::None { reusable } => return Ok(reusable),
            Body::Follows(call) => call,
        };
        let until_close = call.body_mode() == BodyMode::CloseDelimited;
        let mut piece = vec![0; LONGEST_HEAD];
        loop {
            let (used, length) = call.read(connection.inbox(), &mut piece).map_err(protocol)?;
            connection.consume(used);
            if length > 0 && sink(&piece[..length])?.is_break() {
                return Ok(false);
            }
            if call.can_proceed() && !until_close {
                return Ok(matches!(call.proceed(), Some(RecvBodyResult::Cleanup(call)) if !call.must_close_connection()));
            }
            if used > 0 {
                continue;
            }
            if connection.inbox().len() > LONGEST_HEAD {
                return Err(Fault::Protocol("its chunks have no end".to_owned()));
            }
            if !connection.fill(deadline)? {
                return if until_close { Ok(false) } else { Err(Fault::Truncated) };
            }
        }
    }
}

fn protocol(error: ureq_proto::Error) -> Fault {
    Fault::Protocol(super::error::shown(&error.to_string()))
}
