//! The last layer: what only the whole image decides. Unit links, the image's description, preloaded container images.

mod preload;

use serde::Serialize;

pub use preload::preload;

use crate::definition::plan::ImagePlan;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::layer::PackedLayer;
use crate::lock::Lock;
use crate::tree::{Body, Entry, Node, Tree};

/// What `/usr/lib/kiln/image.json` says: the image can be told from inside.
#[derive(Serialize)]
struct Description<'a> {
    schema: u32,
    name: &'a str,
    arch: crate::definition::plan::Arch,
    variables: &'a std::collections::BTreeMap<String, String>,
    layers: Vec<DescribedLayer<'a>>,
    artifacts: Vec<DescribedArtifact<'a>>,
}

#[derive(Serialize)]
struct DescribedLayer<'a> {
    name: &'a str,
    diff_id: &'a Digest,
}

#[derive(Serialize)]
struct DescribedArtifact<'a> {
    layer: &'a str,
    name: &'a str,
    version: &'a str,
    sha256: &'a Digest,
}

/// Adds the image's description.
pub fn describe(top: &mut Tree, plan: &ImagePlan, lock: &Lock, layers: &[PackedLayer]) -> Result<()> {
    let description = Description {
        schema: 1,
        name: &plan.name,
        arch: plan.arch,
        variables: &plan.variables,
        layers: layers
            .iter()
            .map(|layer| DescribedLayer { name: &layer.name, diff_id: &layer.diff_id })
            .collect(),
        artifacts: lock
            .artifacts
            .iter()
            .map(|pin| DescribedArtifact {
                layer: &pin.layer,
                name: &pin.name,
                version: &pin.version,
                sha256: &pin.sha256,
            })
            .collect(),
    };
    let mut json = serde_json::to_vec_pretty(&description)
        .map_err(|error| Error::new(ErrorKind::Internal, format!("describing the image: {error}")))?;
    json.push(b'\n');
    top.insert(format!("{}/image.json", contract::IMAGE_FOLDER), Entry::file(Body::inline(json), 0o644));
    Ok(())
}

/// Adds the policy by which the image's machines believe what they are told.
pub fn believe(top: &mut Tree, plan: &ImagePlan) -> Result<()> {
    let Some(policy) = &plan.metadata else { return Ok(()) };
    let json = serde_json::to_vec(policy)
        .map_err(|error| Error::new(ErrorKind::Internal, format!("writing the policy: {error}")))?;
    top.insert(contract::POLICY.to_owned(), Entry::file(Body::inline(json), 0o644));
    Ok(())
}

/// Drops from `top` what a package did just the same (its own "enable" link), and returns the paths at which it differs.
pub fn replaced(below: &Tree, top: &mut Tree) -> Vec<String> {
    top.entries.retain(|path, entry| below.get(path) != Some(entry));
    top.entries.keys().filter(|path| below.get(path).is_some()).cloned().collect()
}

/// What decides the layer's bytes.
pub fn key(top: &Tree) -> Result<Digest> {
    let mut text = String::new();
    for (path, entry) in &top.entries {
        let content = match &entry.node {
            Node::Directory => "folder".to_owned(),
            Node::Symlink(target) => format!("link {target}"),
            Node::File(Body::Inline(bytes)) => Digest::of(bytes).to_string(),
            // Slices of this layer are whole blobs of the store, whose name is their digest.
            Node::File(Body::Slice { file, .. }) => {
                file.file_name().unwrap_or_default().to_string_lossy().into_owned()
            }
        };
        text.push_str(&format!("{path}\0{:o}\0{content}\0", entry.mode));
    }
    Ok(Digest::of(text.as_bytes()))
}
