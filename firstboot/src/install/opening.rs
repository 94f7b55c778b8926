//! Opens an image, and reads the block map that is beside it.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::time::Duration;

use ring::digest::{SHA256, digest};

use super::map::{self, Map};
use super::source::Source;
use super::{Installer, Request};
use crate::error::{Context, ErrorKind, Failure, Result};
use crate::evidence::disks::{self, Disk};
use crate::host::files;
use crate::locations;
use crate::net::download::{Broken, Download, Limits};
use crate::net::http::{self, Method};
use crate::net::retry::{self, Backoff};
use crate::net::trust::Trust;
use crate::net::{Deadline, Network};
use crate::text::hex;

/// Time limit of one request for a map.
const MAP_LIMIT: Duration = Duration::from_secs(60);

/// An image that can be read.
pub struct Opened {
    /// Its map.
    pub map: Map,
    /// Its bytes as they are stored.
    pub packed: Packed,
    /// The device that it is on, if it is on one that has a label.
    pub holder: Option<String>,
}

/// The bytes of an image as they are stored.
pub enum Packed {
    /// On a server.
    Url(String),
    /// On this machine.
    File(File),
}

impl Packed {
    /// Whether it is what is at `path`, a file or a device.
    pub fn is_at(&self, path: &Path) -> bool {
        let Self::File(file) = self else { return false };
        let (Ok(own), Ok(other)) = (file.metadata(), path.metadata()) else { return false };
        let is_device = own.file_type().is_block_device() && other.file_type().is_block_device();
        (own.dev(), own.ino()) == (other.dev(), other.ino()) || (is_device && own.rdev() == other.rdev())
    }

    /// Begins to read. The second value says why the first one ended early.
    pub fn begin(self, installer: &Installer<'_>) -> (Box<dyn Read>, Broken) {
        match self {
            Self::File(file) => (Box::new(file), Broken::default()),
            Self::Url(url) => {
                let network = Network::new(installer.root.clone());
                let (stream, broken) = Download::begin(&network, &url, Limits::default(), installer.say);
                (Box::new(stream), broken)
            }
        }
    }
}

impl Installer<'_> {
    /// Opens the image of a request, whose map must be the one that the request pins.
    pub(super) fn open(&self, request: &Request) -> Result<Opened> {
        let (map, shown) = (request.image.map(), request.image.shown());
        let (bytes, packed, holder) = match &request.image {
            Source::Url(url) => (self.download(&map)?, Packed::Url(url.clone()), None),
            Source::File(path) => (read(map.as_ref(), &map)?, Packed::File(open(path, &shown)?), None),
            Source::Disc { label, path } => {
                let disc = self.disc(label)?;
                let shown_map = format!("{map} on the disc {label}");
                let (bytes, file) = disc.with_files(|root| {
                    Ok((read(&root.path(&map), &shown_map)?, open(&root.path(path), &shown)?))
                })?;
                let device = disc.device.file_name().map(|name| name.to_string_lossy().into_owned());
                (bytes, Packed::File(file), device)
            }
        };
        let found = hex(digest(&SHA256, &bytes).as_ref());
        if request.digest.as_ref().is_some_and(|expected| *expected != found) {
            let message = format!("the block map of {shown} is not the pinned one: its SHA-256 is {found}");
            return Err(Failure::new(ErrorKind::Untrusted, message)
                .help("pin the digest of the map that is beside the image now: sha256sum NAME.raw.bmap"));
        }
        let map = Map::parse(&bytes).map_err(|why| {
            Failure::new(ErrorKind::Untrusted, format!("the block map of {shown}: {why}"))
                .help("take the map that kiln wrote beside the image")
        })?;
        Ok(Opened { map, packed, holder })
    }

    fn download(&self, url: &str) -> Result<Vec<u8>> {
        let mut network = Network::new(self.root.clone());
        network.request_timeout = MAP_LIMIT;
        let trust = if url.starts_with("http://") { Trust::Nobody } else { Trust::System };
        let request = http::Request { limit: map::LONGEST, ..http::Request::new(Method::GET, url, &trust) };
        let deadline = Deadline::after(locations::LIMIT);
        let mut backoff = Backoff::new().telling(&self.say);
        retry::until(deadline, &mut backoff, || http::send_ok(&network, &request, deadline))
            .map(|reply| reply.body)
            .map_err(|failure| failure.doing("getting the block map that is beside the image"))
    }

    /// The one file system with this label.
    fn disc(&self, label: &str) -> Result<Disk> {
        let all = disks::find(self.root);
        let labels: Vec<&str> = all.iter().flat_map(|disc| &disc.labels).map(String::as_str).collect();
        let labels = if labels.is_empty() { "there are none".to_owned() } else { labels.join(", ") };
        let mut found = all.iter().filter(|disc| disc.labels.iter().any(|each| each == label));
        let count = match (found.next(), found.next()) {
            (Some(disc), None) => return Ok(disc.clone()),
            (None, _) => "no file system has",
            _ => "several file systems have",
        };
        Err(Failure::new(ErrorKind::Source, format!("{count} the label {label}"))
            .help(format!("the labels of this machine: {labels}")))
    }
}

/// `shown` is the file's name in messages.
fn read(map: &Path, shown: &str) -> Result<Vec<u8>> {
    let missing = || {
        Failure::new(ErrorKind::Source, format!("there is no block map {shown}"))
            .help("put the NAME.raw.bmap that kiln wrote beside the image")
    };
    let failed = |failure: Failure| Failure { kind: ErrorKind::Source, ..failure };
    files::read(map, map::LONGEST as u64).map_err(failed)?.ok_or_else(missing)
}

fn open(image: &Path, shown: &str) -> Result<File> {
    let opened = File::open(image).doing(format!("opening the image {shown}"));
    opened.map_err(|failure| Failure { kind: ErrorKind::Source, ..failure })
}
