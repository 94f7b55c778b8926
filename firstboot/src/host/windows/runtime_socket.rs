//! The container runtime's pipe, and a way to run futures on it without an async runtime: one thread that
//! looks whether there is something to read, and a deadline.

use std::fs::{File, OpenOptions};
use std::future::Future;
use std::io::{self, Read, Write};
use std::os::windows::io::AsRawHandle;
use std::path::Path;
use std::pin::{Pin, pin};
use std::ptr::null_mut;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use windows_sys::Win32::System::Pipes::PeekNamedPipe;

/// The pause between two looks at the pipe.
const PAUSE: Duration = Duration::from_millis(2);

/// A connection to a container runtime.
pub type Stream = File;

/// A pipe whose reads never block. Writes are short, and the runtime reads them at once.
#[derive(Debug)]
pub struct Socket(File);

/// Waits for one [`Socket`].
#[derive(Debug)]
pub struct Driver;

/// Opens the pipe at `path`: `//./pipe/containerd-containerd`.
pub fn open(path: &Path) -> io::Result<Stream> {
    OpenOptions::new().read(true).write(true).open(path)
}

/// Both halves for a connected stream.
pub fn split(stream: Stream) -> io::Result<(Socket, Driver)> {
    Ok((Socket(stream), Driver))
}

impl Driver {
    /// Runs `future` to its end; none if the deadline came first.
    pub fn run<T>(&self, future: impl Future<Output = T>, deadline: Instant) -> Option<T> {
        let mut future = pin!(future);
        let mut context = Context::from_waker(Waker::noop());
        loop {
            if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
                return Some(value);
            }
            if Instant::now() >= deadline {
                return None;
            }
            std::thread::sleep(PAUSE);
        }
    }
}

impl Socket {
    /// The number of bytes that can be read without a wait.
    #[allow(unsafe_code)] // a call of the system that std does not offer
    fn available(&self) -> io::Result<usize> {
        let mut count = 0;
        // SAFETY: the pipe is open, and the pointer outlives the call.
        let looked = unsafe {
            let pipe = self.0.as_raw_handle();
            PeekNamedPipe(pipe, null_mut(), 0, null_mut(), &raw mut count, null_mut())
        };
        if looked == 0 { Err(io::Error::last_os_error()) } else { Ok(count as usize) }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.available() {
            Ok(0) => Poll::Pending,
            Ok(count) => {
                let count = count.min(buffer.remaining());
                let read = (&self.0).read(buffer.initialize_unfilled_to(count));
                Poll::Ready(read.map(|count| buffer.advance(count)))
            }
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready((&self.0).write(bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
