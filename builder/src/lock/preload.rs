//! Pins the container images that are preloaded.

use serde::{Deserialize, Serialize};

use crate::definition::plan::{Arch, ImagePlan, PreloadPlan};
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::fetch::{Fetcher, Request};
use crate::image_source::{self, Blob, LARGEST_DOCUMENT, Pins, check_architecture, failed};
use crate::store::Content;

/// A preloaded container image, pinned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedImage {
    /// Its whole name, by which the runtime knows it.
    pub reference: String,
    /// Where it is: "docker://…" in a registry, else a path as the definition says it.
    pub from: String,
    /// The length of its manifest, or of its archive, in bytes.
    pub size: u64,
    /// The digest of its manifest, or of its archive.
    pub sha256: Digest,
    /// The files that its manifest names: its configuration, then its layers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blobs: Vec<Blob>,
}

/// The images of `plan` that its lock must pin.
pub fn wanted(plan: &ImagePlan) -> impl Iterator<Item = &PreloadPlan> {
    plan.preload.iter().filter(|image| image.pinned().is_none())
}

impl LockedImage {
    /// Whether it is the pin of this very image.
    pub fn is_for(&self, image: &PreloadPlan) -> bool {
        self.reference == image.reference
            && self.from == image.from.written
            && image.sha256.is_none_or(|digest| digest == self.sha256)
    }

    /// Of the image for `arch`. Afterwards its configuration is in the store.
    ///
    /// # Errors
    /// Of the fetch; [`ErrorKind::Archive`] if there is none for `arch`; [`ErrorKind::Verification`] if it is
    /// another one than the definition wants.
    pub fn of(image: &PreloadPlan, arch: Arch, fetcher: &Fetcher<'_>) -> Result<Self> {
        let PreloadPlan { reference, from, sha256: wanted } = image;
        let (found, blobs) = match Pins::of(from, Some(reference), arch, fetcher)? {
            Some(Pins { manifest, blobs }) => (manifest, blobs),
            None => {
                let path = from.path().ok_or_else(|| Error::new(ErrorKind::Internal, "it is nowhere"))?;
                let Content { sha256, size } = Content::of_file(&path)?;
                (Blob { sha256, size }, Vec::new())
            }
        };
        let Blob { sha256, size } = found;
        if let Some(wanted) = wanted {
            image_source::check_manifest(&sha256, wanted, &from.written)?;
        }
        let pin = Self { reference: reference.clone(), from: from.written.clone(), size, sha256, blobs };
        if let Some(config) = pin.blobs.first() {
            // An image without an index does not say elsewhere for which architecture it is.
            if config.size > LARGEST_DOCUMENT {
                return Err(failed(&from.written, "its configuration is too large"));
            }
            let request = pin.requests(image).swap_remove(1);
            check_architecture(&fetcher.read(&request)?, arch, &from.written)?;
        }
        Ok(pin)
    }

    /// The digests of all files.
    pub fn digests(&self) -> impl Iterator<Item = &Digest> {
        std::iter::once(&self.sha256).chain(self.blobs.iter().map(|blob| &blob.sha256))
    }

    /// Its files, the manifest or the archive first.
    fn requests(&self, image: &PreloadPlan) -> Vec<Request> {
        image_source::requests(&image.from, &self.reference, (self.sha256, Some(self.size)), &self.blobs)
    }
}

/// The files of all images of `plan`, with the pins of its lock.
pub fn requests(plan: &ImagePlan, pins: &[LockedImage]) -> Vec<Request> {
    let of = |image: &PreloadPlan| match image.pinned() {
        Some(sha256) => image_source::requests(&image.from, &image.reference, (sha256, None), &[]),
        None => pin_of(image, pins).map(|pin| pin.requests(image)).unwrap_or_default(),
    };
    plan.preload.iter().flat_map(of).collect()
}

/// The pin of `image`.
pub fn pin_of<'a>(image: &PreloadPlan, pins: &'a [LockedImage]) -> Option<&'a LockedImage> {
    pins.iter().find(|pin| pin.is_for(image))
}

/// Every difference between the images of `plan` and their pins, one line each.
pub(super) fn differences(plan: &ImagePlan, pins: &[LockedImage]) -> Vec<String> {
    let missing = wanted(plan).filter(|image| pin_of(image, pins).is_none()).map(|image| {
        let name = &image.reference;
        match pins.iter().find(|pin| pin.reference == *name) {
            None => format!("the container image {name} is not in the lock"),
            Some(pin) if pin.from != image.from.written => {
                format!(
                    "the container image {name}: the definition wants {}, the lock has {}",
                    image.from.written, pin.from
                )
            }
            Some(_) => format!("the container image {name}: the definition has another digest than the lock"),
        }
    });
    let gone = pins
        .iter()
        .filter(|pin| !wanted(plan).any(|image| image.reference == pin.reference))
        .map(|pin| format!("the container image {} is in the lock and no longer wanted", pin.reference));
    missing.chain(gone).collect()
}
