//! A long file from a server, as a stream. A connection that breaks is opened again, and the file goes on
//! where it stopped (RFC 9110, §14). The caller must check what it reads: between two connections the server
//! may have replaced the file.

use std::io::{self, Read};
use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use http::header::{CONTENT_RANGE, ETAG, IF_RANGE, RANGE};
use http::{HeaderMap, Method};

use super::connection::Transport;
use super::exchange::Received;
use super::http::{Client, Peer, Reply, head};
use super::retry::{self, Backoff};
use super::stream::{Fault, Stream};
use super::url::{Url, shown};
use super::{Deadline, Error, Network, tls};
use crate::error::{ErrorKind, Failure};
use crate::net::trust::{self, Trust};

/// Pieces that wait for the reader: 4 MiB, so that the network does not wait for the disk.
const WAITING: usize = 64;

/// Limits of a download.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How long a server may be silent.
    pub silence: Duration,
    /// How long it is tried without one more byte.
    pub patience: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { silence: Duration::from_secs(30), patience: Duration::from_secs(300) }
    }
}

/// Why a stream ended early, for the reader of what was made of it.
#[derive(Debug, Clone, Default)]
pub struct Broken(Arc<Mutex<Option<Failure>>>);

impl Broken {
    /// The failure, if there was one.
    pub fn take(&self) -> Option<Failure> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn set(&self, failure: Failure) -> io::Error {
        let error = io::Error::other(failure.message.clone());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
        error
    }
}

/// The stream. A thread fills it.
#[derive(Debug)]
pub struct Download {
    pieces: Receiver<Result<Vec<u8>, Failure>>,
    piece: Vec<u8>,
    at: usize,
    broken: Broken,
}

impl Download {
    /// Begins to get the file at `url`. What lasts long is told to `tell`.
    pub fn begin(
        network: &Network,
        url: &str,
        limits: Limits,
        tell: impl Fn(&str) + Send + 'static,
    ) -> (Self, Broken) {
        let (sender, pieces) = sync_channel(WAITING);
        let mut getting =
            Getting { network: network.clone(), url: url.to_owned(), limits, sender, at: 0, tag: None };
        thread::spawn(move || {
            if let Err(failure) = getting.all(&tell) {
                let _ = getting.sender.send(Err(failure));
            }
        });
        let broken = Broken::default();
        (Self { pieces, piece: Vec::new(), at: 0, broken: broken.clone() }, broken)
    }
}

impl Read for Download {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() {
            (self.piece, self.at) = match self.pieces.recv() {
                Ok(Ok(piece)) => (piece, 0),
                Ok(Err(failure)) => return Err(self.broken.set(failure)),
                // The thread has ended, and its file with it.
                Err(_) => return Ok(0),
            };
        }
        let length = buffer.len().min(self.piece.len() - self.at);
        buffer[..length].copy_from_slice(&self.piece[self.at..self.at + length]);
        self.at += length;
        Ok(length)
    }
}

struct Getting {
    network: Network,
    url: String,
    limits: Limits,
    sender: SyncSender<Result<Vec<u8>, Failure>>,
    /// The bytes that the reader has or will get.
    at: u64,
    /// What the server calls this version of the file, if that is exact.
    tag: Option<String>,
}

impl Getting {
    fn all(&mut self, tell: &dyn Fn(&str)) -> Result<(), Failure> {
        let mut backoff = Backoff::new().telling(tell);
        let mut deadline = Deadline::after(self.limits.patience);
        loop {
            let before = self.at;
            let Err(error) = self.once() else { return Ok(()) };
            if self.at > before {
                backoff.reset();
                deadline = Deadline::after(self.limits.patience);
            }
            retry::pause(deadline, &mut backoff, error)?;
        }
    }

    /// One connection, to the end of the file.
    fn once(&mut self) -> Result<(), Error> {
        let asked = format!("GET {}", shown(&self.url));
        let wrong = |why: String| Failure::new(ErrorKind::Config, format!("{}: {why}", shown(&self.url)));
        let url: Url = self.url.parse().map_err(wrong)?;
        let transport = if url.is_secure {
            Transport::Tls(tls::server_name(&url.endpoint, None)?, tls::config(&Trust::System, None)?)
        } else {
            Transport::Plain { privileged_port: false }
        };
        let range = format!("bytes={}-", self.at);
        let mut headers = Vec::new();
        if self.at > 0 {
            headers.push((RANGE.as_str(), range.as_str()));
            headers.extend(self.tag.as_deref().map(|tag| (IF_RANGE.as_str(), tag)));
        }
        let request = head(&Method::GET, &url.target(), &url.host(), headers, 0).map_err(wrong)?;
        let deadline = Deadline::after(self.limits.silence);
        let failed = |fault: Fault, deadline| failure(&asked, &url, &fault, deadline);
        let mut client = Client::new(&self.network, Peer::Named(url.endpoint.clone()), transport);
        let (connection, received) =
            client.ask(&request, b"", deadline).map_err(|fault| failed(fault, deadline))?;
        let skipped = self.begin(&asked, &received)?;
        self.body(connection, received, skipped).map_err(|fault| failed(fault, deadline))?;
        Ok(())
    }

    /// Looks at the head of an answer. Returns how many bytes of its body the reader has already.
    fn begin(&mut self, asked: &str, received: &Received) -> Result<u64, Error> {
        let (status, headers) = (received.status, received.headers.clone());
        Reply { status, headers, body: Vec::new() }.check(asked)?;
        if self.at == 0 {
            self.tag = text(&received.headers, ETAG.as_str()).filter(|tag| tag.starts_with('"'));
        }
        match status {
            206 if starts_at(&received.headers) == Some(self.at) => Ok(0),
            200 => Ok(self.at),
            _ => {
                let message = format!("{asked}: the answer to a request for a range makes no sense");
                Err(Failure::new(ErrorKind::Source, message).into())
            }
        }
    }

    fn body(&mut self, connection: impl Stream, received: Received, mut skipped: u64) -> Result<(), Fault> {
        let mut patient = Patient { stream: connection, silence: self.limits.silence };
        let (sender, at) = (&self.sender, &mut self.at);
        let deadline = Deadline::after(self.limits.silence);
        received.body(&mut patient, deadline, &mut |piece| {
            let skip = skipped.min(piece.len() as u64);
            skipped -= skip;
            let piece = &piece[skip as usize..];
            if piece.is_empty() {
                return Ok(ControlFlow::Continue(()));
            }
            *at += piece.len() as u64;
            match sender.send(Ok(piece.to_vec())) {
                Ok(()) => Ok(ControlFlow::Continue(())),
                Err(_) => Ok(ControlFlow::Break(())),
            }
        })?;
        Ok(())
    }
}

/// Bytes of an answer, each of which renews the deadline.
struct Patient<S> {
    stream: S,
    silence: Duration,
}

impl<S: Stream> Stream for Patient<S> {
    fn send(&mut self, bytes: &[u8], deadline: Deadline) -> Result<(), Fault> {
        self.stream.send(bytes, deadline)
    }

    fn fill(&mut self, _: Deadline) -> Result<bool, Fault> {
        self.stream.fill(Deadline::after(self.silence))
    }

    fn inbox(&self) -> &[u8] {
        self.stream.inbox()
    }

    fn consume(&mut self, length: usize) {
        self.stream.consume(length);
    }
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// The first byte of the range in an answer.
fn starts_at(headers: &HeaderMap) -> Option<u64> {
    text(headers, CONTENT_RANGE.as_str())?
        .strip_prefix("bytes ")?
        .split_once('-')?
        .0
        .parse()
        .ok()
}

fn failure(asked: &str, url: &Url, fault: &Fault, deadline: Deadline) -> Error {
    match fault {
        Fault::Name(failure) => return failure.clone().into(),
        Fault::Tls(error) => return trust::failure(&url.endpoint.to_string(), error, None).into(),
        _ => {}
    }
    let failure = Failure::new(ErrorKind::Unreachable, format!("{asked}: {}", fault.why(deadline)));
    let failure = if fault.may_pass() { failure.transient() } else { failure };
    failure.into()
}

#[cfg(test)]
#[path = "download_tests.rs"]
mod tests;
