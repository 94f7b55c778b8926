//! 3. Lock to content store: streaming, verified, parallel, resumable. The only module that opens sockets.
//!
//! ```text
//! Request ─► places (mirror) ─► attempts (attempt) ─► source (client) ─► bytes and hashes (transfer) ─► store
//! ```
//!
//! The places of a file are tried in order, mirrors first, with several attempts while failures are
//! temporary. Bytes stream into a partial file in the store. It survives a killed process and is resumed by
//! range. The bytes enter the store only if their digest is right.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::digest::Digest;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::progress::Progress;
use crate::store::{Partial, Store};

mod attempt;
mod bearer;
pub mod checksum;
mod client;
mod mirror;
mod transfer;

use attempt::{Download, Failure};
pub use bearer::token_address;
use checksum::Expected;
use client::{Client, Resume};
pub use mirror::{Mirror, Place, path_in_mirror, places};
use transfer::{Target, Transfer};

/// How to fetch.
#[derive(Debug, Clone)]
pub struct Options {
    /// Opens no socket: uses only the store, local mirrors and `file:` addresses.
    pub offline: bool,
    /// Mirrors of upstream hosts.
    pub mirrors: Vec<Mirror>,
    /// Takes checksum files from servers without TLS too.
    pub allow_unauthenticated: bool,
    /// The number of parallel downloads.
    pub parallel: usize,
    /// Attempts after the first, at each place.
    pub retries: u32,
    /// Upper bound of the pause before the second attempt; it doubles with each further one, up to 30 s.
    pub backoff: Duration,
    /// How long a server may take to accept a connection.
    pub connect: Duration,
    /// How long a server may send nothing. A slow server that keeps sending is never cut off.
    pub stall: Duration,
    /// The size limit of a file of unknown length.
    pub ceiling: u64,
    /// How servers are reached.
    pub route: Route,
}

/// How servers are reached.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Route {
    /// Through the proxies in HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY, in upper or lower case;
    /// directly if there are none.
    #[default]
    Environment,
    /// Directly; the environment is ignored.
    Direct,
    /// Through this proxy: `http://[USER:PASSWORD@]HOST:PORT`.
    Proxy(String),
}

impl Default for Options {
    fn default() -> Self {
        Self {
            offline: false,
            mirrors: Vec::new(),
            allow_unauthenticated: false,
            parallel: 4,
            retries: 4,
            backoff: Duration::from_millis(500),
            connect: Duration::from_secs(15),
            stall: Duration::from_secs(30),
            ceiling: 8 << 30,
            route: Route::default(),
        }
    }
}

/// A file that must be in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The name for messages ("kubelet 1.36.2").
    pub title: String,
    /// Upstream addresses of the same bytes, best first.
    pub urls: Vec<String>,
    /// Addresses where old files are kept, asked only when `urls` lack it: such a service is slow, and its
    /// use is told.
    pub kept: Vec<String>,
    /// The expected digest.
    pub digest: Digest,
    /// The exact length in bytes, if the lock has it.
    pub size: Option<u64>,
    /// The explanation if no place has the file; `None` for the general one.
    pub absent: Option<Absence>,
}

/// Why a file may not exist anywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Absence {
    /// The reason.
    pub message: String,
    /// What the user can do.
    pub help: String,
}

/// A file that is in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedFile {
    /// The digest of its bytes.
    pub digest: Digest,
    /// The length in bytes.
    pub size: u64,
    /// Whether it was in the store already.
    pub cached: bool,
    /// Where it came from; "store" if it was there already.
    pub from: String,
}

/// What the first download of a file told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstUse {
    /// The digest of its bytes.
    pub digest: Digest,
    /// The length in bytes.
    pub size: u64,
    /// The mirror that it came from; `None` if it came from the address itself.
    pub mirror: Option<String>,
}

/// A checksum file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The mirror that it came from; `None` if it came from the address itself.
    pub mirror: Option<Place>,
}

/// The largest checksum file that is read, in bytes.
pub const LARGEST_CHECKSUM_FILE: u64 = 4 << 20;

/// The option of the command line behind [`Options::allow_unauthenticated`].
pub const ALLOW_UNAUTHENTICATED_FLAG: &str = "--allow-unauthenticated-checksums";

/// Fetches files into a store. Use one for a whole command: it keeps connections.
pub struct Fetcher<'a> {
    store: &'a Store,
    options: Options,
    progress: &'a Progress,
    client: Client,
}

impl std::fmt::Debug for Fetcher<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetcher").finish_non_exhaustive()
    }
}

impl<'a> Fetcher<'a> {
    /// Creates the fetcher. It opens no connection yet.
    ///
    /// # Errors
    /// If a local mirror does not exist.
    pub fn new(store: &'a Store, options: Options, progress: &'a Progress) -> Result<Self> {
        options.mirrors.iter().try_for_each(Mirror::check)?;
        let client = Client::new(options.route.clone(), options.connect, options.stall);
        Ok(Self { store, options, progress, client })
    }

    /// Ensures that every requested file is in the store. Returns where each came from, in the order of
    /// `requests`. Equal digests are fetched once. The first failure stops the other downloads, at the latest
    /// after [`Options::stall`]; their partial files are kept for the next run.
    ///
    /// # Errors
    /// The first failure. Offline, one error that names the missing files.
    pub fn fetch_all(&self, requests: &[Request]) -> Result<Vec<FetchedFile>> {
        let wanted = unique(requests);
        if self.options.offline {
            self.refuse_missing(&wanted)?;
        }
        let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        let first_error = Mutex::new(None);
        let fetched = Mutex::new(Vec::with_capacity(wanted.len()));
        let work = || {
            while let Some(request) =
                wanted.get(next.fetch_add(1, Ordering::Relaxed)).filter(|_| !stop.load(Ordering::Relaxed))
            {
                match self.fetch(request, &stop) {
                    Ok(found) => fetched.lock().unwrap_or_else(PoisonError::into_inner).push(found),
                    Err(error) => {
                        first_error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                        stop.store(true, Ordering::Relaxed);
                    }
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..self.options.parallel.clamp(1, wanted.len().max(1)) {
                scope.spawn(work);
            }
        });
        if let Some(error) = first_error.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        let fetched = fetched.into_inner().unwrap_or_else(PoisonError::into_inner);
        self.tell_kept(&wanted, &fetched)?;
        let result = requests
            .iter()
            .map(|request| fetched.iter().find(|found| found.digest == request.digest).cloned());
        result
            .collect::<Option<_>>()
            .ok_or_else(|| Error::new(ErrorKind::Internal, "a download ended without a result"))
    }

    /// The bytes of a small file, which is in the store afterwards.
    ///
    /// # Errors
    /// As [`Fetcher::fetch_all`]; [`ErrorKind::Io`].
    pub fn read(&self, request: &Request) -> Result<Vec<u8>> {
        self.fetch_all(std::slice::from_ref(request))?;
        let path = self.store.verified(&request.digest)?;
        std::fs::read(&path).at("reading", &path)
    }

    /// Tells which files came from where old files are kept.
    fn tell_kept(&self, wanted: &[Request], fetched: &[FetchedFile]) -> Result<()> {
        let mut titles = Vec::new();
        let mut example = None;
        for request in wanted.iter().filter(|request| !request.kept.is_empty()) {
            let Some(found) = fetched.iter().find(|found| found.digest == request.digest) else { continue };
            let kept = places(&request.kept, &self.options.mirrors, self.options.offline)?;
            if kept.iter().any(|place| place.to_string() == found.from) {
                titles.push(request.title.as_str());
                example = Some(found.from.as_str());
            }
        }
        if let Some(from) = example {
            let shown = some_of(&titles);
            self.progress
                .note(&format!("not on the mirror, taken from a snapshot of the archive ({from}): {shown}"));
        }
        Ok(())
    }

    /// Where a file may be, best first.
    fn places_of(&self, request: &Request, offline: bool) -> Result<Vec<Place>> {
        let mirrors = &self.options.mirrors;
        let mut found = places(&request.urls, mirrors, offline)?;
        found.extend(places(&request.kept, mirrors, offline)?);
        Ok(found)
    }

    /// Where the files go.
    pub fn store(&self) -> &'a Store {
        self.store
    }

    /// Fetches a checksum file of at most `limit` bytes. It does not enter the store. The lock will trust
    /// what it says, so places are passed over that nobody vouches for, unless the options allow them.
    ///
    /// # Errors
    /// [`ErrorKind::Lock`] if all places are such; else the failures of all places.
    pub fn document(&self, url: &str, limit: u64) -> Result<Document> {
        let places = self.vouched_places(url, &format!("the checksum file {}", document_name(url)))?;
        self.document_in(&places, url, limit)
    }

    /// Fetches a document as [`Fetcher::document`] does, from any place: the caller checks its signature.
    ///
    /// # Errors
    /// The failures of all places.
    pub fn signed_document(&self, url: &str, limit: u64) -> Result<Document> {
        let places = places(&[url.to_owned()], &self.options.mirrors, self.options.offline)?;
        self.document_in(&places, url, limit)
    }

    fn document_in(&self, places: &[Place], url: &str, limit: u64) -> Result<Document> {
        let upstream = Place::of(url)?;
        self.try_in(&document_name(url), places, None, &AtomicBool::new(false), |place| {
            let mirror = (*place != upstream).then(|| place.clone());
            let source = self.client.open(place, &Resume::default())?;
            let too_long = || {
                Failure::Place(Error::new(
                    ErrorKind::Fetch,
                    format!("longer than the {limit} bytes that such a file may have"),
                ))
            };
            if source.total.is_some_and(|total| total > limit) {
                return Err(too_long());
            }
            let bytes = client::read_all(source, limit, &self.client)?.ok_or_else(too_long)?;
            Ok(Document { bytes, mirror })
        })
    }

    /// Where `what`, the file at `url`, may be: places that somebody vouches for, or all if the options allow
    /// them.
    fn vouched_places(&self, url: &str, what: &str) -> Result<Vec<Place>> {
        let mut places = places(&[url.to_owned()], &self.options.mirrors, self.options.offline)?;
        if !self.options.allow_unauthenticated {
            self.drop_unauthenticated(what, &mut places)?;
        }
        Ok(places)
    }

    fn drop_unauthenticated(&self, what: &str, places: &mut Vec<Place>) -> Result<()> {
        let (kept, dropped): (Vec<_>, Vec<_>) = places.drain(..).partition(Place::is_authenticated);
        let list = dropped.iter().map(Place::to_string).collect::<Vec<_>>().join(", ");
        if kept.is_empty() && !dropped.is_empty() {
            let message =
                format!("nobody vouches for {what}: {list} has no TLS, so anybody on the way can change it");
            return Err(Error::new(ErrorKind::Lock, message).help(format!(
                "use https or a local folder, pin the digest in the layer with sha256, or accept it with {ALLOW_UNAUTHENTICATED_FLAG}"
            )));
        }
        if !dropped.is_empty() {
            self.progress.note(&format!(
                "{what} is not taken from {list}, which has no TLS ({ALLOW_UNAUTHENTICATED_FLAG} takes it)"
            ));
        }
        *places = kept;
        Ok(())
    }

    /// Whether no socket is opened.
    pub fn is_offline(&self) -> bool {
        self.options.offline
    }

    /// Shows a message that stays on the screen.
    pub fn note(&self, text: &str) {
        self.progress.note(text);
    }

    /// The length of a file in bytes, without fetching it; `None` if the server does not report it.
    pub fn length(&self, url: &str) -> Result<Option<u64>> {
        let places = places(&[url.to_owned()], &self.options.mirrors, self.options.offline)?;
        self.try_in(file_name(url), &places, None, &AtomicBool::new(false), |place| self.client.length(place))
    }

    /// The digest of the file at `url` that the checksum file `list`, which came from `address`, has, and the
    /// file's length where it can be learned cheaply.
    pub fn listed(
        &self,
        title: &str,
        url: &str,
        list: &[u8],
        address: &str,
    ) -> Result<(Digest, Option<u64>)> {
        match checksum::find(list, file_name(url)).map_err(|error| error.context(address))? {
            Expected::Sha256(digest) => Ok((digest, self.length(url)?)),
            other => self.learn(title, url, &other).map(|(digest, size)| (digest, Some(size))),
        }
    }

    /// Fetches a file to learn its SHA-256 digest and length. A lock needs this if upstream publishes another
    /// algorithm's digest, or no length. The file is verified against `expected` and is in the store
    /// afterwards.
    pub fn learn(&self, title: &str, url: &str, expected: &Expected) -> Result<(Digest, u64)> {
        let stop = AtomicBool::new(false);
        let request = |digest| Request {
            title: title.to_owned(),
            urls: vec![url.to_owned()],
            kept: Vec::new(),
            digest,
            size: None,
            absent: None,
        };
        if let Expected::Sha256(digest) = expected {
            return self.fetch(&request(*digest), &stop).map(|found| (found.digest, found.size));
        }
        // The final name is not known yet, so the expected digest names the partial file.
        let request = request(Digest::of(expected.to_string().as_bytes()));
        let partial = self.store.partial(&request.digest)?;
        let places = self.places_of(&request, self.options.offline)?;
        let (digest, size, _) = self.download(&request, partial, Some(expected), &places, &stop)?;
        Ok((digest, size))
    }

    /// Fetches a file of which upstream publishes no digest, to learn the digest of what it serves now. The
    /// lock will trust these bytes, so places are passed over that nobody vouches for, unless the options
    /// allow them. The file is in the store afterwards.
    ///
    /// # Errors
    /// [`ErrorKind::Lock`] if all places are such; else the failures of all places.
    pub fn first_use(&self, title: &str, url: &str) -> Result<FirstUse> {
        let places = self.vouched_places(url, title)?;
        let request = Request {
            title: title.to_owned(),
            urls: vec![url.to_owned()],
            kept: Vec::new(),
            // The digest is not known yet, so the address names the partial file.
            digest: Digest::of(url.as_bytes()),
            size: None,
            absent: None,
        };
        let partial = self.store.partial(&request.digest)?;
        let (digest, size, from) =
            self.download(&request, partial, None, &places, &AtomicBool::new(false))?;
        let mirror = (from != Place::of(url)?.to_string()).then_some(from);
        Ok(FirstUse { digest, size, mirror })
    }

    fn fetch(&self, request: &Request, stop: &AtomicBool) -> Result<FetchedFile> {
        let digest = request.digest;
        if let Some(found) = self.stored(request)? {
            return Ok(found);
        }
        let partial = self.store.partial(&digest)?;
        // Another process may have finished it while this one waited for its lock.
        if let Some(found) = self.stored(request)? {
            partial.discard()?;
            return Ok(found);
        }
        let (expected, places) = (Expected::Sha256(digest), self.places_of(request, self.options.offline)?);
        let (digest, size, from) = self.download(request, partial, Some(&expected), &places, stop)?;
        Ok(FetchedFile { digest, size, cached: false, from })
    }

    fn stored(&self, request: &Request) -> Result<Option<FetchedFile>> {
        let digest = request.digest;
        if !self.store.contains(&digest) {
            return Ok(None);
        }
        let path = self.store.blob(&digest);
        let size = path.symlink_metadata().at("reading", &path)?.len();
        if let Some(expected) = request.size.filter(|expected| *expected != size) {
            // Changed bytes are another error than a wrong lock.
            self.store.verified(&digest)?;
            let message = format!("{}: the lock says {expected} bytes, but it has {size}", request.title);
            return Err(Error::new(ErrorKind::Verification, message)
                .help("correct the lock file, or remove it and run kiln lock"));
        }
        Ok(Some(FetchedFile { digest, size, cached: true, from: "store".to_owned() }))
    }

    /// Completes `partial` and moves it into the store. After a failure the bytes are kept for resuming,
    /// unless they were wrong.
    fn download(
        &self,
        request: &Request,
        partial: Partial,
        expected: Option<&Expected>,
        places: &[Place],
        stop: &AtomicBool,
    ) -> Result<(Digest, u64, String)> {
        let Request { title, size, absent, .. } = request;
        let step = match size {
            Some(size) => self.progress.bytes(title, *size),
            None => self.progress.step(title),
        };
        let target = Target { expected, size: *size, ceiling: self.options.ceiling };
        let mut transfer = Transfer::new(target, &partial.file, partial.path(), &step, stop)?;
        let outcome = if transfer.complete() {
            Ok("an earlier download".to_owned())
        } else {
            self.try_in(title, places, absent.as_ref(), stop, |place| {
                transfer.attempt(&self.client, place).map(|()| place.to_string())
            })
        };
        let (digest, size) = transfer.result();
        match outcome {
            Ok(from) => {
                self.store.commit_verified(partial, &digest)?;
                Ok((digest, size, from))
            }
            Err(error) if size == 0 => {
                partial.discard()?;
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    fn try_in<T>(
        &self,
        title: &str,
        places: &[Place],
        absent: Option<&Absence>,
        stop: &AtomicBool,
        attempt: impl FnMut(&Place) -> Result<T, Failure>,
    ) -> Result<T> {
        if places.is_empty() {
            return Err(unreachable_offline(title, "leave --offline out"));
        }
        let Options { retries, backoff, .. } = &self.options;
        let download = Download {
            title,
            places,
            absent,
            retries: *retries,
            backoff: *backoff,
            stop,
            progress: self.progress,
        };
        download.run(attempt)
    }

    /// Offline, one message names the missing files.
    fn refuse_missing(&self, wanted: &[Request]) -> Result<()> {
        let mut missing = Vec::new();
        for request in wanted.iter().filter(|request| !self.store.contains(&request.digest)) {
            let places = self.places_of(request, true)?;
            if !places.iter().any(|place| matches!(place, Place::Local(path) if path.is_file())) {
                missing.push(request.title.as_str());
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        Err(unreachable_offline(&some_of(&missing), "run `kiln fetch` with a network first"))
    }
}

/// More names would hide a message.
const SHOWN_FILES: usize = 8;

/// Names of files, as many as a message can bear.
fn some_of(titles: &[&str]) -> String {
    let more = titles.len().saturating_sub(SHOWN_FILES);
    let shown = titles[..titles.len() - more].join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more files") }
}

fn unreachable_offline(what: &str, advice: &str) -> Error {
    Error::new(
        ErrorKind::Fetch,
        format!("neither the store nor a local mirror has {what}, and --offline forbids the network"),
    )
    .help(format!("{advice}, or name a folder with the files: --mirror PREFIX=DIR"))
}

/// The name in messages of a file of which only the address is known.
fn file_name(url: &str) -> &str {
    let url = url.split(['?', '#']).next().unwrap_or(url);
    url.rsplit('/').find(|part| !part.is_empty()).unwrap_or(url)
}

/// The name in messages of a document; of one in a registry those of the repository and of the image.
fn document_name(url: &str) -> Cow<'_, str> {
    let image = url.split_once("/v2/").and_then(|(_, rest)| rest.split_once("/manifests/"));
    image.map_or_else(|| file_name(url).into(), |(name, image)| format!("{name} {image}").into())
}

/// The requests with duplicates of a digest removed. Their addresses and lengths are combined.
fn unique(requests: &[Request]) -> Vec<Request> {
    let mut unique: Vec<Request> = Vec::new();
    for request in requests {
        match unique.iter_mut().find(|known| known.digest == request.digest) {
            Some(known) => {
                known.urls.extend(request.urls.iter().cloned());
                known.kept.extend(request.kept.iter().cloned());
                known.size = known.size.or(request.size);
            }
            None => unique.push(request.clone()),
        }
    }
    unique
}
