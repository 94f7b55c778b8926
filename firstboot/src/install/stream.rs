//! The bytes of an image, unpacked as they arrive.

use std::cell::Cell;
use std::io::{self, BufRead, BufReader, Read};
use std::rc::Rc;

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::source::Packing;

/// The largest window of zstd: what `zstd` itself accepts without being asked for more.
const WINDOW: u64 = 128 << 20;
/// Bytes that are read at once.
const PIECE: usize = 256 << 10;

/// The most bytes that may arrive without a byte of the image: frames that are skipped, and empty ones.
const IDLE: u64 = 64 << 20;

/// Unpacks `packed`.
pub fn unpacked<'a>(packed: impl Read + 'a, packing: Packing) -> Box<dyn Read + 'a> {
    let idle = Rc::new(Cell::new(0));
    let packed = BufReader::with_capacity(PIECE, Arriving { from: packed, idle: idle.clone() });
    let from: Box<dyn Read + 'a> = match packing {
        Packing::Plain => return Box::new(packed),
        Packing::Gzip => Box::new(MultiGzDecoder::new(packed)),
        Packing::Zstd => {
            let mut decoder = FrameDecoder::new();
            decoder.set_max_window_size(WINDOW);
            Box::new(Frames { packed, decoder, is_within: false })
        }
    };
    Box::new(Leaving { from, idle })
}

/// Packed bytes, counted since the last one of the image.
struct Arriving<R> {
    from: R,
    idle: Rc<Cell<u64>>,
}

impl<R: Read> Read for Arriving<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.idle.get() > IDLE {
            let message = format!("{} MiB of it hold nothing of the image", IDLE >> 20);
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        let length = self.from.read(buffer)?;
        self.idle.set(self.idle.get() + length as u64);
        Ok(length)
    }
}

/// Bytes of the image.
struct Leaving<R> {
    from: R,
    idle: Rc<Cell<u64>>,
}

impl<R: Read> Read for Leaving<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.from.read(buffer)?;
        if length > 0 {
            self.idle.set(0);
        }
        Ok(length)
    }
}

/// The frames of zstd, one after another: compressors that work in parallel write several.
struct Frames<R> {
    packed: BufReader<R>,
    decoder: FrameDecoder,
    /// Whether a frame has begun and has not ended.
    is_within: bool,
}

impl<R: Read> Frames<R> {
    /// Begins the next frame that holds data; false at the end.
    fn begin(&mut self) -> io::Result<bool> {
        while !self.packed.fill_buf()?.is_empty() {
            match self.decoder.reset(&mut self.packed) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    io::copy(&mut self.packed.by_ref().take(length.into()), &mut io::sink())?;
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        Ok(false)
    }
}

impl<R: Read> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.is_within && !self.begin()? {
                return Ok(0);
            }
            self.is_within = true;
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                let decoded =
                    self.decoder.decode_blocks(&mut self.packed, BlockDecodingStrategy::UptoBlocks(1));
                decoded.map_err(io::Error::other)?;
            }
            let length = self.decoder.read(buffer)?;
            if length > 0 || buffer.is_empty() {
                return Ok(length);
            }
            self.is_within = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};
    use std::io::Write;

    fn read(packed: &[u8], packing: Packing) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        unpacked(packed, packing).read_to_end(&mut bytes).map(|_| bytes)
    }

    struct Endless {
        piece: Vec<u8>,
        at: usize,
    }

    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            for byte in buffer.iter_mut() {
                *byte = self.piece[self.at % self.piece.len()];
                self.at += 1;
            }
            Ok(buffer.len())
        }
    }

    #[test]
    fn frames_and_members_are_one_stream() {
        let (one, two) = (vec![7; 300_000], b"the end".to_vec());
        let whole = [&one[..], &two].concat();
        let zstd = |bytes: &[u8]| compress_to_vec(bytes, CompressionLevel::Fastest);
        let skipped = b"\x53\x2a\x4d\x18\x03\0\0\0abc";
        let frames = [&zstd(&one)[..], skipped, &zstd(b""), &zstd(&two), skipped].concat();
        assert!(read(&frames, Packing::Zstd).unwrap() == whole);
        let gzip = |bytes: &[u8]| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        };
        assert!(read(&[gzip(&one), gzip(&two)].concat(), Packing::Gzip).unwrap() == whole);
        assert!(read(&whole, Packing::Plain).unwrap() == whole);
        // Both go on for ever.
        for (packed, endless, packing) in
            [(zstd(&two), skipped.to_vec(), Packing::Zstd), (gzip(&two), gzip(b""), Packing::Gzip)]
        {
            let endless = packed.chain(Endless { piece: endless, at: 0 });
            let error = unpacked(endless, packing).read_to_end(&mut Vec::new()).unwrap_err();
            assert!(error.to_string().contains("nothing of the image"), "{error}");
        }
        for (packed, packing) in [(zstd(&one), Packing::Zstd), (gzip(&one), Packing::Gzip)] {
            assert!(read(&packed[..packed.len() - 9], packing).is_err(), "cut short");
            assert!(read(&whole, packing).is_err(), "not packed");
        }
    }
}
