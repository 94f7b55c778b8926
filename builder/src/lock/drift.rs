//! Compares a lock with its definition.

use super::{Lock, LockedArtifact, preload};
use crate::base::BaseRequest;
use crate::definition::plan::{ArtifactPlan, Checksum, ImagePlan, LayerPlan, Origin, UpstreamSignature};

/// An artifact of the plan that the lock must pin.
#[derive(Debug, Clone, Copy)]
pub struct ArtifactRequest<'a> {
    /// Its layer.
    pub layer: &'a LayerPlan,
    /// The artifact.
    pub artifact: &'a ArtifactPlan,
    /// Its address.
    pub url: &'a str,
    /// How its digest becomes known; by a first download if upstream publishes none.
    pub checksum: Option<&'a Checksum>,
    /// Who must have signed it.
    pub signature: Option<&'a UpstreamSignature>,
}

/// Every artifact that is fetched from an address.
pub fn wanted(plan: &ImagePlan) -> impl Iterator<Item = ArtifactRequest<'_>> {
    plan.layers.iter().flat_map(|layer| {
        layer.artifacts.iter().filter_map(move |artifact| match &artifact.origin {
            Origin::Url { url, checksum, signature } => {
                let (checksum, signature) = (checksum.as_ref(), signature.as_ref());
                Some(ArtifactRequest { layer, artifact, url, checksum, signature })
            }
            _ => None,
        })
    })
}

impl ArtifactRequest<'_> {
    /// `LAYER/ARTIFACT`
    pub fn id(&self) -> String {
        format!("{}/{}", self.layer.name, self.artifact.name)
    }

    /// Whether `pin` is a pin of this very artifact.
    pub fn is_pinned_by(&self, pin: &LockedArtifact) -> bool {
        let same_digest = match self.checksum {
            Some(Checksum::Pinned(digest)) => *digest == pin.sha256,
            Some(Checksum::File(_)) | None => true,
        };
        // A signer whom the layer no longer names. A pin without one may be older than the layer's wish.
        let other = pin.signer.is_some() && !self.is_signed_in(pin);
        pin.layer == self.layer.name
            && !other
            && pin.name == self.artifact.name
            && pin.version == self.artifact.version
            && pin.url == self.url
            && same_digest
    }

    /// Whether somebody has signed `pin` who may. A lock from before the layer asked for it stays usable: the
    /// signature is asked for when a pin is written.
    pub fn is_signed_in(&self, pin: &LockedArtifact) -> bool {
        let signer = pin.signer.as_ref();
        self.signature
            .is_none_or(|wanted| signer.is_some_and(|signer| wanted.signers.contains(signer)))
    }
}

/// Every difference between what the plan asks for and what the lock pins, one line each; empty when they
/// agree.
pub fn differences(plan: &ImagePlan, lock: &Lock) -> Vec<String> {
    let mut differences = Vec::new();
    if lock.arch != plan.arch {
        differences.push("the lock is for another architecture".to_owned());
    }
    for (part, version) in &plan.versions_to_keep() {
        match lock.versions.get(part) {
            Some(locked) if locked == version => {}
            Some(locked) => differences.push(format!("{part}: {version} is chosen, the lock has {locked}")),
            None => differences.push(format!("the version of {part}, {version}, is not in the lock")),
        }
    }
    for want in wanted(plan) {
        let name = format!("{}/{}", want.layer.name, want.artifact.name);
        match lock.artifact(&want.layer.name, &want.artifact.name) {
            None => differences.push(format!("{name} {} is not in the lock", want.artifact.version)),
            Some(pin) if want.is_pinned_by(pin) => {}
            Some(pin) if pin.version != want.artifact.version => {
                differences.push(format!(
                    "{name}: the definition wants {}, the lock has {}",
                    want.artifact.version, pin.version
                ));
            }
            Some(_) => differences
                .push(format!("{name}: the definition has another address, digest or signer than the lock")),
        }
    }
    for pin in &lock.artifacts {
        if !wanted(plan).any(|want| want.layer.name == pin.layer && want.artifact.name == pin.name) {
            differences.push(format!("{}/{} is in the lock and no longer wanted", pin.layer, pin.name));
        }
    }
    differences.extend(preload::differences(plan, &lock.preload));
    differences.extend(lock.base.differences(&BaseRequest::of(plan)));
    differences
}
