//! Unary gRPC calls over one HTTP/2 connection, as in "gRPC over HTTP2"
//! (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>): a message has one byte of flags, four
//! bytes of length, and its content; the status is in the trailers.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Instant;

use h2::client::{Connection, SendRequest};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use prost::Message;
use prost::bytes::Bytes;

use crate::host::runtime_socket::{Driver, Socket, Stream, split};

/// Limit on an answer, in bytes. The kubelet's limit is 16 MiB too.
const ANSWER_LIMIT: usize = 16 << 20;

/// The status if an object does not exist. containerd 1.x returns it where the interface requires success.
pub const NOT_FOUND: u32 = 5;

/// The status for an unknown method.
const UNIMPLEMENTED: u32 = 12;

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The server does not know the method.
    Unimplemented,
    /// No answer before the deadline.
    Late,
    /// The server's error: code and text.
    Status(u32, String),
    /// The connection failed, or its data is invalid.
    Broken(String),
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unimplemented => formatter.write_str("the method is not implemented"),
            Self::Late => formatter.write_str("no answer in time"),
            Self::Status(code, text) => write!(formatter, "{text} (gRPC status {code})"),
            Self::Broken(text) => formatter.write_str(text),
        }
    }
}

impl From<h2::Error> for Error {
    fn from(error: h2::Error) -> Self {
        Self::Broken(format!("HTTP/2: {error}"))
    }
}

/// A connection.
pub struct Channel {
    requests: SendRequest<Bytes>,
    connection: Connection<Socket, Bytes>,
    driver: Driver,
}

impl Channel {
    /// Opens the HTTP/2 connection over `stream`.
    pub fn open(stream: Stream, deadline: Instant) -> Result<Self, Error> {
        let (socket, driver) = split(stream).map_err(|error| Error::Broken(error.to_string()))?;
        let greeting = h2::client::Builder::new().enable_push(false).handshake(socket);
        let (requests, connection) = driver.run(greeting, deadline).ok_or(Error::Late)??;
        Ok(Self { requests, connection, driver })
    }

    /// Calls the method `path` (`/runtime.v1.RuntimeService/Version`).
    pub fn call<A: Message + Default>(
        &mut self,
        path: &str,
        request: &impl Message,
        deadline: Instant,
    ) -> Result<A, Error> {
        let mut exchange = pin!(exchange(self.requests.clone(), path.to_owned(), frame(request)));
        let connection = &mut self.connection;
        let both = poll_fn(|context| {
            if let Poll::Ready(answer) = exchange.as_mut().poll(context) {
                return Poll::Ready(answer);
            }
            match Pin::new(&mut *connection).poll(context) {
                Poll::Pending => Poll::Pending,
                // A message that arrived before the end is valid.
                Poll::Ready(end) => match exchange.as_mut().poll(context) {
                    Poll::Ready(answer) => Poll::Ready(answer),
                    Poll::Pending => Poll::Ready(Err(end.map_or_else(Error::from, |()| closed()))),
                },
            }
        });
        let answer = self.driver.run(both, deadline).ok_or(Error::Late)??;
        A::decode(&answer[..])
            .map_err(|error| Error::Broken(format!("an answer that is no protobuf message: {error}")))
    }
}

fn closed() -> Error {
    Error::Broken("the connection was closed".to_owned())
}

async fn exchange(requests: SendRequest<Bytes>, path: String, body: Bytes) -> Result<Vec<u8>, Error> {
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("http://localhost{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .map_err(|error| Error::Broken(error.to_string()))?;
    let (response, mut sender) = requests.ready().await?.send_request(request, false)?;
    sender.send_data(body, true)?;
    let (parts, mut body) = response.await?.into_parts();
    let mut bytes = Vec::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        body.flow_control().release_capacity(chunk.len())?;
        if bytes.len() + chunk.len() > ANSWER_LIMIT {
            return Err(Error::Broken(format!("an answer of more than {ANSWER_LIMIT} bytes")));
        }
        bytes.extend_from_slice(&chunk);
    }
    let trailers = body.trailers().await?;
    check(&Response::from_parts(parts, ()), trailers.as_ref())?;
    parse_frame(&bytes).map(<[u8]>::to_vec)
}

fn frame(message: &impl Message) -> Bytes {
    let body = message.encode_to_vec();
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    [&[0][..], &length.to_be_bytes(), &body].concat().into()
}

/// The only message in the body of an answer.
fn parse_frame(bytes: &[u8]) -> Result<&[u8], Error> {
    let wrong = |what: &str| Error::Broken(format!("an answer that is no gRPC message: {what}"));
    let (head, body) = bytes.split_at_checked(5).ok_or_else(|| wrong("too short"))?;
    if head[0] != 0 {
        return Err(wrong("compressed, which was not offered"));
    }
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
    if body.len() as u64 == u64::from(length) {
        Ok(body)
    } else {
        Err(wrong("its length is not what its head says"))
    }
}

/// The status: in the trailers, or in the head of an answer without a body.
fn check(head: &Response<()>, trailers: Option<&HeaderMap>) -> Result<(), Error> {
    let find = |name: &str| trailers.and_then(|map| map.get(name)).or_else(|| head.headers().get(name));
    let Some(code) = find("grpc-status").and_then(|value| value.to_str().ok()?.parse::<u32>().ok()) else {
        let reason = if head.status() == StatusCode::OK {
            "no status".to_owned()
        } else {
            format!("HTTP status {}", head.status())
        };
        return Err(Error::Broken(format!("not an answer of gRPC: {reason}")));
    };
    match code {
        0 => Ok(()),
        UNIMPLEMENTED => Err(Error::Unimplemented),
        _ => Err(Error::Status(
            code,
            find("grpc-message").map(|value| decode_text(value.as_bytes())).unwrap_or_default(),
        )),
    }
}

/// Decodes grpc-message, which is percent-encoded, and shortens it for messages.
fn decode_text(bytes: &[u8]) -> String {
    let mut text = Vec::new();
    let mut rest = bytes;
    while let [first, tail @ ..] = rest {
        let hex = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
        match (first, tail.get(..2).and_then(hex)) {
            (b'%', Some(byte)) => {
                text.push(byte);
                rest = &tail[2..];
            }
            _ => {
                text.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&text)
        .chars()
        .map(|each| if each.is_control() { ' ' } else { each })
        .take(500)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_bounded_by_their_head() {
        assert_eq!(parse_frame(&[0, 0, 0, 0, 2, 7, 8]), Ok(&[7, 8][..]));
        assert_eq!(parse_frame(&[0, 0, 0, 0, 0]), Ok(&[][..]));
        for wrong in [
            &[][..],
            &[0, 0, 0, 0],
            &[0, 0, 0, 0, 2, 7],
            &[0, 0, 0, 0, 1, 7, 8],
            &[1, 0, 0, 0, 1, 7],
            &[0, 255, 255, 255, 255, 1],
        ] {
            assert!(matches!(parse_frame(wrong), Err(Error::Broken(_))), "{wrong:?}");
        }
    }

    #[test]
    fn texts_are_decoded_and_made_harmless() {
        for (text, expected) in
            [("a%20b", "a b"), ("100%", "100%"), ("%zz%4", "%zz%4"), ("%1b[2J", " [2J"), ("%ff", "\u{fffd}")]
        {
            assert_eq!(decode_text(text.as_bytes()), expected);
        }
        assert_eq!(decode_text(&[b'x'; 9999]).len(), 500);
    }

    #[test]
    fn the_status_is_looked_for_in_both_places() {
        let head = |status: u16, code: Option<&str>| {
            let builder = Response::builder().status(status);
            let builder = if let Some(code) = code { builder.header("grpc-status", code) } else { builder };
            builder.header("grpc-message", "from%20head").body(()).unwrap()
        };
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().unwrap());
        assert_eq!(check(&head(200, None), Some(&trailers)), Ok(()));
        assert_eq!(check(&head(200, Some("12")), None), Err(Error::Unimplemented));
        assert_eq!(check(&head(200, Some("9")), None), Err(Error::Status(9, "from head".to_owned())));
        assert!(check(&head(404, None), None).unwrap_err().to_string().contains("404"));
        assert!(check(&head(200, Some("many")), None).unwrap_err().to_string().contains("no status"));
    }
}
