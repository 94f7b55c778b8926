//! Bodies of answers. Files are read in small pieces, each when the one before it has gone to the socket, so
//! that memory does not grow with their length, nor with the slowness of clients.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::body::{Body as HttpBody, Bytes, Frame, SizeHint};
use tokio::task::JoinHandle;

use super::image::Served;

/// Bytes of a file that are in memory at once, for each connection.
const PIECE: u64 = 16 << 10;

/// The body of an answer.
pub(super) struct Body {
    content: Content,
    left: u64,
    sent: u64,
    /// Called when the body ends: with the bytes that were handed over, and whether these were all.
    on_end: Option<OnEnd>,
}

type OnEnd = Box<dyn FnOnce(u64, bool) + Send>;

enum Content {
    Text(Bytes),
    File(Part),
}

/// A part of a file on its way.
pub(super) struct Part {
    file: Arc<Served>,
    range: Range<u64>,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
    /// Told how much of the whole file has gone, in percent, at each change.
    progress: Option<(u8, Progress)>,
}

type Progress = Box<dyn Fn(u8) + Send>;

impl Body {
    /// A text.
    pub fn text(text: impl Into<Bytes>) -> Self {
        let text = text.into();
        Self { left: text.len() as u64, content: Content::Text(text), sent: 0, on_end: None }
    }

    /// The bytes `range` of a file.
    pub fn file(file: Arc<Served>, range: Range<u64>, progress: Option<Progress>) -> Self {
        let left = range.end - range.start;
        let progress = progress.map(|progress| (0, progress));
        Self {
            left,
            content: Content::File(Part { file, range, reading: None, progress }),
            sent: 0,
            on_end: None,
        }
    }

    /// How many bytes it has.
    pub fn length(&self) -> u64 {
        self.left
    }

    /// Calls `on_end` when the body ends.
    pub fn then(mut self, on_end: impl FnOnce(u64, bool) + Send + 'static) -> Self {
        self.on_end = Some(Box::new(on_end));
        self
    }
}

impl Part {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let reading = self.reading.get_or_insert_with(|| {
            let (file, position) = (self.file.clone(), self.range.start);
            let length = PIECE.min(self.range.end - position) as usize;
            tokio::task::spawn_blocking(move || file.read(position, length))
        });
        let read = ready!(Pin::new(reading).poll(cx));
        self.reading = None;
        let piece = read.map_err(io::Error::other)??;
        self.range.start += piece.len() as u64;
        if let Some((last, tell)) = &mut self.progress {
            let percent = (self.range.start * 100 / self.file.length.max(1)) as u8;
            if percent != *last {
                *last = percent;
                tell(percent);
            }
        }
        Poll::Ready(Ok(piece))
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = self.get_mut();
        if this.left == 0 {
            return Poll::Ready(None);
        }
        let piece = match &mut this.content {
            Content::Text(text) => std::mem::take(text),
            Content::File(part) => ready!(part.poll_piece(cx))?,
        };
        let length = piece.len() as u64;
        (this.left, this.sent) = (this.left - length, this.sent + length);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if let Some(on_end) = self.on_end.take() {
            on_end(self.sent, self.left == 0);
        }
    }
}
