//! Makes a mirror of locks, or brings one up to date.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Serialize;
use sha2::{Digest as _, Sha512};

use super::folder::{Entry, Folder};
use super::index::{Index, check_path, is_signed};
use super::verify::parse;
use super::{INDEX, read_index, remove_index};
use crate::base;
use crate::definition::plan::{Checksum, ImagePlan};
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::fetch::checksum::{self, Expected};
use crate::fetch::{Fetcher, LARGEST_CHECKSUM_FILE, Request, path_in_mirror};
use crate::lock::{Lock, drift, preload};
use crate::process::{Run, tool};
use crate::signature::Keys;
use crate::store::{Content, Store};

/// An image whose files the mirror has.
#[derive(Debug)]
pub struct Image {
    /// What it is.
    pub plan: ImagePlan,
    /// The pins of its files.
    pub lock: Lock,
}

/// What was done.
#[derive(Debug, Serialize)]
pub struct Report {
    /// How many files the mirror has.
    pub files: usize,
    /// Their length in bytes.
    pub bytes: u64,
    /// How many of them are new.
    pub added: usize,
    /// How many others were removed.
    pub removed: usize,
    /// Whether the index is signed.
    pub signed: bool,
    /// Options of the command line with which a build takes its files from the mirror.
    pub options: Vec<String>,
}

/// Where files come from.
#[derive(Debug)]
pub struct Source<'a> {
    /// Where verified files are.
    pub store: &'a Store,
    /// The way to fetch.
    pub fetcher: &'a Fetcher<'a>,
}

/// Makes the mirror of `images` in `folder`. What is there already stays; what does not belong to them is
/// removed. `requests` gives what can be fetched; it is called only if something is missing. The index is
/// signed by gpg with the key `signer`.
///
/// # Errors
/// Of the fetch; [`ErrorKind::Usage`] if the folder has other files; [`ErrorKind::Tool`] if gpg does not
/// sign.
pub fn create(
    images: &[Image],
    folder: &Path,
    source: &Source<'_>,
    requests: impl FnOnce() -> Result<Vec<Request>>,
    signer: Option<&str>,
) -> Result<Report> {
    let wanted = Wanted::of(images)?;
    let root = std::path::absolute(folder).at("resolving", folder)?;
    let folder = Folder::open(&root)?;
    let old = read_index(&root)?;
    let present = folder.entries()?;
    let mut files = wanted.found(&root, &present)?;
    let missing: Vec<_> = wanted.files.iter().filter(|(path, _)| !files.contains_key(*path)).collect();
    if !missing.is_empty() {
        let mut requests = requests()?;
        requests.retain(|request| missing.iter().any(|(_, digest)| **digest == request.digest));
        source.fetcher.fetch_all(&requests)?;
    }

    let mut changes = Changes { folder: &folder, added: 0, removed: 0, begun: false };
    for path in present.keys().filter(|path| !wanted.has(path)) {
        changes.remove(path)?;
    }
    for (path, digest) in missing {
        files.insert(path.clone(), changes.copy(&source.store.blob(digest), digest, path)?);
    }
    for list in &wanted.lists {
        let is_there = matches!(present.get(&list.path), Some(Entry::File(_)));
        let content = update_list(list, is_there, &mut changes, source.fetcher)?;
        files.extend(content.map(|content| (list.path.clone(), content)));
    }
    for (path, address) in &wanted.signatures {
        let is_there = matches!(present.get(path), Some(Entry::File(_)));
        let content = update_signature(path, address, is_there, &mut changes, source.fetcher)?;
        files.extend(content.map(|content| (path.clone(), content)));
    }

    let index = Index { images: images.iter().map(title).collect::<Result<_>>()?, files };
    let is_new = old.as_deref().is_none_or(|old| !is_index(old, &index, signer, folder.scratch()));
    if is_new || changes.begun {
        if signer.is_none() && old.as_deref().is_some_and(is_signed) {
            source
                .fetcher
                .note("the index of the mirror was signed, and is not any more: --sign-key signs it");
        }
        let text = index.render().into_bytes();
        let bytes = signer.map_or(Ok(text.clone()), |signer| sign(&text, signer, folder.scratch()))?;
        folder.write(&bytes, INDEX)?;
    }
    Ok(Report {
        files: index.files.len(),
        bytes: index.files.values().map(|content| content.size).sum(),
        added: changes.added,
        removed: changes.removed,
        signed: signer.is_some(),
        options: wanted.options(&root),
    })
}

/// The files that a mirror must have.
#[derive(Default)]
struct Wanted {
    files: BTreeMap<String, Digest>,
    lists: Vec<List>,
    /// Detached signatures, which `kiln lock` asks for: address by path.
    signatures: BTreeMap<String, String>,
    /// Options of bases, and the folders that they name.
    options: BTreeMap<&'static str, &'static str>,
    /// Whether an address is one without TLS.
    has_plain: bool,
}

/// A checksum file, which `kiln lock` asks for.
struct List {
    path: String,
    address: String,
    /// The path of a file that it must vouch for.
    file: String,
    digest: Digest,
}

impl Wanted {
    fn of(images: &[Image]) -> Result<Self> {
        let mut wanted = Self::default();
        for Image { plan, lock } in images {
            for pin in &lock.artifacts {
                wanted.add_address(&pin.url, pin.sha256)?;
            }
            for file in preload::requests(plan, &lock.preload) {
                for url in &file.urls {
                    wanted.add_address(url, file.digest)?;
                }
            }
            let base = base::of(&plan.base)?.mirrored(&plan.base, plan.arch, &lock.base)?;
            for (path, digest) in base.files {
                wanted.add(path, digest)?;
            }
            wanted.options.extend(base.option);
            for want in drift::wanted(plan) {
                if let Some(address) = want.signature.and_then(|signature| signature.file.as_ref())
                    && let Some(path) = path_in_mirror(address)?
                {
                    wanted.signatures.insert(text(path)?, address.clone());
                }
                let Some(Checksum::File(address)) = want.checksum else { continue };
                let Some(pin) = lock.artifact(&want.layer.name, &want.artifact.name) else { continue };
                let (Some(path), Some(file)) = (path_in_mirror(address)?, path_in_mirror(want.url)?) else {
                    continue;
                };
                let [path, file] = [text(path)?, text(file)?];
                if wanted.lists.iter().all(|list| list.path != path) {
                    wanted.lists.push(List { path, address: address.clone(), file, digest: pin.sha256 });
                }
            }
        }
        wanted.check_folders()?;
        Ok(wanted)
    }

    fn add_address(&mut self, address: &str, digest: Digest) -> Result<()> {
        // Local files are beside the definition.
        let Some(path) = path_in_mirror(address)? else { return Ok(()) };
        self.has_plain |= address.starts_with("http:");
        self.add(path, digest)
    }

    fn add(&mut self, path: PathBuf, digest: Digest) -> Result<()> {
        let path = text(path)?;
        if self.files.get(&path).is_some_and(|known| *known != digest) {
            let message = format!("two different files of the locks would be {path} in the mirror");
            return Err(Error::new(ErrorKind::Usage, message).help("make a mirror for each of the images"));
        }
        self.files.insert(path, digest);
        Ok(())
    }

    fn has(&self, path: &str) -> bool {
        self.files.contains_key(path)
            || self.signatures.contains_key(path)
            || self.lists.iter().any(|list| list.path == path)
    }

    /// A path cannot be a file and a folder.
    fn check_folders(&self) -> Result<()> {
        let lists = self.lists.iter().map(|list| &list.path);
        let all = self.files.keys().chain(lists).chain(self.signatures.keys());
        for path in all {
            let mut above = Path::new(path).ancestors().skip(1).filter_map(Path::to_str);
            if let Some(file) = above.find(|above| self.has(above)) {
                let message = format!("a folder cannot have both files: {file} and {path}");
                return Err(
                    Error::new(ErrorKind::Usage, message).help("change one of the addresses in the layers")
                );
            }
        }
        Ok(())
    }

    /// The files that are there with the right bytes.
    fn found(&self, root: &Path, present: &BTreeMap<String, Entry>) -> Result<BTreeMap<String, Content>> {
        let mut found = BTreeMap::new();
        for (path, digest) in &self.files {
            if !matches!(present.get(path), Some(Entry::File(_))) {
                continue;
            }
            let content = Content::of_file(&root.join(path))?;
            if content.sha256 == *digest {
                found.insert(path.clone(), content);
            }
        }
        Ok(found)
    }

    /// The options with which a build takes its files from the mirror at `root`.
    fn options(&self, root: &Path) -> Vec<String> {
        let mut options = vec![format!("--mirror https://={}", root.display())];
        if self.has_plain {
            options.push(format!("--mirror http://={}", root.display()));
        }
        let bases = self.options.iter();
        options.extend(bases.map(|(option, below)| format!("--{option} {}", root.join(below).display())));
        options
    }
}

/// A path as an index has it.
fn text(path: PathBuf) -> Result<String> {
    let wrong = |path: &Path, why: &str| {
        Error::new(ErrorKind::Usage, format!("no mirror can have {}: {why}", path.display()))
            .help("change the address in the layer")
    };
    let path = path.into_os_string().into_string();
    let path = path.map_err(|path| wrong(Path::new(&path), "it is no text"))?;
    check_path(&path).map_err(|why| wrong(Path::new(&path), why))?;
    Ok(path)
}

/// The line of an image in the index.
fn title(image: &Image) -> Result<String> {
    let Image { plan, lock } = image;
    Ok(format!("{} for {}, lock {}", plan.name, plan.arch.name(), Digest::of(lock.text()?.as_bytes())))
}

/// The changes of a run. Before the first, the index goes.
struct Changes<'a> {
    folder: &'a Folder<'a>,
    added: usize,
    removed: usize,
    begun: bool,
}

impl Changes<'_> {
    fn begin(&mut self) -> Result<()> {
        if !self.begun {
            remove_index(self.folder.path)?;
            self.begun = true;
        }
        Ok(())
    }

    fn copy(&mut self, from: &Path, digest: &Digest, path: &str) -> Result<Content> {
        self.begin()?;
        self.added += 1;
        self.folder.copy(from, digest, path)
    }

    fn write(&mut self, bytes: &[u8], path: &str) -> Result<()> {
        self.begin()?;
        self.added += 1;
        self.folder.write(bytes, path)
    }

    fn remove(&mut self, path: &str) -> Result<()> {
        self.begin()?;
        self.removed += 1;
        self.folder.remove(path)
    }
}

/// Brings a checksum file up to date, whose file is there. `None` if there is none that vouches for the
/// locked file.
fn update_list(
    list: &List,
    is_there: bool,
    changes: &mut Changes<'_>,
    fetcher: &Fetcher<'_>,
) -> Result<Option<Content>> {
    let [path, file] = [&list.path, &list.file].map(|path| changes.folder.path.join(path));
    if is_there && vouches(&read_list(&path)?, list, &file)? {
        return Content::of_file(&path).map(Some);
    }
    if fetcher.is_offline() {
        fetcher
            .note(&format!("without a network, the mirror does not get the checksum file {}", list.address));
    } else {
        let bytes = fetcher.document(&list.address, LARGEST_CHECKSUM_FILE)?.bytes;
        if vouches(&bytes, list, &file)? {
            changes.write(&bytes, &list.path)?;
            return Content::of_file(&path).map(Some);
        }
        fetcher.note(&format!(
            "the checksum file {} no longer has the digest of the locked file, so the mirror does not get it",
            list.address
        ));
    }
    if is_there {
        changes.remove(&list.path)?;
    }
    Ok(None)
}

/// Brings a detached signature up to date. `None` if there is none.
fn update_signature(
    path: &str,
    address: &str,
    is_there: bool,
    changes: &mut Changes<'_>,
    fetcher: &Fetcher<'_>,
) -> Result<Option<Content>> {
    let file = changes.folder.path.join(path);
    if !fetcher.is_offline() {
        let bytes = fetcher.signed_document(address, LARGEST_CHECKSUM_FILE)?.bytes;
        if !is_there || read_list(&file)? != bytes {
            changes.write(&bytes, path)?;
        }
    } else if !is_there {
        fetcher.note(&format!("without a network, the mirror does not get the signature {address}"));
        return Ok(None);
    }
    Content::of_file(&file).map(Some)
}

fn read_list(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(path).at("opening", path)?;
    file.take(LARGEST_CHECKSUM_FILE).read_to_end(&mut bytes).at("reading", path)?;
    Ok(bytes)
}

/// Whether a checksum file has the digest of the locked file, which is at `file`.
fn vouches(bytes: &[u8], list: &List, file: &Path) -> Result<bool> {
    match checksum::find(bytes, &list.file) {
        Err(_) => Ok(false),
        Ok(Expected::Sha256(digest)) => Ok(digest == list.digest),
        Ok(Expected::Sha512(expected)) => Ok(expected[..] == sha512(file)?[..]),
    }
}

fn sha512(path: &Path) -> Result<Vec<u8>> {
    let mut file = File::open(path).at("opening", path)?;
    let (mut hash, mut buffer) = (Sha512::new(), vec![0; 256 << 10]);
    loop {
        match file.read(&mut buffer).at("reading", path)? {
            0 => return Ok(hash.finalize().to_vec()),
            count => hash.update(&buffer[..count]),
        }
    }
}

/// The package of `gpg`.
const PACKAGE: &str = "gpg";

/// A clear-signed message of `text` by the key `signer` of the user's own keys.
fn sign(text: &[u8], signer: &str, scratch: &Path) -> Result<Vec<u8>> {
    let [plain, signed] = ["plain", "signed"].map(|name| scratch.join(name));
    fs::write(&plain, text).at("writing", &plain)?;
    let mut command = tool("gpg");
    command.args(["--batch", "--yes", "--local-user", signer, "--output"]).arg(&signed);
    command.arg("--clear-sign").arg(&plain);
    command.run(PACKAGE).map_err(|error| {
        error.help("name one of your own keys with --sign-key: gpg --list-secret-keys shows them")
    })?;
    fs::read(&signed).at("reading", &signed)
}

/// Whether `old` is the index `new`, signed by the key `signer` if there is one. A signature has a time in
/// it, so that another one would be another file.
fn is_index(old: &[u8], new: &Index, signer: Option<&str>, scratch: &Path) -> bool {
    let Some(signer) = signer else { return old == new.render().as_bytes() };
    let signed = || -> Result<Index> {
        let mut command = tool("gpg");
        let keys = command.args(["--batch", "--export", signer]).run(PACKAGE)?.stdout;
        parse(&Keys::new(&keys, &[], scratch)?.signed_text(old)?)
    };
    is_signed(old) && signed().is_ok_and(|old| old == *new)
}
