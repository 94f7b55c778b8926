//! Whether a lock still says what its definition asks for.

use std::collections::BTreeSet;

use super::{Lock, LockedArtifact, LockedBase};
use crate::definition::plan::{ArtifactPlan, Checksum, ImagePlan, LayerPlan, Origin};

/// An artifact of the plan that the lock must pin.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Its layer.
    pub layer: &'a LayerPlan,
    /// The artifact.
    pub artifact: &'a ArtifactPlan,
    /// Its address.
    pub url: &'a str,
    /// How its digest becomes known.
    pub checksum: &'a Checksum,
}

/// Every artifact that is fetched from an address.
pub fn wanted(plan: &ImagePlan) -> impl Iterator<Item = Wanted<'_>> {
    plan.layers.iter().flat_map(|layer| {
        layer.artifacts.iter().filter_map(move |artifact| match &artifact.origin {
            Origin::Url { url, checksum } => Some(Wanted { layer, artifact, url, checksum }),
            _ => None,
        })
    })
}

/// What the package closure is made for.
pub fn base(plan: &ImagePlan) -> LockedBase {
    let extract: BTreeSet<String> = plan
        .layers
        .iter()
        .flat_map(|layer| &layer.artifacts)
        .filter_map(|artifact| match &artifact.origin {
            Origin::Package { name } => Some(name.clone()),
            _ => None,
        })
        .collect();
    LockedBase {
        distribution: plan.base.distribution,
        suite: plan.base.suite.clone(),
        install: plan.base.packages.clone(),
        extract: extract.into_iter().collect(),
    }
}

impl Wanted<'_> {
    /// Whether `pin` is a pin of this very artifact.
    pub fn is_pinned_by(&self, pin: &LockedArtifact) -> bool {
        let same_digest = match self.checksum {
            Checksum::Pinned(digest) => *digest == pin.sha256,
            Checksum::File(_) => true,
        };
        pin.layer == self.layer.name
            && pin.name == self.artifact.name
            && pin.version == self.artifact.version
            && pin.url == self.url
            && same_digest
    }
}

/// Every difference between what the plan asks for and what the lock pins, one line each; empty when they agree.
pub fn differences(plan: &ImagePlan, lock: &Lock) -> Vec<String> {
    let mut differences = Vec::new();
    if lock.arch != plan.arch {
        differences.push("the lock is for another architecture".to_owned());
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
                .push(format!("{name}: the definition has another address or digest than the lock")),
        }
    }
    for pin in &lock.artifacts {
        if !wanted(plan).any(|want| want.layer.name == pin.layer && want.artifact.name == pin.name) {
            differences.push(format!("{}/{} is in the lock and no longer wanted", pin.layer, pin.name));
        }
    }
    differences.extend(base_differences(&base(plan), &lock.base));
    differences
}

fn base_differences(wanted: &LockedBase, locked: &LockedBase) -> Vec<String> {
    if wanted.suite != locked.suite || wanted.distribution != locked.distribution {
        return vec![format!(
            "the definition wants {}, the lock has packages of {}",
            wanted.suite, locked.suite
        )];
    }
    let lists = [(&wanted.install, &locked.install), (&wanted.extract, &locked.extract)];
    let mut differences = Vec::new();
    for (wanted, locked) in lists {
        let new = wanted.iter().filter(|name| !locked.contains(name));
        differences.extend(new.map(|name| format!("the package {name} is not in the lock")));
        let old = locked.iter().filter(|name| !wanted.contains(name));
        differences.extend(old.map(|name| format!("the package {name} is in the lock and no longer wanted")));
    }
    differences
}
