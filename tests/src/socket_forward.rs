//! A Unix socket that leads to another one. The folder of a machine may hold no link that leads out of it.

use std::io;
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The socket; it leads nowhere once this is dropped.
#[derive(Debug)]
pub struct SocketForward {
    path: PathBuf,
    has_ended: Arc<AtomicBool>,
}

impl SocketForward {
    /// Listens at `path`, which must be short, and forwards every connection to `target`.
    pub fn start(path: &Path, target: &Path) -> Self {
        let listener = UnixListener::bind(path).expect("the path is new and short enough");
        let has_ended = Arc::new(AtomicBool::new(false));
        let (until, target) = (Arc::clone(&has_ended), target.to_owned());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if until.load(Ordering::Relaxed) {
                    return;
                }
                // A program that does not listen is seen as a connection that ends at once.
                let _ = stream.and_then(|stream| forward(stream, &target));
            }
        });
        Self { path: path.to_owned(), has_ended }
    }
}

impl Drop for SocketForward {
    fn drop(&mut self) {
        self.has_ended.store(true, Ordering::Relaxed);
        // Wakes the thread; a test may have removed the socket.
        let _ = UnixStream::connect(&self.path);
    }
}

fn forward(here: UnixStream, target: &Path) -> io::Result<()> {
    let there = UnixStream::connect(target)?;
    let (from, to) = (here.try_clone()?, there.try_clone()?);
    std::thread::spawn(move || copy(from, to));
    std::thread::spawn(move || copy(there, here));
    Ok(())
}

/// Copies until the end, and passes the end on.
fn copy(mut from: UnixStream, mut to: UnixStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}
