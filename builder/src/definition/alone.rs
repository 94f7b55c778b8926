//! A layer without an image: every step is resolved, whatever its conditions say.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use contract::suggest::nearest;

use super::condition::When;
use super::interpolate::{Variables, names};
use super::layer::Layer;
use super::mentioned::{self, FIXED};
use super::plan::{ArtifactPlan, DirectoryPlan, FilePlan, LinkPlan};
use super::registry::Registry;
use super::resolve_layer::{resolve_artifact, resolve_directory, resolve_file, resolve_link, unit_names};
use super::resolve_windows;
use super::source::Step;
use super::value::Name;
use crate::at;
use crate::error::{Error, ErrorKind, Result};

/// A layer with all of its steps. Lists have the numbers that the steps have in its definition.
pub struct LayerAlone {
    /// The artifacts.
    pub artifacts: BTreeMap<usize, ArtifactPlan>,
    /// The files.
    pub files: BTreeMap<usize, FilePlan>,
    /// The folders.
    pub directories: BTreeMap<usize, DirectoryPlan>,
    /// The links.
    pub links: BTreeMap<usize, LinkPlan>,
    /// Units to enable.
    pub enable: Vec<String>,
    /// Whether it is for Windows.
    pub is_for_windows: bool,
    /// What is wrong with single steps.
    pub errors: Vec<Error>,
    layer: Layer,
}

impl LayerAlone {
    /// Reads the layer in `folder`.
    ///
    /// # Errors
    /// If its definition cannot be read. What is wrong with one step only is in [`LayerAlone::errors`].
    pub fn read(folder: &Path, registry: &dyn Registry) -> Result<Self> {
        let layer = Layer::read(folder.to_owned(), registry)?;
        let variables = placeholders(&layer);
        let mut errors = Vec::from_iter(wrong_name(&layer.name));
        errors.extend(misspelled(&layer));
        let file = &layer.file;
        let check = |section, index, when: &When| layer.applies(section, index, when, &variables);
        let artifacts = resolved(&file.artifact, &mut errors, |index, step| {
            check("artifact", index, &step.when)?;
            resolve_artifact(&layer, index, step, &variables)
        });
        let files = resolved(&file.file, &mut errors, |index, step| {
            check("file", index, &step.when)?;
            resolve_file(&layer, index, step, &variables)
        });
        let directories = resolved(&file.directory, &mut errors, |index, step| {
            check("directory", index, &step.when).map(|_| resolve_directory(step))
        });
        let links = resolved(&file.link, &mut errors, |index, step| {
            check("link", index, &step.when)?;
            resolve_link(&layer, index, step, &variables)
        });
        for (key, names) in [("enable", &file.units.enable), ("mask", &file.units.mask)] {
            errors.extend(unit_names(&layer, key, names).err());
        }
        errors.extend(resolve_windows::check_alone(&layer, &variables));
        let enable = file.units.enable.clone();
        let is_for_windows = layer.is_for_windows();
        Ok(Self { artifacts, files, directories, links, enable, is_for_windows, errors, layer })
    }

    /// The description in one line.
    pub fn summary(&self) -> &str {
        &self.layer.file.summary
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.layer.folder
    }

    /// The files of its folder that steps name.
    pub fn sources(&self) -> BTreeSet<PathBuf> {
        let file = &self.layer.file;
        let sources = file.file.iter().filter_map(|step| step.source.as_ref());
        let signatures = file.artifact.iter().filter_map(|step| step.signature.as_ref());
        let keyrings = signatures.filter_map(|signature| signature.keyring.as_ref());
        sources.chain(keyrings).map(|name| self.layer.folder.join(name)).collect()
    }

    /// An error about the value at `path`.
    pub fn error(&self, path: &[Step], message: &str) -> Error {
        self.layer.source.error_at(path, message)
    }
}

/// Each step that is right, by its number.
fn resolved<S, P>(
    steps: &[S],
    errors: &mut Vec<Error>,
    resolve: impl Fn(usize, &S) -> Result<P>,
) -> BTreeMap<usize, P> {
    let mut plans = BTreeMap::new();
    for (index, step) in steps.iter().enumerate() {
        match resolve(index, step) {
            Ok(plan) => drop(plans.insert(index, plan)),
            Err(error) => errors.push(error),
        }
    }
    plans
}

fn wrong_name(name: &str) -> Option<Error> {
    let why = Name::try_from(name.to_owned()).err()?;
    let (message, help) = why.split_once('\n').unwrap_or((&why, "rename the folder"));
    Some(Error::new(ErrorKind::Definition, format!("the layer's folder: {message}")).help(help))
}

/// Values of the variables that the layer names; an image gives them others.
fn placeholders(layer: &Layer) -> Variables {
    let value = |name: &str| match name {
        "arch" => "amd64",
        "runtime" => "containerd",
        "cri-socket" => "unix:///run/containerd/containerd.sock",
        "runtime-service" => "containerd.service",
        "kubernetes-minor" => "1.36",
        "distribution" | "name" | "suite" => "any",
        "windows" => "2022",
        "windows-build" => "20348",
        _ => "1.36.0",
    };
    mentioned::in_layer(layer)
        .into_iter()
        .map(|name| (name.clone(), value(&name).to_owned()))
        .collect()
}

/// An image may set a version of any name, so that a wrong name shows only by its likeness to a variable that
/// every image has. A name that stands for an artifact's version is right.
fn misspelled(layer: &Layer) -> Vec<Error> {
    let versions: Vec<&str> =
        layer.file.artifact.iter().filter_map(|artifact| artifact.version.as_deref()).collect();
    let is_version = |name: &str| versions.iter().any(|version| names(version).any(|used| used == name));
    let names = mentioned::in_layer(layer).into_iter().filter(|name| !is_version(name));
    let wrong = names.filter_map(|name| Some((name.clone(), nearest(&name, FIXED)?)));
    wrong
        .filter(|(name, meant)| name != meant)
        .map(|(name, meant)| {
            let message = format!("unknown variable ${{{name}}}");
            layer.source.error_at(&at![], &message).help(format!("did you mean \"{meant}\"?"))
        })
        .collect()
}
