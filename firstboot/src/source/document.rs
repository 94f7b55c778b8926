//! Bytes that may hold secrets: bounded, wiped, never shown.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use zeroize::Zeroizing;

use crate::error::{Class, Failure, Result};

/// The longest node config.
pub const LIMIT: usize = 1 << 20;

/// A node config as it came. Its memory is overwritten when it is dropped.
pub struct Document(Zeroizing<Vec<u8>>);

impl fmt::Debug for Document {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Document({} bytes)", self.0.len())
    }
}

impl Document {
    /// Takes the bytes over; none when there are more than [`LIMIT`].
    pub fn new(bytes: Zeroizing<Vec<u8>>) -> Option<Self> {
        (bytes.len() <= LIMIT).then_some(Self(bytes))
    }

    /// The bytes, for the one place that parses them.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether there is nothing but blanks in it.
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
        Self::new(bytes).ok_or_else(|| io::Error::new(io::ErrorKind::FileTooLarge, format!("longer than {LIMIT} bytes")))
    }

    /// Reads a regular file; none if there is no such file.
    pub fn read_file(path: &Path) -> Result<Option<Self>> {
        // A pipe must not hold the agent.
        let opened: io::Result<File> = OpenOptions::new().read(true).custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits()).open(path);
        let file = match opened {
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

fn unread(path: &Path, error: &io::Error) -> Failure {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    Failure::new(Class::Source, format!("reading the node config {}: {text}", path.display()))
}

/// What kind of user-data a document is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Documents of kubeadm or of the agent.
    NodeConfig,
    /// cloud-init's.
    CloudConfig,
    /// Something to run.
    Script,
    /// Several parts in one mail.
    Multipart,
    /// Compressed with gzip.
    Compressed,
    /// Ignition's.
    Ignition,
    /// Something else.
    Unknown,
}

impl Kind {
    /// What it is called in messages.
    pub fn word(self) -> &'static str {
        match self {
            Self::NodeConfig => "a node config",
            Self::CloudConfig => "a cloud-config",
            Self::Script => "a script",
            Self::Multipart => "a multipart message",
            Self::Compressed => "compressed",
            Self::Ignition => "an Ignition config",
            Self::Unknown => "of a kind that is not known",
        }
    }
}

/// Tells what a document is by how it begins, and by the API group that a node config must name. Does not parse it.
pub fn kind(bytes: &[u8]) -> Kind {
    let has = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
    let starts = |start: &str| bytes.get(..start.len()).is_some_and(|front| front.eq_ignore_ascii_case(start.as_bytes()));
    match bytes {
        [0x1f, 0x8b, ..] => Kind::Compressed,
        _ if starts("#!") => Kind::Script,
        _ if starts("#cloud-") || starts("#include") || starts("## template: jinja") => Kind::CloudConfig,
        _ if starts("Content-Type:") || starts("MIME-Version:") || starts("From ") => Kind::Multipart,
        _ if has(b"apiVersion") && (has(b"kubeadm.k8s.io/") || has(b"firstboot.kiln/")) => Kind::NodeConfig,
        _ if has(b"\"ignition\"") => Kind::Ignition,
        _ => Kind::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_bounded_and_not_shown() {
        let document = Document::read(&b"token: canary"[..]).unwrap();
        assert_eq!((document.bytes(), format!("{document:?}").as_str()), (&b"token: canary"[..], "Document(13 bytes)"));
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
            assert!(failure.class == Class::Source && failure.message.ends_with("not a regular file"), "{failure}");
        }
        std::fs::write(folder.path().join("long"), vec![0; LIMIT + 1]).unwrap();
        assert!(Document::read_file(&folder.path().join("long")).unwrap_err().message.ends_with("longer than 1048576 bytes"));
    }

    #[test]
    fn kinds_of_user_data_are_told_apart() {
        for (text, expected) in [
            (&b"apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\n"[..], Kind::NodeConfig),
            (b"# comment\n---\napiVersion: \"firstboot.kiln/v1\"", Kind::NodeConfig),
            (br#"{"apiVersion":"kubeadm.k8s.io/v1beta3"}"#, Kind::NodeConfig),
            (b"#cloud-config\nwrite_files:\n- content: apiVersion kubeadm.k8s.io/\n", Kind::CloudConfig),
            (b"#Cloud-Config", Kind::CloudConfig),
            (b"#!/bin/sh\nkubeadm join", Kind::Script),
            (b"Content-Type: multipart/mixed", Kind::Multipart),
            (b"\x1f\x8b\x08", Kind::Compressed),
            (br#"{"ignition":{"version":"3.4.0"}}"#, Kind::Ignition),
            (b"apiVersion: v1", Kind::Unknown),
            (b"", Kind::Unknown),
        ] {
            assert_eq!(kind(text), expected, "{}", String::from_utf8_lossy(text));
        }
    }
}
