//! A connection as HTTP sees it: it knows whether the client got everything, and a client that takes nothing
//! any more ends it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// A client that waits for an answer and takes less than [`LEAST`] in this time is gone.
const PATIENCE: Duration = Duration::from_secs(60);

/// In bytes.
const LEAST: usize = 16 << 10;

/// How long a client may take to close its side when the server has closed its own.
const LINGER: Duration = Duration::from_secs(5);

/// How many bytes that nobody wants it may still send then.
const MOST_UNWANTED: usize = 1 << 20;

/// A stream with a time limit for writes.
pub(super) struct Wire<S> {
    stream: S,
    limit: Pin<Box<Sleep>>,
    /// Bytes that went since a write had to wait; none if it has not.
    since_wait: Option<usize>,
    /// Unwanted bytes since the server has closed its side; none before that.
    unwanted: Option<usize>,
    is_whole: Arc<AtomicBool>,
}

impl<S> Wire<S> {
    /// `is_whole` becomes true when the connection ended in order, after the last byte of the server.
    pub fn new(stream: S, is_whole: Arc<AtomicBool>) -> Self {
        let limit = Box::pin(tokio::time::sleep(PATIENCE));
        Self { stream, limit, since_wait: None, unwanted: None, is_whole }
    }

    fn judged<T>(
        &mut self,
        cx: &mut Context<'_>,
        result: Poll<io::Result<T>>,
        sent: impl Fn(&T) -> Option<usize>,
    ) -> Poll<io::Result<T>> {
        match (&result, self.since_wait) {
            (Poll::Pending, None) => {
                self.limit.as_mut().reset(Instant::now() + PATIENCE);
                self.since_wait = Some(0);
            }
            (Poll::Ready(Ok(value)), Some(before)) => {
                self.since_wait = sent(value).map(|sent| before + sent).filter(|sum| *sum < LEAST);
            }
            _ => {}
        }
        if result.is_pending() && self.limit.as_mut().poll(cx).is_ready() {
            let message = "the client does not take its answer";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, message)));
        }
        result
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.judged(cx, result, |sent| Some(*sent))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.judged(cx, result, |sent| Some(*sent))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        self.judged(cx, result, |()| None)
    }

    /// HTTP calls this when it has handed over the last byte. A client that got it closes its side; one that
    /// went before resets the connection. And who sends on is read for a while: a reset would take the answer
    /// away from it.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(mut unwanted) = self.unwanted else {
            let result = Pin::new(&mut self.stream).poll_shutdown(cx);
            ready!(self.judged(cx, result, |()| None))?;
            self.limit.as_mut().reset(Instant::now() + LINGER);
            self.unwanted = Some(0);
            return self.poll_shutdown(cx);
        };
        let mut space = [0; 4096];
        loop {
            let mut buffer = ReadBuf::new(&mut space);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => break,
                Poll::Ready(Ok(())) if unwanted < MOST_UNWANTED => {
                    unwanted += buffer.filled().len();
                    self.unwanted = Some(unwanted);
                }
                // Without a word at the end of TLS.
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                Poll::Ready(Ok(())) => return Poll::Ready(Ok(())),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                // It says nothing: it may well have everything.
                Poll::Pending if self.limit.as_mut().poll(cx).is_ready() => break,
                Poll::Pending => return Poll::Pending,
            }
        }
        self.is_whole.store(true, Ordering::Release);
        Poll::Ready(Ok(()))
    }
}
