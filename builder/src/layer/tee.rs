//! Writes bytes and hashes them at the same time, on two threads: hashing takes about as long as reading and
//! writing.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use crate::digest::{Digest, DigestWriter};
use crate::error::{Error, ErrorKind, IoContext, Result};

/// Size of a piece for the hashing thread: small enough to stay in the processor's cache until it is hashed.
const PIECE: usize = 256 << 10;
/// Pieces that may wait for the hashing thread; with [`PIECE`] this bounds the memory.
const QUEUE: usize = 16;

/// Runs `work` with a buffered writer to `inner`; returns `inner`, the digest and the number of the bytes
/// that were written.
///
/// # Errors
/// The errors of `work`, and [`ErrorKind::Io`] if the last bytes cannot be written.
pub fn digest_while_writing<W: Write>(
    inner: W,
    work: impl FnOnce(&mut Tee<W>) -> Result<()>,
) -> Result<(W, Digest, u64)> {
    thread::scope(|scope| {
        let (to_hash, pieces) = sync_channel::<Vec<u8>>(QUEUE);
        let (give_back, spare) = channel();
        let hashing = scope.spawn(move || hash(&pieces, &give_back));
        let mut tee = Tee { inner, buffer: Vec::with_capacity(PIECE), to_hash, spare };
        work(&mut tee)?;
        tee.flush().at("writing", "the last bytes of a layer")?;
        let Tee { inner, to_hash, .. } = tee;
        drop(to_hash);
        let (digest, size) = hashing
            .join()
            .map_err(|_| Error::new(ErrorKind::Internal, "the hashing thread stopped"))??;
        Ok((inner, digest, size))
    })
}

/// A buffered writer whose bytes are hashed on another thread.
#[derive(Debug)]
pub struct Tee<W> {
    inner: W,
    buffer: Vec<u8>,
    to_hash: SyncSender<Vec<u8>>,
    spare: Receiver<Vec<u8>>,
}

impl<W: Write> Tee<W> {
    fn hand_over(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.inner.write_all(&self.buffer)?;
        let mut next = self.spare.try_recv().unwrap_or_else(|_| Vec::with_capacity(PIECE));
        next.clear();
        let full = std::mem::replace(&mut self.buffer, next);
        self.to_hash.send(full).map_err(|_| io::Error::other("the hashing thread stopped"))
    }
}

impl<W: Write> Write for Tee<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PIECE - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        if self.buffer.len() == PIECE {
            self.hand_over()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.hand_over()?;
        self.inner.flush()
    }
}

fn hash(pieces: &Receiver<Vec<u8>>, give_back: &Sender<Vec<u8>>) -> Result<(Digest, u64)> {
    let mut digest = DigestWriter::new(io::sink());
    for piece in pieces {
        digest.write_all(&piece).at("hashing", "a layer")?;
        // After the last write the receiver is gone, so this send may fail.
        drop(give_back.send(piece));
    }
    let (_, digest, size) = digest.finish();
    Ok((digest, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_that_of_what_was_written() {
        for length in [0, 1, PIECE - 1, PIECE, PIECE + 1, 40 * PIECE + 5] {
            let bytes: Vec<u8> = (0..length).map(|index| (index / 7) as u8).collect();
            let (written, digest, size) = digest_while_writing(Vec::new(), |tee| {
                let (first, rest) = bytes.split_at(length / 3);
                tee.write_all(first).at("writing", "first")?;
                tee.write_all(rest).at("writing", "rest")
            })
            .unwrap();
            assert!(written == bytes && digest == Digest::of(&bytes) && size == length as u64, "{length}");
        }
    }

    #[test]
    fn a_full_disk_is_told() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let error = digest_while_writing(Full, |tee| tee.write_all(b"x").at("writing", "x")).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Io);
    }
}
