//! Bytes to and from one server, and their errors.

use std::io;

use super::Deadline;
use crate::error::Failure;

/// A stream of bytes. Every operation ends by a deadline.
pub(crate) trait Stream {
    /// Sends all bytes.
    fn send(&mut self, bytes: &[u8], deadline: Deadline) -> Result<(), Fault>;
    /// Receives at least one more byte into the inbox. Returns false if the peer has properly ended the
    /// stream.
    fn fill(&mut self, deadline: Deadline) -> Result<bool, Fault>;
    /// The received bytes that are not consumed yet.
    fn inbox(&self) -> &[u8];
    /// Drops the first bytes of the inbox.
    fn consume(&mut self, length: usize);
}

/// Why an exchange with a server failed.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The server's name has no address.
    Name(Failure),
    /// The operating system's error, including timeouts, and the action that failed.
    Io(&'static str, io::Error),
    /// The TLS layer's error.
    Tls(rustls::Error),
    /// The peer closed the connection before the first byte of the answer.
    Closed,
    /// The peer closed the connection in the middle of the answer.
    Truncated,
    /// The answer is not HTTP/1.1.
    Protocol(String),
    /// The answer is longer than this number of bytes.
    TooLong(usize),
}

impl Fault {
    /// A description for the operator; `deadline` is that of the exchange.
    pub fn why(&self, deadline: Deadline) -> String {
        match self {
            Self::Name(failure) => failure.message.clone(),
            Self::Io(doing, error) if error.kind() == io::ErrorKind::TimedOut => {
                format!("{doing}: no answer within {:.1} s", deadline.elapsed().as_secs_f64())
            }
            Self::Io(doing, error) => format!("{doing}: {}", crate::error::plain(error)),
            Self::Tls(error) => error.to_string(),
            Self::Closed => "the server closed the connection without an answer".to_owned(),
            Self::Truncated => "the connection broke in the middle of the answer".to_owned(),
            Self::Protocol(what) => format!("the answer is not HTTP: {what}"),
            Self::TooLong(limit) => format!("the answer is longer than {limit} bytes"),
        }
    }

    /// Whether the same request may succeed the next time.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Io(..) | Self::Closed | Self::Truncated)
    }

    /// Whether the peer had closed an idle connection. Then the request is sent again on a new one.
    pub fn is_stale(&self) -> bool {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected};
        match self {
            Self::Closed => true,
            Self::Io(_, error) => {
                matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected)
            }
            _ => false,
        }
    }
}
