//! Documents that may hold secrets: bounded, overwritten in memory after use, never shown.

use std::fmt;
use std::io::{self, Read};
use std::path::Path;

use base64::Engine;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use crate::error::{self, ErrorKind, Failure, Result};
use crate::os;

/// Limit on the bytes of a node config.
pub const LIMIT: usize = 1 << 20;

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// A node config as it came. Its memory is overwritten when it is dropped.
pub struct Document(Zeroizing<Vec<u8>>);

impl fmt::Debug for Document {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Document({} bytes)", self.0.len())
    }
}

impl Document {
    /// Takes ownership of the bytes; none when there are more than [`LIMIT`].
    pub fn new(bytes: Zeroizing<Vec<u8>>) -> Option<Self> {
        (bytes.len() <= LIMIT).then_some(Self(bytes))
    }

    /// Base64 in either alphabet, with padding or without, with blanks and line breaks in it; none for
    /// anything else.
    pub fn from_base64(text: &[u8]) -> Option<Self> {
        let text: Zeroizing<Vec<u8>> = Zeroizing::new(
            text.iter().copied().filter(|byte| !byte.is_ascii_whitespace() && *byte != 0).collect(),
        );
        let is_url_safe = text.iter().any(|byte| b"-_".contains(byte));
        let engine = if is_url_safe { URL_SAFE } else { STANDARD };
        Self::new(Zeroizing::new(engine.decode(&*text).ok()?))
    }

    /// The bytes, for the one place that parses them.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, for code that goes on with them.
    pub fn into_bytes(self) -> Zeroizing<Vec<u8>> {
        self.0
    }

    /// Whether it has only blanks.
    pub fn is_blank(&self) -> bool {
        self.0.iter().all(u8::is_ascii_whitespace)
    }

    /// Reads to the end into one buffer, so that no copy is left behind.
    pub fn read(mut source: impl Read) -> io::Result<Self> {
        let mut bytes = Zeroizing::new(vec![0; LIMIT + 1]);
        let mut length = 0;
        while length < bytes.len() {
            match source.read(&mut bytes[length..]) {
                Ok(0) => break,
                Ok(count) => length += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(length);
        Self::new(bytes)
            .ok_or_else(|| io::Error::new(io::ErrorKind::FileTooLarge, format!("longer than {LIMIT} bytes")))
    }

    /// Reads a regular file; none if there is no such file.
    pub fn read_file(path: &Path) -> Result<Option<Self>> {
        let file = match os::open(path, true) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(|error| unread(path, &error))?,
        };
        let is_regular = file.metadata().map_err(|error| unread(path, &error))?.is_file();
        if !is_regular {
            return Err(unread(path, &io::Error::other("not a regular file")));
        }
        Self::read(file).map(Some).map_err(|error| unread(path, &error))
    }
}

/// User data, or a config that takes its place, and its exact origin.
#[derive(Debug)]
pub struct UserData {
    /// The bytes: secret, as tokens are in it.
    pub document: Document,
    /// A path, a device, or a URL without its secret parts.
    pub origin: String,
    /// The detached signature beside it, in minisign's text form.
    pub signature: Option<String>,
    /// The identity of the disk that it is on.
    pub disk: Option<String>,
}

impl UserData {
    /// User data without a signature; none when it is blank.
    pub fn new(document: Document, origin: impl Into<String>) -> Option<Self> {
        (!document.is_blank()).then(|| Self { document, origin: origin.into(), signature: None, disk: None })
    }
}

fn unread(path: &Path, error: &io::Error) -> Failure {
    Failure::new(
        ErrorKind::Source,
        format!("reading the node config {}: {}", path.display(), error::plain(error)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_bounded_and_not_shown() {
        let document = Document::read(&b"token: canary"[..]).unwrap();
        assert_eq!(
            (document.bytes(), format!("{document:?}").as_str()),
            (&b"token: canary"[..], "Document(13 bytes)")
        );
        assert_eq!(Document::read(&vec![b'x'; LIMIT][..]).unwrap().bytes().len(), LIMIT);
        assert_eq!(Document::read(io::repeat(b'x')).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert!(Document::new(Zeroizing::new(vec![0; LIMIT + 1])).is_none());
        assert!(Document::read(&b" \n\t"[..]).unwrap().is_blank());
    }

    #[test]
    fn only_regular_files_are_read() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Document::read_file(&folder.path().join("none")).unwrap().is_none());
        let pipe = folder.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRUSR).unwrap();
        for path in [folder.path(), &pipe] {
            let failure = Document::read_file(path).unwrap_err();
            assert!(
                failure.kind == ErrorKind::Source && failure.message.ends_with("not a regular file"),
                "{failure}"
            );
        }
        std::fs::write(folder.path().join("long"), vec![0; LIMIT + 1]).unwrap();
        assert!(
            Document::read_file(&folder.path().join("long"))
                .unwrap_err()
                .message
                .ends_with("longer than 1048576 bytes")
        );
    }

    #[test]
    fn base64_is_read_in_every_usual_form() {
        for (text, expected) in [
            ("Pz8+", Some("??>")),
            ("Pz8-", Some("??>")),
            ("YQ==", Some("a")),
            ("YQ", Some("a")),
            (" YW\nI=\0", Some("ab")),
            ("", Some("")),
            ("a: b", None),
            ("Y", None),
            ("Pz8+-", None),
        ] {
            assert_eq!(
                Document::from_base64(text.as_bytes()).map(|found| found.bytes().to_vec()),
                expected.map(|text| text.as_bytes().to_vec()),
                "{text}"
            );
        }
    }
}
