//! One HTTP/1.1 request and its answer on an open connection. `ureq-proto` implements the protocol; this
//! module moves the bytes.

use std::ops::ControlFlow;

use http::{HeaderMap, Request};
use ureq_proto::BodyMode;
use ureq_proto::client::state::{RecvBody, RecvResponse};
use ureq_proto::client::{Call, RecvBodyResult, RecvResponseResult, SendRequestResult};

use super::Deadline;
use super::stream::{Fault, Stream};

/// Limit on the head of an answer, and on the framing between two pieces of a body, in bytes.
const LONGEST_HEAD: usize = 64 * 1024;
/// Limit on the head of a request, which has a path and a bearer token, in bytes.
const LONGEST_REQUEST_HEAD: usize = 32 * 1024;

/// Limit on the body of an answer, in bytes.
pub(crate) const LONGEST_BODY: usize = 4 * 1024 * 1024;

/// The head of an answer, and the state for reading its body.
pub(crate) struct Received {
    pub status: u16,
    pub headers: HeaderMap,
    body: Body,
}

/// Takes one piece of a body. It may break off or fail.
pub(crate) type Sink<'a> = dyn FnMut(&[u8]) -> Result<ControlFlow<()>, Fault> + 'a;

enum Body {
    None { reusable: bool },
    Follows(Box<Call<RecvBody>>),
}

/// Sends the request and receives the head of the answer.
pub(super) fn ask(
    connection: &mut impl Stream,
    request: Request<()>,
    body: &[u8],
    deadline: Deadline,
) -> Result<Received, Fault> {
    let call = send(connection, request, body, deadline)?;
    receive_head(connection, call, deadline)
}

fn send(
    connection: &mut impl Stream,
    request: Request<()>,
    body: &[u8],
    deadline: Deadline,
) -> Result<Call<RecvResponse>, Fault> {
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
    Ok(call)
}

fn receive_head(
    connection: &mut impl Stream,
    mut call: Call<RecvResponse>,
    deadline: Deadline,
) -> Result<Received, Fault> {
    loop {
        let (used, response) = call.try_response(connection.inbox(), false).map_err(protocol)?;
        connection.consume(used);
        if let Some(response) = response {
            let body = match call.proceed() {
                Some(RecvResponseResult::RecvBody(call)) => Body::Follows(Box::new(call)),
                Some(RecvResponseResult::Cleanup(call)) => {
                    Body::None { reusable: !call.must_close_connection() }
                }
                Some(RecvResponseResult::Redirect(_)) | None => Body::None { reusable: false },
            };
            return Ok(Received {
                status: response.status().as_u16(),
                headers: response.into_parts().0.headers,
                body,
            });
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
    /// The whole body, with a limit, and whether the connection can take another request.
    pub fn whole_body(
        self,
        connection: &mut impl Stream,
        deadline: Deadline,
    ) -> Result<(Vec<u8>, bool), Fault> {
        self.body_within(LONGEST_BODY, connection, deadline)
    }

    /// Like [`Received::whole_body`], with at most `limit` bytes.
    pub fn body_within(
        self,
        limit: usize,
        connection: &mut impl Stream,
        deadline: Deadline,
    ) -> Result<(Vec<u8>, bool), Fault> {
        let mut body = Vec::new();
        let reusable = self.body(connection, deadline, &mut |piece| {
            if body.len() + piece.len() > limit {
                return Err(Fault::TooLong(limit));
            }
            body.extend_from_slice(piece);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok((body, reusable))
    }

    /// Passes the body to `sink`, piece by piece, until it ends or `sink` breaks off. Returns whether the
    /// connection can take another request.
    pub fn body(
        self,
        connection: &mut impl Stream,
        deadline: Deadline,
        sink: &mut Sink<'_>,
    ) -> Result<bool, Fault> {
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
                return Ok(matches!(
                    call.proceed(),
                    Some(RecvBodyResult::Cleanup(call)) if !call.must_close_connection()
                ));
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
    Fault::Protocol(crate::text::one_line(&error.to_string()))
}

/// Status and body of the answer in `bytes`, as a client reads it from a server that then ends the stream. No
/// I/O: for tests with hostile bytes.
pub fn read_answer(bytes: &[u8]) -> Result<(u16, Vec<u8>), String> {
    let request = Request::get("https://server/").body(()).map_err(|error| error.to_string())?;
    let mut stream = Recorded { left: bytes, inbox: Vec::new() };
    let deadline = Deadline::after(std::time::Duration::from_secs(60));
    let received = ask(&mut stream, request, b"", deadline).map_err(|fault| format!("{fault:?}"))?;
    let status = received.status;
    received
        .whole_body(&mut stream, deadline)
        .map(|(body, _)| (status, body))
        .map_err(|fault| format!("{fault:?}"))
}

/// A server's side of a stream, in memory. It arrives in small pieces, so that the tests cover every
/// boundary.
struct Recorded<'a> {
    left: &'a [u8],
    inbox: Vec<u8>,
}

impl Stream for Recorded<'_> {
    fn send(&mut self, _bytes: &[u8], _deadline: Deadline) -> Result<(), Fault> {
        Ok(())
    }

    fn fill(&mut self, _deadline: Deadline) -> Result<bool, Fault> {
        let (piece, left) = self.left.split_at(self.left.len().min(7));
        self.inbox.extend_from_slice(piece);
        self.left = left;
        Ok(!piece.is_empty())
    }

    fn inbox(&self) -> &[u8] {
        &self.inbox
    }

    fn consume(&mut self, length: usize) {
        self.inbox.drain(..length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_whatever_their_framing_and_wherever_they_are_cut() {
        for (text, expected) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", Some((200, "hello"))),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n",
                Some((200, "hello")),
            ),
            ("HTTP/1.1 200 OK\r\n\r\nhello", Some((200, "hello"))),
            (
                "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
                Some((404, "")),
            ),
            ("HTTP/1.1 204 No Content\r\n\r\n", Some((204, ""))),
            ("", None),
            ("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello", None),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", None),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", None),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n", None),
            ("HTTP/1.1 099 X\r\n\r\n", None),
            ("HTTP/2 200 OK\r\n\r\n", None),
        ] {
            let read = read_answer(text.as_bytes());
            assert_eq!(
                read.as_ref().ok().map(|(status, body)| (*status, std::str::from_utf8(body).unwrap())),
                expected,
                "{text}: {read:?}"
            );
        }
    }
}
