//! The software bill of materials: CycloneDX 1.6 in JSON (<https://cyclonedx.org/docs/1.6/json/>).
//!
//! CycloneDX and not SPDX 2.3: a CycloneDX component is one object with purl, digest and licence. SPDX
//! spreads the same over packages, external references and relationships, and demands fields that are unknown
//! for a binary package.

use serde::Serialize;

use crate::assembly::Image;
use crate::base;
use crate::definition::plan::{ArtifactPlan, BasePlan, LayerPlan, Origin};
use crate::determinism::{self, Calendar};
use crate::lock::LockedArtifact;
use crate::lock::preload::{self, LockedImage};
use crate::provenance::Pins;
use crate::purl;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Bom {
    #[serde(rename = "$schema")]
    schema: &'static str,
    bom_format: &'static str,
    spec_version: &'static str,
    serial_number: String,
    version: u32,
    metadata: Metadata,
    components: Vec<Component>,
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Serialize)]
struct Metadata {
    timestamp: String,
    tools: Tools,
    component: Component,
}

#[derive(Debug, Serialize)]
struct Tools {
    components: Vec<Component>,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Component {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(rename = "bom-ref")]
    reference: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hashes: Vec<Hash>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    licenses: Vec<License>,
    #[serde(skip_serializing_if = "Option::is_none")]
    purl: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    external_references: Vec<ExternalReference>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    properties: Vec<Property>,
}

#[derive(Debug, Serialize)]
struct Hash {
    alg: &'static str,
    content: String,
}

#[derive(Debug, Serialize)]
struct License {
    expression: String,
}

#[derive(Debug, Serialize)]
struct ExternalReference {
    #[serde(rename = "type")]
    kind: &'static str,
    url: String,
}

#[derive(Debug, Serialize)]
struct Property {
    name: &'static str,
    value: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Dependency {
    #[serde(rename = "ref")]
    reference: String,
    depends_on: Vec<String>,
}

impl Bom {
    /// Everything in `image`: the operating system, its packages, the layers' artifacts, programs of Kiln,
    /// preloaded container images.
    pub fn new(image: &Image<'_>, pins: Pins<'_>) -> Self {
        let release = release(image);
        let mut components = vec![operating_system(image, &release)];
        components.extend(pins.base.components(&release, image.tree()).into_iter().map(of_the_base));
        components.extend(pins.artifacts.iter().map(|artifact| downloaded(image, artifact)));
        components.extend(programs(image));
        components.extend(preloaded(image, pins.preload));
        components.sort_by(|a, b| a.reference.cmp(&b.reference));
        components.dedup_by(|a, b| a.reference == b.reference);
        let whole = whole(image);
        let depends_on = components.iter().map(|component| component.reference.clone()).collect();
        Self {
            schema: "http://cyclonedx.org/schema/bom-1.6.schema.json",
            bom_format: "CycloneDX",
            spec_version: "1.6",
            serial_number: determinism::uuid(&image.identity, "sbom").urn().to_string(),
            version: 1,
            dependencies: vec![Dependency { reference: whole.reference.clone(), depends_on }],
            metadata: Metadata {
                timestamp: Calendar::at(image.epoch).to_string(),
                tools: Tools { components: vec![kiln("kiln")] },
                component: whole,
            },
            components,
        }
    }
}

/// A program of this release of Kiln.
fn kiln(name: &str) -> Component {
    let version = env!("CARGO_PKG_VERSION");
    Component {
        kind: "application",
        reference: format!("kiln/{name}"),
        name: name.to_owned(),
        version: Some(version.to_owned()),
        licenses: vec![License { expression: env!("CARGO_PKG_LICENSE").to_owned() }],
        purl: Some(purl::generic(name, version)),
        ..Component::default()
    }
}

fn whole(image: &Image<'_>) -> Component {
    Component {
        kind: "platform",
        reference: format!("image/{}", image.plan.name),
        name: image.plan.name.clone(),
        version: image.plan.variables.get("kubernetes").cloned(),
        properties: vec![Property { name: "kiln:identity", value: image.identity.to_string() }],
        ..Component::default()
    }
}

fn operating_system(image: &Image<'_>, release: &str) -> Component {
    let own = || image.tree().os_release("ID");
    let name = image.plan.base.distribution().map(str::to_owned).or_else(own).unwrap_or_default();
    Component {
        kind: "operating-system",
        reference: format!("os/{name}"),
        name,
        version: Some(release.to_owned()),
        ..Component::default()
    }
}

/// The distribution's version as its os-release says ("13"), else its code name.
fn release(image: &Image<'_>) -> String {
    let suite = || match &image.plan.base {
        BasePlan::Packages(plan) => plan.suite.clone(),
        BasePlan::Rootfs(_) => String::new(),
        BasePlan::Vendor(plan) => plan.version.clone().unwrap_or_default(),
        BasePlan::WindowsRelease(plan) => plan.release.clone(),
        BasePlan::Windows(plan) => plan.build.map(|build| build.to_string()).unwrap_or_default(),
    };
    image.tree().os_release("VERSION_ID").unwrap_or_else(suite)
}

fn of_the_base(component: base::Component) -> Component {
    let base::Component { name, version, purl, sha256: digest, properties } = component;
    Component {
        kind: "library",
        reference: purl.clone(),
        name,
        version: Some(version),
        hashes: digest.map(|digest| sha256(&digest.hex())).unwrap_or_default(),
        purl: Some(purl),
        properties: properties.into_iter().map(|(name, value)| Property { name, value }).collect(),
        ..Component::default()
    }
}

fn downloaded(image: &Image<'_>, artifact: &LockedArtifact) -> Component {
    let LockedArtifact { layer, name, version, url, sha256: digest, .. } = artifact;
    let license = artifacts(image)
        .find(|(plan, wanted)| plan.name == *layer && wanted.name == *name)
        .and_then(|(_, plan)| plan.license.clone());
    Component {
        kind: "application",
        reference: format!("layer/{layer}/{name}"),
        name: name.clone(),
        version: Some(version.clone()),
        hashes: sha256(&digest.hex()),
        licenses: license.into_iter().map(|expression| License { expression }).collect(),
        purl: Some(purl::download(name, version, url, &digest.hex())),
        external_references: vec![ExternalReference { kind: "distribution", url: url.clone() }],
        properties: vec![Property { name: "kiln:layer", value: layer.clone() }],
    }
}

fn programs(image: &Image<'_>) -> impl Iterator<Item = Component> {
    artifacts(image).filter_map(|(layer, artifact)| match &artifact.origin {
        Origin::Program { name } => {
            let properties = vec![Property { name: "kiln:layer", value: layer.name.clone() }];
            Some(Component {
                reference: format!("layer/{}/{}", layer.name, artifact.name),
                properties,
                ..kiln(name)
            })
        }
        Origin::Url { .. } | Origin::Package { .. } => None,
    })
}

/// A container image, by the digest of its manifest or of its archive.
fn preloaded(image: &Image<'_>, pins: &[LockedImage]) -> impl Iterator<Item = Component> {
    image.plan.preload.iter().map(|image| {
        let digest = image.pinned().or(preload::pin_of(image, pins).map(|pin| pin.sha256));
        Component {
            kind: "container",
            reference: format!("preload/{}", image.reference),
            name: image.reference.clone(),
            hashes: digest.map(|digest| sha256(&digest.hex())).unwrap_or_default(),
            ..Component::default()
        }
    })
}

fn artifacts<'a>(image: &'a Image<'_>) -> impl Iterator<Item = (&'a LayerPlan, &'a ArtifactPlan)> {
    image
        .plan
        .layers
        .iter()
        .flat_map(|layer| layer.artifacts.iter().map(move |artifact| (layer, artifact)))
}

fn sha256(hex: &str) -> Vec<Hash> {
    vec![Hash { alg: "SHA-256", content: hex.to_owned() }]
}
