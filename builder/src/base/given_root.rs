//! The pins of a root file system.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::definition::plan::{Checksum, RootfsPlan};
use crate::digest::Digest;
use crate::image_source::Blob;

/// A root file system, pinned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedRootfs {
    /// Where it is, as the definition says it.
    pub rootfs: String,
    /// Length in bytes, where it was known when the lock was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Its digest; that of the manifest for an OCI layout.
    pub sha256: Digest,
    /// The file of keys, as the definition says it, of which one has signed the list of digests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keyring: Option<String>,
    /// The files that the manifest of an OCI layout names: its configuration, then its layers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blobs: Vec<Blob>,
}

impl LockedRootfs {
    /// Every difference between `plan` and the pins, one line each.
    pub fn differences(&self, plan: &RootfsPlan) -> Vec<String> {
        let mut differences = Vec::new();
        if plan.rootfs.written != self.rootfs {
            differences
                .push(format!("the definition wants {}, the lock has {}", plan.rootfs.written, self.rootfs));
        }
        if let Some(Checksum::Pinned(digest)) = &plan.checksum
            && *digest != self.sha256
        {
            differences.push(format!("the definition has another digest of {} than the lock", self.rootfs));
        }
        let keyring = plan.signature.as_ref().map(|signature| &signature.keyring.written);
        if keyring != self.keyring.as_ref() {
            let shown = |keyring: Option<&String>| {
                keyring.map_or("nobody".to_owned(), |file| format!("a key of {file}"))
            };
            let (wanted, locked) = (shown(keyring), shown(self.keyring.as_ref()));
            differences.push(format!(
                "the definition wants {wanted} to have signed the digest, the lock has {locked}"
            ));
        }
        differences
    }

    /// Every file: name in messages and digest.
    pub fn files(&self) -> impl Iterator<Item = (Cow<'_, str>, &Digest)> {
        let whole = (Cow::Borrowed(self.rootfs.as_str()), &self.sha256);
        let blobs = self.blobs.iter().enumerate();
        let blobs = blobs.map(|(index, blob)| (format!("{} blob {index}", self.rootfs).into(), &blob.sha256));
        std::iter::once(whole).chain(blobs)
    }
}
