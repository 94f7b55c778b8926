//! The base and the layers of a definition, packed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::session::Session;
use crate::base::{self, Content, Job};
use crate::definition::plan::{ArtifactPlan, ImagePlan, LayerPlan, Origin};
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::layer::{self, PackedLayer};
use crate::lock::Lock;
use crate::output;
use crate::store::{Key, Store};
use crate::threads::{self, Starter};

/// Raise it when the same inputs come to give other bytes.
const FORMAT: u32 = 3;

/// Everything that decides the bytes of a layer.
#[derive(Serialize)]
struct Inputs<'a> {
    layer: &'a LayerPlan,
    artifacts: Vec<&'a Digest>,
    epoch: u64,
}

/// The bytes of an artifact.
enum Input {
    /// In the store.
    Blob(Digest),
    /// A program of this release, with its digest.
    Program(Digest, PathBuf),
}

impl Input {
    fn digest(&self) -> &Digest {
        let (Self::Blob(digest) | Self::Program(digest, _)) = self;
        digest
    }

    /// The file, verified.
    fn path(&self, store: &Store) -> Result<PathBuf> {
        match self {
            Self::Blob(digest) => store.verified(digest),
            Self::Program(_, path) => Ok(path.clone()),
        }
    }
}

/// A build until there is a tree.
pub(super) struct Builder<'a> {
    pub session: &'a Session,
    pub plan: &'a ImagePlan,
    pub lock: &'a Lock,
    /// The programs of this release that the layers ask for, by name.
    pub programs: BTreeMap<String, PathBuf>,
    pub epoch: u64,
    pub scratch: &'a Path,
}

impl Builder<'_> {
    /// The base, and the definition's layers. The base takes longest, and is single-threaded but for its
    /// beginning: from then on the layers are packed at the same time, and prepared for the outputs.
    pub(super) fn contents(&self) -> Result<(Content, Vec<PackedLayer>)> {
        std::thread::scope(|scope| {
            let (starter, start) = threads::starter();
            let base = scope.spawn(move || self.base(&starter));
            start.wait();
            let layers = self.layers();
            let base = base
                .join()
                .map_err(|_| Error::new(ErrorKind::Internal, "the thread that builds the base panicked"))?;
            Ok((base?, layers?))
        })
    }

    fn layers(&self) -> Result<Vec<PackedLayer>> {
        let layers: Vec<PackedLayer> =
            self.plan.layers.iter().map(|layer| self.layer(layer)).collect::<Result<_>>()?;
        for name in &self.plan.outputs {
            let writer = output::configured(name, self.plan.output_options.get(name))?;
            layers.iter().try_for_each(|layer| writer.prepare(layer, &self.session.store))?;
        }
        Ok(layers)
    }

    fn base(&self, layers: &Starter) -> Result<Content> {
        let job = Job {
            plan: &self.plan.base,
            arch: self.plan.arch,
            epoch: self.epoch,
            store: &self.session.store,
            scratch: self.scratch,
            progress: &self.session.progress,
            layers,
        };
        base::of(job.plan)?
            .assemble(&self.lock.base, &job)
            .map_err(|error| error.context("building the base"))
    }

    fn layer(&self, layer: &LayerPlan) -> Result<PackedLayer> {
        let inputs = layer
            .artifacts
            .iter()
            .map(|artifact| self.input(layer, artifact))
            .collect::<Result<Vec<_>>>()?;
        let artifacts = inputs.iter().map(Input::digest).collect();
        let key = Key::new("layer", FORMAT, &Inputs { layer, artifacts, epoch: self.epoch }, &[])?;
        layer::pack::pack_with(&self.session.store, &layer.name, key, self.epoch, || {
            let _step = self.session.progress.step(&format!("layer {}", layer.name));
            let blob = |artifact: &ArtifactPlan| {
                let position = layer.artifacts.iter().position(|other| other.name == artifact.name);
                position
                    .ok_or_else(|| Error::new(ErrorKind::Internal, "an artifact of another layer"))
                    .and_then(|index| inputs[index].path(&self.session.store))
            };
            let spool = self.scratch.join(&layer.name);
            fs::create_dir(&spool).at("creating", &spool)?;
            layer::assemble::assemble(layer, &blob, &spool)
        })
        .map_err(|error| error.context(format!("the layer \"{}\"", layer.name)))
    }

    fn input(&self, layer: &LayerPlan, artifact: &ArtifactPlan) -> Result<Input> {
        match &artifact.origin {
            Origin::Url { .. } => {
                let pin = self
                    .lock
                    .artifact(&layer.name, &artifact.name)
                    .ok_or_else(|| unlocked(&artifact.name))?;
                Ok(Input::Blob(pin.sha256))
            }
            Origin::Package { name } => {
                self.lock.base.extracted(name).copied().map(Input::Blob).ok_or_else(|| unlocked(name))
            }
            Origin::Program { name } => {
                let missing = || Error::new(ErrorKind::Internal, "a program that nobody looked for");
                let path = self.programs.get(name).ok_or_else(missing)?;
                Ok(Input::Program(Digest::of_file(path)?, path.clone()))
            }
        }
    }
}

fn unlocked(name: &str) -> Error {
    Error::new(ErrorKind::Lock, format!("{name} is not in the lock")).help("run kiln lock")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::packages::{LockedPackages, Selection};
    use crate::base::{BaseRequest, LockedBase, Options};
    use crate::cli::FetchOptions;
    use crate::definition::plan::BasePlan;
    use crate::lock::LockedArtifact;
    use crate::progress::Progress;
    use crate::registry;

    const GOOD: &[u8] = b"good program";
    const EVIL: &[u8] = b"EVIL PROGRAM";

    /// A checkout with one layer of one artifact, and a session with a store beside it.
    fn lay_out(root: &Path) -> (ImagePlan, Lock) {
        let image = "schema = 1\nname = 'x'\narch = 'amd64'\nkubernetes = '1.36.4'\nruntime = 'tool'\nlayers = ['tool']\n\
             outputs = ['raw']\n[base]\ndistribution = 'debian'\nsuite = 'trixie'\n";
        let url = "https://upstream.invalid/tool";
        let digest = Digest::of(GOOD);
        let layer = format!(
            "schema = 1\nsummary = 'x'\nprovides = ['container-runtime']\n[[artifact]]\nname = 'tool'\nversion = '1'\n\
             url = '{url}'\nsha256 = '{digest}'\npath = '/usr/bin/tool'\n"
        );
        for folder in ["images", "layers/tool"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        fs::write(root.join("images/x.toml"), image).unwrap();
        fs::write(root.join("layers/tool/layer.toml"), layer).unwrap();
        let plan = registry::load(&root.join("images/x.toml"), &[], None).unwrap().plan;
        let BasePlan::Packages(packages) = &plan.base else { panic!("a base of packages") };
        let selection = Selection::of(&BaseRequest::of(&plan), packages);
        let base = LockedBase::Packages(LockedPackages { selection, packages: Vec::new() });
        let artifact = LockedArtifact {
            layer: "tool".to_owned(),
            name: "tool".to_owned(),
            version: "1".to_owned(),
            url: url.to_owned(),
            checksum: None,
            signer: None,
            size: None,
            sha256: digest,
        };
        let lock = Lock {
            schema: 1,
            image: plan.name.clone(),
            arch: plan.arch,
            versions: plan.versions_to_keep(),
            base,
            artifacts: vec![artifact],
            preload: Vec::new(),
        };
        (plan, lock)
    }

    /// Packs the layer in a process of its own, as far as the store can tell.
    fn pack(root: &Path, plan: &ImagePlan, lock: &Lock) -> Result<PackedLayer> {
        let options = FetchOptions {
            offline: true,
            mirrors: Vec::new(),
            allow_unauthenticated_checksums: false,
            base: Options::default(),
            cache_dir: Some(root.join("store")),
        };
        let session = Session::open(&options, Progress::silent())?;
        let scratch = session.store.scratch()?;
        let builder = Builder {
            session: &session,
            plan,
            lock,
            programs: BTreeMap::new(),
            epoch: 0,
            scratch: scratch.path(),
        };
        builder.layer(&plan.layers[0])
    }

    /// Other bytes of the same length in a read-only file.
    fn replace(path: &Path, from: &[u8], to: &[u8]) {
        let bytes = fs::read(path).unwrap();
        let at = bytes.windows(from.len()).position(|window| window == from).unwrap();
        let changed = [&bytes[..at], to, &bytes[at + from.len()..]].concat();
        fs::remove_file(path).unwrap();
        fs::write(path, changed).unwrap();
    }

    #[test]
    fn a_changed_download_does_not_come_into_a_layer() {
        let root = tempfile::tempdir().unwrap();
        let (plan, lock) = lay_out(root.path());
        let store = Store::open(&root.path().join("store")).unwrap();
        store.insert(&mut &GOOD[..], None).unwrap();
        let blob = store.blob(&Digest::of(GOOD));
        replace(&blob, GOOD, EVIL);
        let error = pack(root.path(), &plan, &lock).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Verification);
        assert!(error.message().contains(&blob.display().to_string()), "{error}");
        replace(&blob, EVIL, GOOD);
        assert!(!pack(root.path(), &plan, &lock).unwrap().cached);
    }

    #[test]
    fn a_changed_layer_does_not_come_into_an_image() {
        let root = tempfile::tempdir().unwrap();
        let (plan, lock) = lay_out(root.path());
        Store::open(&root.path().join("store")).unwrap().insert(&mut &GOOD[..], None).unwrap();
        let tar = pack(root.path(), &plan, &lock).unwrap().tar;
        replace(&tar, GOOD, EVIL);
        let error = pack(root.path(), &plan, &lock).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Verification);
        assert!(error.message().contains(&tar.display().to_string()), "{error}");
        replace(&tar, EVIL, GOOD);
        assert!(pack(root.path(), &plan, &lock).unwrap().cached);
    }
}
