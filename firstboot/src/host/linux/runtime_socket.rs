//! The container runtime's socket, and a way to run futures on it without an async runtime: one thread,
//! poll(2) and a deadline.

use std::future::Future;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection to a container runtime.
pub type Stream = UnixStream;

/// A socket that never blocks. It records whether a write was incomplete.
#[derive(Debug)]
pub struct Socket {
    stream: UnixStream,
    is_full: Arc<AtomicBool>,
}

/// Waits for one [`Socket`].
#[derive(Debug)]
pub struct Driver {
    stream: UnixStream,
    is_full: Arc<AtomicBool>,
    woken: Arc<Woken>,
    waker: Waker,
}

#[derive(Debug, Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

/// Connects to the socket at `path`. Even this does not block: if the server's queue is full, it fails.
pub fn open(path: &Path) -> io::Result<Stream> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let descriptor: OwnedFd = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    connect(descriptor.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(descriptor.into())
}

/// Both halves for a connected stream.
pub fn split(stream: Stream) -> io::Result<(Socket, Driver)> {
    stream.set_nonblocking(true)?;
    let is_full = Arc::new(AtomicBool::new(false));
    let woken = Arc::new(Woken::default());
    let driver =
        Driver { stream: stream.try_clone()?, is_full: is_full.clone(), waker: woken.clone().into(), woken };
    Ok((Socket { stream, is_full }, driver))
}

impl Driver {
    /// Runs `future` to its end; none if the deadline came first.
    pub fn run<T>(&self, future: impl Future<Output = T>, deadline: Instant) -> Option<T> {
        let mut future = pin!(future);
        let mut context = Context::from_waker(&self.waker);
        loop {
            self.woken.0.store(false, Ordering::Release);
            self.is_full.store(false, Ordering::Release);
            if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
                return Some(value);
            }
            if self.woken.0.load(Ordering::Acquire) {
                continue;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            self.wait(left);
        }
    }

    /// Waits until the socket can be read, or written if a write is pending, or `left` is over. A spurious
    /// wake-up costs one round.
    fn wait(&self, left: Duration) {
        let mut events = PollFlags::POLLIN;
        events.set(PollFlags::POLLOUT, self.is_full.load(Ordering::Acquire));
        let left = left.max(Duration::from_millis(1));
        let _ = poll(
            &mut [PollFd::new(self.stream.as_fd(), events)],
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX),
        );
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match (&self.stream).read(buffer.initialize_unfilled()) {
            Ok(count) => {
                buffer.advance(count);
                Poll::Ready(Ok(()))
            }
            Err(error) if is_not_yet(&error) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match (&self.stream).write(bytes) {
            Err(error) if is_not_yet(&error) => {
                self.is_full.store(true, Ordering::Release);
                Poll::Pending
            }
            written => Poll::Ready(written),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let _ = self.stream.shutdown(std::net::Shutdown::Write);
        Poll::Ready(Ok(()))
    }
}

fn is_not_yet(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn};

    use super::*;

    #[test]
    fn a_future_that_never_ends_is_left_at_the_deadline() {
        let (here, _there) = UnixStream::pair().unwrap();
        let (_socket, driver) = split(here).unwrap();
        let begin = Instant::now();
        assert_eq!(driver.run(pending::<()>(), begin + Duration::from_millis(50)), None);
        assert!((50..5000).contains(&begin.elapsed().as_millis()));
    }

    #[test]
    fn reads_wait_for_the_other_side() {
        let (here, mut there) = UnixStream::pair().unwrap();
        let (mut socket, driver) = split(here).unwrap();
        let writer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            there.write_all(b"hello").unwrap();
            there
        });
        let mut space = [0; 16];
        let mut buffer = ReadBuf::new(&mut space);
        let read = poll_fn(|context| Pin::new(&mut socket).poll_read(context, &mut buffer));
        driver.run(read, Instant::now() + Duration::from_secs(20)).unwrap().unwrap();
        assert_eq!(buffer.filled(), b"hello");
        drop(writer.join());
    }

    #[test]
    fn writes_wait_until_there_is_room() {
        let (here, mut there) = UnixStream::pair().unwrap();
        let (mut socket, driver) = split(here).unwrap();
        let total = 4 << 20;
        let reader = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            let mut bytes = vec![0; total];
            there.read_exact(&mut bytes).unwrap();
        });
        let bytes = vec![7; total];
        let mut sent = 0;
        let write = poll_fn(|context| {
            while sent < total {
                match Pin::new(&mut socket).poll_write(context, &bytes[sent..]) {
                    Poll::Ready(count) => sent += count.unwrap(),
                    Poll::Pending => return Poll::Pending,
                }
            }
            Poll::Ready(())
        });
        assert_eq!(driver.run(write, Instant::now() + Duration::from_secs(20)), Some(()));
        reader.join().unwrap();
    }

    #[test]
    fn a_missing_socket_is_an_error_at_once() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(open(&folder.path().join("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
