//! SHA-256 digests: text form, computation and verification.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::sparse;

/// A SHA-256 digest, written `sha256:<64 hex digits>` as in OCI.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The digest of a file, streamed.
    pub fn of_file(path: &Path) -> Result<Self> {
        let file = File::open(path).at("opening", path)?;
        let mut sink = DigestWriter::new(io::sink());
        copy_sparse(&file, &mut sink).at("reading", path)?;
        Ok(sink.finish().1)
    }

    /// The raw 32 bytes.
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// 64 hex digits without the algorithm.
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }
}

/// Bytes per read: few system calls, and still in the processor's cache when they are hashed.
const PIECE: usize = 256 << 10;

/// Passes a file on without reading its holes, which are most of a disk image.
fn copy_sparse(file: &File, to: &mut impl Write) -> io::Result<()> {
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return io::copy(&mut &*file, to).map(drop);
    }
    let mut position = 0;
    for data in sparse::data(file)? {
        write_zeros(data.start - position, to)?;
        let mut from = file;
        from.seek(SeekFrom::Start(data.start))?;
        io::copy(&mut BufReader::with_capacity(PIECE, from.take(data.end - data.start)), to)?;
        position = data.end;
    }
    write_zeros(metadata.len() - position, to)?;
    Ok(())
}

fn write_zeros(count: u64, to: &mut impl Write) -> io::Result<()> {
    const ZEROS: [u8; 1 << 14] = [0; 1 << 14];
    let mut left = count;
    while left > 0 {
        let piece = usize::try_from(left).map_or(ZEROS.len(), |left| left.min(ZEROS.len()));
        to.write_all(&ZEROS[..piece])?;
        left -= piece as u64;
    }
    Ok(())
}

impl From<[u8; 32]> for Digest {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl FromStr for Digest {
    type Err = Error;

    /// Accepts 64 hex digits, with or without `sha256:` in front.
    fn from_str(text: &str) -> Result<Self> {
        let digits = text.strip_prefix("sha256:").unwrap_or(text);
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| {
            Error::new(ErrorKind::Usage, format!("\"{text}\" is not a SHA-256 digest"))
                .help("write sha256: and 64 hexadecimal digits")
        })?;
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Digest {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl JsonSchema for Digest {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Digest".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^(sha256:)?[0-9a-fA-F]{64}$" })
    }
}

/// Passes bytes through and computes their digest and count.
pub struct DigestWriter<W> {
    inner: W,
    hasher: Sha256,
    written: u64,
}

impl<W: Write> DigestWriter<W> {
    /// A writer that passes everything on to `inner`.
    pub fn new(inner: W) -> Self {
        Self { inner, hasher: Sha256::new(), written: 0 }
    }

    /// The inner writer, the digest and the number of bytes written.
    pub fn finish(self) -> (W, Digest, u64) {
        (self.inner, Digest(self.hasher.finalize().into()), self.written)
    }
}

impl<W: Write> Write for DigestWriter<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.written += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Passes bytes through, on their way in, and computes their digest.
pub struct DigestReader<R> {
    inner: R,
    hasher: Sha256,
}

impl<R: Read> DigestReader<R> {
    /// A reader of everything that `inner` yields.
    pub fn new(inner: R) -> Self {
        Self { inner, hasher: Sha256::new() }
    }

    /// The digest of what was read.
    pub fn finish(self) -> Digest {
        Digest(self.hasher.finalize().into())
    }
}

impl<R: Read> Read for DigestReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_spellings_and_writes_one() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(empty.parse::<Digest>().unwrap(), Digest::of(b""));
        assert_eq!(Digest::of(b"").to_string(), format!("sha256:{empty}"));
        assert!("sha256:e3b0".parse::<Digest>().is_err());
    }

    #[test]
    fn holes_count_as_the_zeros_that_they_are() {
        use std::os::unix::fs::FileExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let table: [(u64, &[u64]); 6] = [
            (0, &[]),
            (1 << 20, &[]),
            (5, &[0]),
            (1 << 20, &[0]),
            ((3 << 20) + 1, &[1 << 20, 2 << 20]),
            ((1 << 20) + 5, &[1 << 20]),
        ];
        for (length, places) in table {
            let file = File::create(&path).unwrap();
            file.set_len(length).unwrap();
            places.iter().for_each(|place| file.write_all_at(b"bytes", *place).unwrap());
            assert_eq!(
                Digest::of_file(&path).unwrap(),
                Digest::of(&std::fs::read(&path).unwrap()),
                "{length} {places:?}"
            );
        }
    }
}
