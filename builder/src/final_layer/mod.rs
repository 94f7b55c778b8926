//! The final layer: files that depend on the whole image. These are unit links, the image's description, its
//! trust policy and preloaded container images.

mod preload;

pub use preload::preload;

use std::path::Path;

use serde::Serialize;

use crate::definition::plan::{BasePlan, ImagePlan};
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::layer::{self, PackedLayer};
use crate::lock::Lock;
use crate::store::{Key, Store};
use crate::tree::{Body, Entry, Node, Tree, units};

/// Its name in manifests and messages.
pub const NAME: &str = "image";

/// The folder of preloaded container images.
pub const PRELOADED: &str = self::preload::FOLDER;

/// Raise it when the same inputs come to give other bytes.
const FORMAT: u32 = 4;

/// The final layer of an image, before it is packed.
#[derive(Debug)]
pub struct FinalLayer {
    /// Its content, without parent folders.
    pub tree: Tree,
    /// Paths of lower layers that it replaces.
    pub replaces: Vec<String>,
}

impl FinalLayer {
    /// The final layer on top of `below`, the tree of all `layers`. Intermediate files go to `spool`.
    ///
    /// # Errors
    /// When a unit does not exist, or what is to be preloaded is another container image.
    pub fn of(
        below: &Tree,
        plan: &ImagePlan,
        lock: &Lock,
        layers: &[PackedLayer],
        store: &Store,
        spool: &Path,
    ) -> Result<Self> {
        let mut tree = match plan.base {
            // Its units are not known here. Extensions start their own, and the root has the masks.
            BasePlan::Vendor(_) | BasePlan::Windows(_) | BasePlan::WindowsRelease(_) => Tree::default(),
            _ => enabled_units(below, plan)?,
        };
        describe(&mut tree, plan, lock, layers)?;
        add_trust_policy(&mut tree, plan)?;
        preload(&mut tree, (&plan.preload, plan.arch), &lock.preload, store, spool)?;
        let replaces = replaced(below, &mut tree);
        Ok(Self { tree, replaces })
    }
}

/// What of the layers systemd will never look at, one line each.
pub fn unheard(below: &Tree, plan: &ImagePlan) -> Vec<String> {
    if matches!(plan.base, BasePlan::Vendor(_) | BasePlan::Windows(_) | BasePlan::WindowsRelease(_)) {
        return Vec::new();
    }
    let files = plan
        .layers
        .iter()
        .flat_map(|layer| layer.files.iter().map(|file| (layer.name.as_str(), file.path.as_str())));
    units::unheard(below, files, &enabled(plan))
}

fn enabled(plan: &ImagePlan) -> Vec<String> {
    plan.layers.iter().flat_map(|layer| layer.enable.clone()).collect()
}

fn enabled_units(below: &Tree, plan: &ImagePlan) -> Result<Tree> {
    let enable = enabled(plan);
    let mask: Vec<String> = plan.layers.iter().flat_map(|layer| layer.mask.clone()).collect();
    units::enable(below, &enable, &mask)
}

/// The final layer in the store.
///
/// # Errors
/// [`ErrorKind::Io`].
pub fn pack(store: &Store, layer: &FinalLayer, epoch: u64) -> Result<PackedLayer> {
    let inputs = Inputs { entries: layer.tree.entries.iter().map(described).collect(), epoch };
    layer::pack::pack(store, NAME, Key::new("final-layer", FORMAT, &inputs, &[])?, &layer.tree, epoch)
}

/// Everything that decides the layer's bytes.
#[derive(Serialize)]
struct Inputs<'a> {
    /// Path, permission bits and content.
    entries: Vec<(&'a str, u32, String)>,
    epoch: u64,
}

fn described<'a>((path, entry): (&'a String, &'a Entry)) -> (&'a str, u32, String) {
    let content = match &entry.node {
        Node::Directory => "folder".to_owned(),
        Node::Symlink(target) => format!("link {target}"),
        Node::File(Body::Inline(bytes)) => Digest::of(bytes).to_string(),
        // Slices of this layer are files of container images, whose path has their digest.
        Node::File(Body::Slice { len, .. }) => format!("{len} bytes"),
    };
    (path, entry.mode, content)
}

/// `/usr/lib/kiln/image.json`: by it a running machine knows its image.
#[derive(Serialize)]
struct Description<'a> {
    schema: u32,
    name: &'a str,
    arch: crate::definition::plan::Arch,
    variables: &'a std::collections::BTreeMap<String, String>,
    layers: Vec<DescribedLayer<'a>>,
    artifacts: Vec<DescribedArtifact<'a>>,
    /// Features that Windows enables at its first start.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    enables_windows_features: Vec<&'a str>,
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

fn describe(top: &mut Tree, plan: &ImagePlan, lock: &Lock, layers: &[PackedLayer]) -> Result<()> {
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
        enables_windows_features: plan.enabled_features().collect(),
    };
    let mut json = serde_json::to_vec_pretty(&description)
        .map_err(|error| Error::new(ErrorKind::Internal, format!("describing the image: {error}")))?;
    json.push(b'\n');
    top.insert(format!("{}/image.json", contract::IMAGE_FOLDER), Entry::file(Body::inline(json), 0o644));
    Ok(())
}

/// Adds the trust policy of the image's machines.
fn add_trust_policy(top: &mut Tree, plan: &ImagePlan) -> Result<()> {
    let Some(policy) = &plan.metadata else { return Ok(()) };
    let json = serde_json::to_vec(policy)
        .map_err(|error| Error::new(ErrorKind::Internal, format!("writing the policy: {error}")))?;
    top.insert(contract::POLICY.to_owned(), Entry::file(Body::inline(json), 0o644));
    Ok(())
}

/// Drops from `top` every entry that is already in `below` (a package's own "enable" link), and returns the
/// paths at which the two differ.
fn replaced(below: &Tree, top: &mut Tree) -> Vec<String> {
    top.entries.retain(|path, entry| below.get(path) != Some(entry));
    top.entries.keys().filter(|path| below.get(path).is_some()).cloned().collect()
}
