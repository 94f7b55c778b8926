//! The whole line, as numbered steps: plan and lock in, finished outputs under their final names out.

pub mod outputs;
pub mod publish;
pub mod report;
pub mod session;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;

use crate::base;
use crate::definition::plan::{ArtifactPlan, ImagePlan, LayerPlan, Origin, PreloadOrigin};
use crate::determinism;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::fetch::Request;
use crate::image_layer;
use crate::layer::read::{ReadPolicy, tree_from_stream};
use crate::layer::{self, PackedLayer};
use crate::lock::{Lock, LockedPackage};
use crate::output::{Image, Parts};
use crate::provenance::{self, Locked};
use crate::scratch::Scratch;
use crate::tree::{Tree, merge, units};
use report::{Report, Timer};
use session::Session;

/// Part of every layer's key: raise it when the same inputs come to give other bytes.
const LAYER_FORMAT: u32 = 1;

/// Builds the image of `plan` from `lock` into `output_dir`.
pub fn build(
    session: &Session,
    plan: &ImagePlan,
    lock: &Lock,
    firstboot: Option<&Path>,
    output_dir: &Path,
) -> Result<Report> {
    let started = Instant::now();
    let mut timer = Timer::default();
    let epoch = determinism::source_date_epoch()?;
    let publication = publish::Publication::begin(output_dir)?;
    let builder = Builder { session, plan, lock, firstboot, epoch, scratch: session.store.scratch()? };

    // 1. Every byte into the store, verified.
    let fetched = timer.step("fetch", || session.fetcher()?.fetch_all(&requests(session, plan, lock)?))?;

    // 2. The base and the layers, each from the store when nothing that decides it has changed.
    let mut layers = timer.step("layers", || builder.layers())?;

    // 3. One tree. Units are enabled, and the image described, in a last layer of its own.
    let (tree, last) = timer.step("tree", || builder.merge(&layers))?;
    layers.push(last);

    // 4. The outputs, complete before any of them is visible.
    let work = Scratch::new(output_dir)?;
    let image = Image {
        plan,
        tree: &tree,
        layers: &layers,
        identity: identity(plan, &layers, epoch)?,
        epoch,
        store: &session.store,
        scratch: work.path(),
        progress: &session.progress,
        parts: Parts::default(),
    };
    let files = outputs::write(&image, publication.folder(), &mut timer)?;
    let locked = Locked { artifacts: &lock.artifacts, packages: &lock.packages };
    let sums = timer.step("manifest", || provenance::write(&image, locked, files, publication.folder()))?;
    let identity = image.identity;

    // 5. Final names.
    let outputs = timer.step("publish", || publication.finish())?;
    Ok(Report::new(plan, identity, layers, &fetched, sums, outputs, timer, started.elapsed()))
}

/// What must be in the store before a build of `plan` can go on without a network.
pub fn requests(session: &Session, plan: &ImagePlan, lock: &Lock) -> Result<Vec<Request>> {
    let artifacts = lock.artifacts.iter().map(|pin| Request {
        title: format!("{} {}", pin.name, pin.version),
        urls: vec![pin.url.clone()],
        digest: pin.sha256,
        size: pin.size,
        absent: None,
    });
    let mut requests: Vec<Request> = artifacts.collect();
    for image in &plan.preload {
        if let PreloadOrigin::Url(url) = &image.origin {
            let (title, urls) = (image.reference.clone(), vec![url.clone()]);
            requests.push(Request { title, urls, digest: image.sha256, size: None, absent: None });
        }
    }
    // A mirror is needed only for what is missing: a full store builds on a machine that knows none.
    let missing = lock.packages.iter().any(|package| !session.store.contains(&package.sha256));
    if missing {
        let mirrors = session.debian_mirrors()?;
        for package in &lock.packages {
            let url = base::debian::url(&mirrors, package)?;
            requests.push(Request {
                title: format!("{} {}", package.name, package.version),
                absent: Some(base::debian::gone(package, &url)),
                urls: vec![url],
                digest: package.sha256,
                size: Some(package.size),
            });
        }
    }
    Ok(requests)
}

/// What decides every identifier on the disk.
fn identity(plan: &ImagePlan, layers: &[PackedLayer], epoch: u64) -> Result<Digest> {
    let diff_ids: Vec<&Digest> = layers.iter().map(|layer| &layer.diff_id).collect();
    hash(&(&plan.name, plan.arch, &plan.kernel_arguments, &plan.disk, diff_ids, epoch))
}

fn hash(value: &impl Serialize) -> Result<Digest> {
    let bytes = serde_json::to_vec(value)
        .map_err(|error| Error::new(ErrorKind::Internal, format!("hashing: {error}")))?;
    Ok(Digest::of(&bytes))
}

struct Builder<'a> {
    session: &'a Session,
    plan: &'a ImagePlan,
    lock: &'a Lock,
    firstboot: Option<&'a Path>,
    epoch: u64,
    scratch: Scratch,
}

impl Builder<'_> {
    /// The base and the definition's layers, the base first. The base is one long single-threaded job, so the layers are packed beside it.
    fn layers(&self) -> Result<Vec<PackedLayer>> {
        std::thread::scope(|scope| {
            let base = scope.spawn(|| self.base());
            let layers: Result<Vec<PackedLayer>> =
                self.plan.layers.iter().map(|layer| self.layer(layer)).collect();
            let base = base
                .join()
                .map_err(|_| Error::new(ErrorKind::Internal, "the thread that builds the base panicked"))?;
            let mut all = vec![base?];
            all.extend(layers?);
            Ok(all)
        })
    }

    fn base(&self) -> Result<PackedLayer> {
        let (base, arch) = (&self.plan.base, self.plan.arch);
        let key = base::debian::key(base, arch, &self.lock.packages, self.epoch);
        layer::pack::pack_with(&self.session.store, &base.suite, key, self.epoch, || {
            let blob = |package: &LockedPackage| self.session.store.blob(&package.sha256);
            let build = base::debian::Build {
                base,
                arch,
                packages: &self.lock.packages,
                blob: &blob,
                epoch: self.epoch,
            };
            let spool = self.scratch.path().join("base.tar");
            base::debian::build(&build, &self.session.progress, |tar| {
                Ok(base::debian::finish(tree_from_stream(tar, &spool, ReadPolicy::Base)?))
            })
        })
        .map_err(|error| error.context("building the base"))
    }

    fn layer(&self, layer: &LayerPlan) -> Result<PackedLayer> {
        let inputs = layer
            .artifacts
            .iter()
            .map(|artifact| self.input(layer, artifact))
            .collect::<Result<Vec<_>>>()?;
        let digests: Vec<&Digest> = inputs.iter().map(|(digest, _)| digest).collect();
        let key = hash(&(LAYER_FORMAT, layer, digests, self.epoch))?;
        layer::pack::pack_with(&self.session.store, &layer.name, key, self.epoch, || {
            let _step = self.session.progress.step(&format!("layer {}", layer.name));
            let blob = |artifact: &ArtifactPlan| {
                let position = layer.artifacts.iter().position(|other| other.name == artifact.name);
                position
                    .map(|index| inputs[index].1.clone())
                    .ok_or_else(|| Error::new(ErrorKind::Internal, "an artifact of another layer"))
            };
            let spool = self.scratch.path().join(&layer.name);
            fs::create_dir(&spool).at("creating", &spool)?;
            layer::assemble::assemble(layer, &blob, &spool)
        })
        .map_err(|error| error.context(format!("the layer \"{}\"", layer.name)))
    }

    /// The digest and the file of an artifact.
    fn input(&self, layer: &LayerPlan, artifact: &ArtifactPlan) -> Result<(Digest, PathBuf)> {
        let store = &self.session.store;
        match &artifact.origin {
            Origin::Url { .. } => {
                let pin = self
                    .lock
                    .artifact(&layer.name, &artifact.name)
                    .ok_or_else(|| unlocked(&artifact.name))?;
                Ok((pin.sha256, store.blob(&pin.sha256)))
            }
            Origin::Package { name } => {
                let pin = self.extracted(name)?;
                Ok((pin.sha256, store.blob(&pin.sha256)))
            }
            Origin::Program { name } => {
                let path = session::program(name, self.firstboot)?;
                Ok((Digest::of_file(&path)?, path))
            }
        }
    }

    fn extracted(&self, name: &str) -> Result<&LockedPackage> {
        self.lock
            .packages
            .iter()
            .find(|package| package.name == name && !package.install)
            .ok_or_else(|| unlocked(name))
    }

    /// The merged tree, and the layer with the links and the description that only the whole image decides.
    fn merge(&self, layers: &[PackedLayer]) -> Result<(Tree, PackedLayer)> {
        let trees = layers
            .iter()
            .map(|layer| layer::read::read_tree(&layer.tar))
            .collect::<Result<Vec<Tree>>>()?;
        let no_replaces: &[String] = &[];
        let replaces = |index: usize| {
            index.checked_sub(1).map_or(no_replaces, |index| &self.plan.layers[index].replaces)
        };
        let below: Vec<merge::Layer<'_>> = layers
            .iter()
            .zip(&trees)
            .enumerate()
            .map(|(index, (layer, tree))| merge::Layer { name: &layer.name, tree, replaces: replaces(index) })
            .collect();
        let merged = merge::merge(&below)?;

        let enable: Vec<String> = self.plan.layers.iter().flat_map(|layer| layer.enable.clone()).collect();
        let mask: Vec<String> = self.plan.layers.iter().flat_map(|layer| layer.mask.clone()).collect();
        let mut top = units::enable(&merged.tree, &enable, &mask)?;
        image_layer::describe(&mut top, self.plan, self.lock, layers)?;
        image_layer::believe(&mut top, self.plan)?;
        image_layer::preload(&mut top, self.plan, &self.session.store, self.scratch.path())?;
        let replaced = image_layer::replaced(&merged.tree, &mut top);

        let key = hash(&(LAYER_FORMAT, "image", image_layer::key(&top)?, self.epoch))?;
        let last = layer::pack::pack(&self.session.store, "image", key, &top, self.epoch)?;
        let below = merge::Layer { name: "the layers", tree: &merged.tree, replaces: no_replaces };
        let top = layer::read::read_tree(&last.tar)?;
        let all = merge::merge(&[below, merge::Layer { name: "image", tree: &top, replaces: &replaced }])?;
        Ok((all.tree, last))
    }
}

fn unlocked(name: &str) -> Error {
    Error::new(ErrorKind::Lock, format!("{name} is not in the lock")).help("run kiln lock")
}
