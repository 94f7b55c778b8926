//! The layers without the base as systemd-sysext images: one for each layer, or one for all.
//!
//! They need no root tree, so that they can be made for an image whose base gives none.

mod content;
pub mod release;
mod sealed;
mod service;

use std::fs;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::assembly::Image;
use crate::definition::plan::{ImagePlan, LayerPlan};
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::final_layer;
use crate::format::erofs;
use crate::format::squashfs::{self, Compressor};
use crate::format::verity;
use crate::layer::read;
use crate::part::tree_digest::tree_digest;
use crate::part::work::Work;
use crate::sign::Signer;
use crate::store::{Content as Kept, Key};
use crate::tree::{Body, Entry, Node, Tree, merge};
use content::Content;
use release::Hosts;
use sealed::Unsealed;

const KIND: &str = "extension";
/// Raise it when the same tree and options come to give other bytes.
const FORMAT: u32 = 2;
const FILE: &str = "extension.raw";

/// How extensions are made.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// One extension, named after the image, instead of one for each layer.
    pub combined: bool,
    /// The hosts that merge them.
    pub hosts: Hosts,
    /// Their file system.
    pub file_system: FileSystem,
    /// Whether the host can prove that nobody has changed them.
    pub seal: Seal,
}

/// How extensions are sealed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Seal {
    /// Not at all: a bare file system.
    #[default]
    None,
    /// With dm-verity: a disk image with a tree of hashes.
    Verity,
    /// With dm-verity and a signature of its root hash.
    Signed(Signer),
}

/// The file system of an extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FileSystem {
    /// With gzip: every kernel with squashfs reads it
    #[default]
    Squashfs,
    /// With lz4: some older kernels lack it
    Erofs,
}

/// A finished extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extension {
    /// Its name: the host's file must be `NAME.raw`, whatever the name of this one.
    pub name: String,
    /// Its version: that of the layer's first artifact, else of Kubernetes.
    pub version: String,
    /// `NAME-VERSION-ARCHITECTURE.raw`.
    pub file_name: String,
    /// The image, which must stay unchanged.
    pub path: PathBuf,
    /// Its digest.
    pub sha256: Digest,
}

/// The extensions of `image`, in the order of its layers. A layer that says `extension = false` has none.
///
/// # Errors
/// [`ErrorKind::Definition`], naming the path or unit, if a layer has something that no extension can carry,
/// or two extensions have the same file; [`ErrorKind::Tool`].
pub fn make(image: &Image<'_>, work: &Work<'_>, options: &Options) -> Result<Vec<Extension>> {
    let sources = sources(image, options.combined)?;
    let contents = sources
        .iter()
        .map(|source| source.content(image, options))
        .collect::<Result<Vec<Tree>>>()?;
    check_apart(&sources, &contents)?;
    let pairs = sources.iter().zip(&contents);
    pairs.map(|(source, tree)| source.write(tree, image, work, options)).collect()
}

/// What one extension is made of.
struct Source<'a> {
    name: &'a str,
    version: &'a str,
    /// Names of layers and their entries, the lowest first.
    trees: Vec<(&'a str, Tree)>,
    replaces: Vec<String>,
    enable: Vec<String>,
    mask: Vec<String>,
}

/// What each extension of `image` is made of.
fn sources<'a>(image: &Image<'a>, combined: bool) -> Result<Vec<Source<'a>>> {
    let plan = image.plan;
    let layers = image.layers_above_base();
    let mut sources = Vec::new();
    for layer in plan.layers.iter().filter(|layer| layer.extension) {
        sources.push(Source {
            name: &layer.name,
            version: version(plan, layer),
            trees: vec![(layer.name.as_str(), read::tree_of(layers, &layer.name)?)],
            replaces: layer.replaces.clone(),
            enable: layer.enable.clone(),
            mask: layer.mask.clone(),
        });
    }
    // It is the highest: a layer of the user's may have its name.
    let last = layers.last().ok_or_else(|| Error::new(ErrorKind::Internal, "no layer was packed"))?;
    add_final_layer(&mut sources, plan, read::read_tree(&last.tar)?);
    if combined {
        let all = Source::new(&plan.name, kubernetes(plan));
        sources = vec![sources.into_iter().fold(all, Source::with)];
    }
    sources.retain(|source| !source.is_empty());
    Ok(sources)
}

/// Adds the final layer: the image's description and its trust policy to the extension that has the agent,
/// which must not be without them; preloaded container images as an extension of their own. Its links of
/// units are left out: [`service`] starts the units.
fn add_final_layer<'a>(sources: &mut Vec<Source<'a>>, plan: &'a ImagePlan, tree: Tree) {
    let mut own = Tree::default();
    let mut preloaded = Tree::default();
    for (path, entry) in tree.below("usr") {
        let preload = path == final_layer::PRELOADED
            || path.strip_prefix(final_layer::PRELOADED).is_some_and(|rest| rest.starts_with('/'));
        (if preload { &mut preloaded } else { &mut own }).insert(path.clone(), entry.clone());
    }
    let mut rest = Source::new(&plan.name, kubernetes(plan));
    rest.trees.push((final_layer::NAME, preloaded));
    match sources
        .iter_mut()
        .find(|source| source.trees.iter().any(|(_, tree)| tree.get(contract::AGENT).is_some()))
    {
        Some(agent) => agent.trees.push((final_layer::NAME, own)),
        None => rest.trees.push((final_layer::NAME, own)),
    }
    sources.push(rest);
}

/// The version of the first artifact that has one, else of Kubernetes.
fn version<'a>(plan: &'a ImagePlan, layer: &'a LayerPlan) -> &'a str {
    let mut versions = layer.artifacts.iter().map(|artifact| artifact.version.as_str());
    versions.find(|version| !version.is_empty()).unwrap_or_else(|| kubernetes(plan))
}

fn kubernetes(plan: &ImagePlan) -> &str {
    plan.variables.get("kubernetes").map_or("0", String::as_str)
}

impl<'a> Source<'a> {
    const fn new(name: &'a str, version: &'a str) -> Self {
        Self { name, version, trees: Vec::new(), replaces: Vec::new(), enable: Vec::new(), mask: Vec::new() }
    }

    /// With everything of `upper` too.
    fn with(mut self, upper: Self) -> Self {
        self.trees.extend(upper.trees);
        self.replaces.extend(upper.replaces);
        self.enable.extend(upper.enable);
        self.mask.extend(upper.mask);
        self
    }

    fn is_empty(&self) -> bool {
        self.trees.iter().all(|(_, tree)| tree.entries.is_empty()) && self.mask.is_empty()
    }

    /// The whole content of the extension.
    fn content(&self, image: &Image<'_>, options: &Options) -> Result<Tree> {
        let named = |error: Error| error.context(format!("the extension \"{}\"", self.name));
        let mut content = Content::of(&self.merged()?).map_err(named)?;
        service::add(&mut content, self.name, &self.enable, &self.mask)?;
        let mut tree = content.tree;
        let has_units = tree.below("usr/lib/systemd/system").next().is_some();
        let text = release::text(&options.hosts, image.plan.arch, has_units);
        tree.insert(release::path(self.name), Entry::file(Body::inline(text.into_bytes()), 0o644));
        tree.complete();
        Ok(tree)
    }

    /// The layers as one tree, with the entries that they declare and no other folders.
    fn merged(&self) -> Result<Tree> {
        let mut layers: Vec<merge::Layer<'_>> = Vec::new();
        // What a layer replaces may be the base's, which is not here.
        let replaces: Vec<Vec<String>> = (0..self.trees.len())
            .map(|index| {
                let (below, tree) = (&self.trees[..index], &self.trees[index].1);
                let here = |path: &&String| {
                    tree.get(path).is_some() && below.iter().any(|(_, tree)| tree.get(path).is_some())
                };
                self.replaces.iter().filter(here).cloned().collect()
            })
            .collect();
        for ((name, tree), replaces) in self.trees.iter().zip(&replaces) {
            layers.push(merge::Layer { name, tree, replaces });
        }
        let mut merged = merge::merge(&layers)?.tree;
        let declared = |path: &str| self.trees.iter().any(|(_, tree)| tree.get(path).is_some());
        merged.entries.retain(|path, _| declared(path));
        Ok(merged)
    }

    fn write(&self, tree: &Tree, image: &Image<'_>, work: &Work<'_>, options: &Options) -> Result<Extension> {
        let (path, sha256) = file_system(tree, self.name, image, work, options)?;
        let unsealed = Unsealed { path: &path, sha256, arch: image.plan.arch };
        let (path, sha256) = match &options.seal {
            Seal::None => (path, sha256),
            Seal::Verity => sealed(&unsealed, None, work)?,
            Seal::Signed(signer) => sealed(&unsealed, Some(signer), work)?,
        };
        Ok(Extension {
            name: self.name.to_owned(),
            version: self.version.to_owned(),
            file_name: file_name(self.name, self.version, image.plan)?,
            path,
            sha256,
        })
    }
}

/// `NAME-VERSION-ARCHITECTURE.raw`, of which systemd-sysupdate reads the version.
fn file_name(name: &str, version: &str, plan: &ImagePlan) -> Result<String> {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~^+".contains(&byte);
    if version.is_empty() || !version.bytes().all(valid) {
        let message = format!("the extension {name} cannot have the version \"{version}\"");
        return Err(Error::new(ErrorKind::Definition, message)
            .help("write letters, digits, and . - _ ~ ^ + as version of the layer's first artifact"));
    }
    Ok(format!("{name}-{version}-{}.raw", release::architecture(plan.arch)))
}

#[derive(Serialize)]
struct Inputs<'a> {
    tree: Digest,
    options: Vec<&'a str>,
    epoch: u64,
}

/// `tree` as a file system, from the store when nothing that decides its bytes has changed.
fn file_system(
    tree: &Tree,
    name: &str,
    image: &Image<'_>,
    work: &Work<'_>,
    options: &Options,
) -> Result<(PathBuf, Digest)> {
    let (tool, version, arguments) = match options.file_system {
        FileSystem::Squashfs => ("mksquashfs", squashfs::version()?, squashfs::options(Compressor::Gzip)),
        FileSystem::Erofs => ("mkfs.erofs", erofs::version(work.scratch)?, erofs::OPTIONS.to_vec()),
    };
    work.record_tool(tool, &version);
    let digest = tree_digest(tree, image.layers_above_base())?;
    let inputs = Inputs { tree: digest, options: arguments, epoch: image.epoch };
    let key = Key::new(KIND, FORMAT, &inputs, &[(tool, &version)])?;
    let built = work.store.built(&key, FILE, |path| {
        let _step = work.progress.step(&format!("compressing the extension {name}"));
        match options.file_system {
            FileSystem::Squashfs => squashfs::write(tree, image.epoch, Compressor::Gzip, path)?,
            FileSystem::Erofs => erofs::write(tree, image.epoch, &digest, work.scratch, path)?,
        }
        Kept::of_file(path)
    })?;
    Ok((built.path, built.content.sha256))
}

/// `unsealed` as a disk image in the scratch folder. Never in the store: it may have a signature.
fn sealed(unsealed: &Unsealed<'_>, signer: Option<&Signer>, work: &Work<'_>) -> Result<(PathBuf, Digest)> {
    work.record_tool("veritysetup", &verity::version()?);
    let folder = work.scratch.join(format!("extension-{}", unsealed.sha256.hex()));
    fs::create_dir(&folder).at("creating", &folder)?;
    let path = unsealed.seal(signer, &folder)?;
    let sha256 = Digest::of_file(&path)?;
    Ok((path, sha256))
}

/// Refuses a file that two extensions have: which of them the host shows would depend on their names.
fn check_apart(sources: &[Source<'_>], contents: &[Tree]) -> Result<()> {
    let mut owners = std::collections::BTreeMap::new();
    for (source, tree) in sources.iter().zip(contents) {
        let files = tree.entries.iter().filter(|(_, entry)| entry.node != Node::Directory);
        for (path, _) in files {
            if let Some(other) = owners.insert(path, source.name) {
                let message = format!("the extensions {other} and {} both have /{path}", source.name);
                return Err(Error::new(ErrorKind::Definition, message)
                    .help("make one extension of all layers: [output.sysext] combined = true"));
            }
        }
    }
    Ok(())
}
