//! Writes a lock: asks upstream for digests, and the base for its pins.

use std::collections::BTreeSet;

use super::drift::{self, ArtifactRequest};
use super::preload::{self, LockedImage};
use super::table::DigestTable;
use super::{Lock, LockedArtifact, NoChecksum, SCHEMA};
use crate::base::{BaseRequest, Held, LockedBase};
use crate::definition::plan::{Arch, Checksum, ImagePlan, PreloadPlan, UpstreamSignature};
use crate::definition::snapshot::Snapshot;
use crate::definition::source::suggestion;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::fetch::{Document, Fetcher, FirstUse, LARGEST_CHECKSUM_FILE, checksum};
use crate::signature::{self, Signed, Subject};

/// What to do about a signature that does not count.
const UNSIGNED: &str = "find out who has signed before you trust it; then add the signer to a copy of the layer, or name the artifact in the definition: unsigned = [\"LAYER/ARTIFACT\"]";

/// How a lock is brought up to date.
#[derive(Debug, Default)]
pub struct Policy {
    /// Ask upstream again about artifacts that are pinned already; a changed answer is an error.
    pub recheck: bool,
    /// Take the newest packages that the archive has, and what the names of container images stand for now.
    pub upgrade_packages: bool,
    /// Take only the newest of these packages, by their names or those of their sources.
    pub upgrade_only: BTreeSet<String>,
    /// Take the packages of this snapshot.
    pub snapshot: Option<Snapshot>,
    /// Artifacts ("layer/name") whose changed upstream checksum the user accepts.
    pub accept: BTreeSet<String>,
    /// Digests that are known without asking upstream.
    pub table: DigestTable,
}

/// A lock for `plan`, keeping the pins of `old` that still apply. `lock_base` pins the base; it is called
/// only when needed.
pub fn update(
    plan: &ImagePlan,
    old: Option<&Lock>,
    policy: &Policy,
    fetcher: &Fetcher<'_>,
    lock_base: impl FnOnce(&BaseRequest<'_>) -> Result<LockedBase>,
) -> Result<Lock> {
    let known: Vec<String> = drift::wanted(plan).map(|want| want.id()).collect();
    if let Some(id) = policy.accept.iter().find(|id| !known.contains(id)) {
        return Err(Error::new(ErrorKind::Usage, format!("--accept {id}: this image has no such artifact"))
            .help(suggestion(id, known.iter().map(String::as_str))));
    }
    let mut mirrored = Vec::new();
    let mut artifacts = drift::wanted(plan)
        .map(|want| pin(&want, old, policy, fetcher, &mut mirrored))
        .collect::<Result<Vec<_>>>()?;
    if !mirrored.is_empty() {
        fetcher.note(&format!(
            "the lock trusts mirrors as it trusts upstream, because checksums came from them: {}",
            mirrored.join(", ")
        ));
    }
    let unpublished: Vec<String> = artifacts
        .iter()
        .filter(|pin| pin.checksum.is_some())
        .map(|pin| format!("{}/{}", pin.layer, pin.name))
        .collect();
    if !unpublished.is_empty() {
        fetcher.note(&format!(
            "upstream publishes no checksum of {}: the lock trusts what was served when it was first asked",
            unpublished.join(", ")
        ));
    }
    artifacts.sort_by(|a, b| (&a.layer, &a.name).cmp(&(&b.layer, &b.name)));
    let preload = preload::wanted(plan)
        .map(|image| pin_image(image, plan.arch, old, policy, fetcher))
        .collect::<Result<_>>()?;
    let mut request = BaseRequest::of(plan);
    request.snapshot = policy.snapshot.or(request.snapshot);
    request.held = held(old, &policy.upgrade_only)?;
    let moves = policy.upgrade_packages || request.held.is_some();
    let kept = old.filter(|old| old.base.is_for(&request) && old.arch == plan.arch && !moves);
    let base = match kept {
        Some(old) => old.base.clone(),
        None => lock_base(&request)?,
    };
    let versions = plan.versions_to_keep();
    Ok(Lock { schema: SCHEMA, image: plan.name.clone(), arch: plan.arch, versions, base, artifacts, preload })
}

/// The packages that stay when only those named `but` move.
fn held<'a>(old: Option<&'a Lock>, but: &'a BTreeSet<String>) -> Result<Option<Held<'a>>> {
    let Some(name) = but.first() else { return Ok(None) };
    let Some(LockedBase::Packages(locked)) = old.map(|old| &old.base) else {
        let message =
            format!("--upgrade={name}: there is no lock with packages of which one could move alone");
        return Err(Error::new(ErrorKind::Usage, message).help("write --upgrade without names"));
    };
    let known: BTreeSet<&str> = locked
        .packages
        .iter()
        .flat_map(|package| [package.name.as_str(), package.source.as_str()])
        .collect();
    match but.iter().find(|name| !known.contains(name.as_str())) {
        Some(name) => {
            Err(Error::new(ErrorKind::Usage, format!("--upgrade={name}: the lock has no such package"))
                .help(suggestion(name, known)))
        }
        None => Ok(Some(Held { locked, but })),
    }
}

fn pin(
    want: &ArtifactRequest<'_>,
    old: Option<&Lock>,
    policy: &Policy,
    fetcher: &Fetcher<'_>,
    mirrored: &mut Vec<String>,
) -> Result<LockedArtifact> {
    let id = want.id();
    let old = old
        .and_then(|old| old.artifact(&want.layer.name, &want.artifact.name))
        .filter(|pin| want.is_pinned_by(pin));
    if let Some(pin) = old.filter(|pin| !policy.recheck && want.is_signed_in(pin)) {
        return Ok(pin.clone());
    }
    let Answer { sha256, size, mirror, checksum, signer } =
        ask(want, policy, fetcher).map_err(|error| error.context(format!("locking {id}")))?;
    mirrored.extend(mirror.map(|mirror| format!("{id} ({mirror})")));
    if let Some(pin) = old.filter(|pin| pin.sha256 != sha256 && !policy.accept.contains(&id)) {
        return Err(replaced(&id, want.url, &pin.sha256, &sha256));
    }
    let size = size.or(old.filter(|pin| pin.sha256 == sha256).and_then(|pin| pin.size));
    Ok(LockedArtifact {
        layer: want.layer.name.clone(),
        name: want.artifact.name.clone(),
        version: want.artifact.version.clone(),
        url: want.url.to_owned(),
        checksum,
        signer,
        size,
        sha256,
    })
}

/// The pin of a container image: the old one, but for files of the user's own when he asks anew.
fn pin_image(
    image: &PreloadPlan,
    arch: Arch,
    old: Option<&Lock>,
    policy: &Policy,
    fetcher: &Fetcher<'_>,
) -> Result<LockedImage> {
    let moves = policy.upgrade_packages || (policy.recheck && image.from.is_local());
    let old = old.filter(|old| old.arch == arch && !moves);
    match old.and_then(|old| preload::pin_of(image, &old.preload)) {
        Some(pin) => Ok(pin.clone()),
        None => LockedImage::of(image, arch, fetcher)
            .map_err(|error| error.context(format!("locking the container image {}", image.reference))),
    }
}

/// What there is to pin.
struct Answer {
    sha256: Digest,
    /// The length, where it can be learned cheaply.
    size: Option<u64>,
    /// The mirror that gave the digest.
    mirror: Option<String>,
    /// Whether nothing but this answer vouches for the digest.
    checksum: Option<NoChecksum>,
    /// Who has signed it.
    signer: Option<String>,
}

impl Answer {
    fn known(sha256: Digest, size: Option<u64>) -> Self {
        Self { sha256, size, mirror: None, checksum: None, signer: None }
    }
}

fn ask(want: &ArtifactRequest<'_>, policy: &Policy, fetcher: &Fetcher<'_>) -> Result<Answer> {
    if let Some(sha256) = policy.table.get(want.url).filter(|_| want.signature.is_none()) {
        return Ok(Answer::known(sha256, None));
    }
    match want.checksum {
        Some(Checksum::Pinned(digest)) => Ok(Answer::known(*digest, fetcher.length(want.url).ok().flatten())),
        Some(Checksum::File(address)) => listed(want, address, fetcher),
        None => {
            let FirstUse { digest: sha256, size, mirror } = fetcher.first_use(&want.id(), want.url)?;
            let Some(signature) = want.signature else {
                let checksum = Some(NoChecksum::Unpublished);
                return Ok(Answer { mirror, checksum, ..Answer::known(sha256, Some(size)) });
            };
            let path = fetcher.store().verified(&sha256)?;
            let signer = Some(check(signature, Subject::File(&path), want.url, fetcher)?.signer);
            Ok(Answer { signer, ..Answer::known(sha256, Some(size)) })
        }
    }
}

/// What the checksum file at `address` says. A signature does not tell whether a list is of this version, so
/// that one which is signed comes from places that somebody vouches for as well.
fn listed(want: &ArtifactRequest<'_>, address: &str, fetcher: &Fetcher<'_>) -> Result<Answer> {
    let (list, mirror, signer) = match want.signature {
        None => {
            let Document { bytes, mirror } = fetcher.document(address, LARGEST_CHECKSUM_FILE)?;
            (bytes, mirror.map(|mirror| mirror.to_string()), None)
        }
        Some(signature) => {
            let Document { bytes, mirror } = fetcher.document(address, LARGEST_CHECKSUM_FILE)?;
            let Signed { text, signer } = check(signature, Subject::List(&bytes), address, fetcher)?;
            if !checksum::names(&text, want.url) {
                let message = format!("{address}: the signed list does not name this file");
                return Err(Error::new(ErrorKind::Verification, message).help(UNSIGNED));
            }
            (text, mirror.map(|mirror| mirror.to_string()), Some(signer))
        }
    };
    let (sha256, size) = fetcher.listed(&want.artifact.name, want.url, &list, address)?;
    Ok(Answer { mirror, signer, ..Answer::known(sha256, size) })
}

/// Checks the signature of `subject`, which came from `address`.
fn check(
    signature: &UpstreamSignature,
    subject: Subject<'_>,
    address: &str,
    fetcher: &Fetcher<'_>,
) -> Result<Signed> {
    let detached = signature.file.as_ref().map(|file| fetcher.signed_document(file, LARGEST_CHECKSUM_FILE));
    let detached = detached.transpose()?.map(|document| document.bytes);
    let scratch = fetcher.store().scratch()?;
    signature::check(signature, subject, detached.as_deref(), scratch.path())
        .map_err(|error| error.context(address))
        .map_err(
            |error| if error.kind() == ErrorKind::Verification { error.other_help(UNSIGNED) } else { error },
        )
}

fn replaced(id: &str, url: &str, locked: &Digest, upstream: &Digest) -> Error {
    let message = format!(
        "upstream replaced {id}: its checksum is no longer the locked one\n  address  {url}\n  locked   {locked}\n  upstream {upstream}"
    );
    Error::new(ErrorKind::Lock, message).help(format!(
        "find out why before you trust it; the locked file stays usable while it is in your store or mirror; kiln lock --accept {id} takes the new one"
    ))
}
