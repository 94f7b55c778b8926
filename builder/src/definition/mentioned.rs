//! The variables that a definition and its layers name. A key of `[versions]` that none of them names would
//! change nothing, however it is spelled.

use std::collections::BTreeSet;

use super::compose::Composition;
use super::condition::{self, When};
use super::image_spec::{ImageSpec, PreloadSpec};
use super::interpolate::{self, Variables};
use super::layer::Layer;
use super::layer_folder;
use super::source::{error_in, suggestion};
use crate::at;
use crate::error::Result;

/// Variables that are not of `[versions]`; `url` exists for checksums alone.
pub(super) const FIXED: [&str; 12] = [
    "name",
    "arch",
    "distribution",
    "suite",
    "kubernetes",
    "kubernetes-minor",
    "runtime",
    "cri-socket",
    "runtime-service",
    "windows",
    "windows-build",
    "url",
];

/// Where an image names variables.
pub(super) struct Used<'a> {
    pub image: &'a ImageSpec,
    pub layers: &'a [Layer],
    /// Texts that the definition stands for, without having them.
    pub texts: Vec<String>,
}

impl Used<'_> {
    /// The names of the variables that the conditions of the layers compare, but for those conditions that
    /// anything else than versions rules out: of containerd's in an image with CRI-O.
    pub fn in_conditions(&self, variables: &Variables) -> BTreeSet<String> {
        let fixed = variables.iter().filter(|(name, _)| FIXED.contains(&name.as_str()));
        let fixed: Variables = fixed.map(|(name, value)| (name.clone(), value.clone())).collect();
        let whens = self.layers.iter().flat_map(conditions);
        let open = whens.filter(|when| condition::holds(when, &fixed) != Ok(false));
        open.flat_map(|when| when.keys().cloned()).collect()
    }

    /// The names of the variables in the image and in the steps of its layers that apply, as far as
    /// `variables` decide that.
    pub fn by(&self, variables: &Variables) -> BTreeSet<String> {
        self.names(self.in_conditions(variables), &|when| condition::holds(when, variables) != Ok(false))
    }

    /// The names of all variables in the image, and in those steps of its layers whose conditions `apply`,
    /// added to `names`.
    fn names(&self, mut names: BTreeSet<String>, apply: &dyn Fn(&When) -> bool) -> BTreeSet<String> {
        let image = self.image;
        let base = image.base.iter();
        let packages = base.clone().flat_map(|base| base.packages.iter().flatten());
        let files = base.flat_map(|base| [&base.rootfs, &base.checksum, &base.signature, &base.keyring]);
        let arguments = image.kernel_arguments.iter().flatten();
        let layer_names = image.layers.iter().flatten();
        let preload = image.preload.iter().flatten().flat_map(PreloadSpec::texts);
        let texts = packages.chain(files.flatten()).chain(arguments).chain(layer_names);
        let texts = texts.chain(preload).chain(&self.texts);
        names.extend(texts.flat_map(|text| names_in(text)));
        self.layers.iter().for_each(|layer| add(layer, apply, &mut names));
        names
    }
}

/// Refuses a key of `[versions]` that nothing uses, unless the layers were chosen over it: they may leave out
/// the one that it is for. One of `parts`, those of the compatibility table, is no slip of the pen: that it
/// changes nothing is a warning.
pub(super) fn check_versions(composed: &Composition, used: &Used<'_>, parts: &[&str]) -> Result<Vec<String>> {
    let used = used.names(used.in_conditions(&Variables::new()), &|_| true);
    let unused =
        |key: &&String| !used.contains(*key) && composed.goes_with("layers", &at!["versions", key.as_str()]);
    let unused = composed.file.versions.keys().filter(unused);
    let (known, unknown): (Vec<&String>, Vec<&String>) =
        unused.partition(|key| parts.contains(&key.as_str()));
    if let Some(key) = unknown.first() {
        let message = format!("nothing in this image uses ${{{key}}}");
        let known = used.iter().map(String::as_str).filter(|name| !FIXED.contains(name));
        let known: BTreeSet<&str> = known.chain(parts.iter().copied()).collect();
        return Err(error_in(&composed.sources, &at!["versions", key.as_str()], &message)
            .help(suggestion(key, known)));
    }
    let nothing = |key: &String| format!("versions.{key} changes nothing: no layer of this image uses it");
    Ok(known.into_iter().map(nothing).collect())
}

/// The names of the variables in a layer.
pub(super) fn in_layer(layer: &Layer) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = conditions(layer).flat_map(|when| when.keys().cloned()).collect();
    add(layer, &|_| true, &mut names);
    names
}

/// The conditions of all steps.
fn conditions(layer: &Layer) -> impl Iterator<Item = &When> {
    let file = &layer.file;
    let artifacts = file.artifact.iter().map(|step| &step.when);
    let files = file.file.iter().map(|step| &step.when);
    let folders = file.directory.iter().map(|step| &step.when);
    let links = file.link.iter().map(|step| &step.when);
    let values = file.registry.iter().map(|step| &step.when);
    let services = file.windows_service.iter().map(|step| &step.when);
    let rules = file.firewall.iter().map(|step| &step.when);
    let drivers = file.windows_driver.iter().map(|step| &step.when);
    artifacts
        .chain(files)
        .chain(folders)
        .chain(links)
        .chain(values)
        .chain(services)
        .chain(rules)
        .chain(drivers)
}

fn add(layer: &Layer, apply: &dyn Fn(&When) -> bool, names: &mut BTreeSet<String>) {
    let file = &layer.file;
    for artifact in file.artifact.iter().filter(|artifact| apply(&artifact.when)) {
        let texts = [&artifact.version, &artifact.url, &artifact.checksum].into_iter().flatten();
        let patterns = artifact.archive.iter().flat_map(|archive| &archive.pick);
        names.extend(texts.chain(patterns).flat_map(|text| names_in(text)));
    }
    for entry in file.file.iter().filter(|entry| entry.interpolate && apply(&entry.when)) {
        names.extend(entry.content.iter().flat_map(|text| names_in(text)));
        // A file that cannot be read is told when its step is resolved.
        let source = entry.source.iter().filter_map(|name| layer_folder::read(&layer.folder, name).ok());
        source.for_each(|bytes| names.extend(names_in(&String::from_utf8_lossy(&bytes))));
    }
    let links = file.link.iter().filter(|link| apply(&link.when));
    names.extend(links.flat_map(|link| names_in(&link.target)));
    let values = file.registry.iter().filter(|value| apply(&value.when));
    names.extend(values.flat_map(|value| value.texts().into_iter().flat_map(names_in)));
    let services = file.windows_service.iter().filter(|service| apply(&service.when));
    names.extend(services.flat_map(|service| names_in(&service.command)));
    let drivers = file.windows_driver.iter().filter(|driver| apply(&driver.when));
    names.extend(drivers.flat_map(|driver| names_in(&driver.inf)));
    names.extend(file.environment.values().chain(&file.path).flat_map(|text| names_in(text)));
}

fn names_in(text: &str) -> Vec<String> {
    interpolate::names(text).map(str::to_owned).collect()
}
