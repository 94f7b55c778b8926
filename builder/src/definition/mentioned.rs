//! The variables that a definition and its layers name. A key of `[versions]` that none of them names would
//! change nothing, however it is spelled.

use std::collections::BTreeSet;

use super::compose::Composition;
use super::image_spec::ImageSpec;
use super::interpolate;
use super::layer_folder;
use super::resolve_layer::Layer;
use super::source::{error_in, suggestion};
use crate::at;
use crate::error::Result;

/// Variables that are not of `[versions]`; `url` exists for checksums alone.
const FIXED: [&str; 8] =
    ["name", "arch", "distribution", "suite", "kubernetes", "kubernetes-minor", "runtime", "url"];

/// Refuses a key of `[versions]` that nothing uses, unless the layers were chosen over it: they may leave out
/// the one that it is for.
pub(super) fn check_versions(composed: &Composition, layers: &[Layer]) -> Result<()> {
    let used = variables(&composed.file, layers);
    let unused =
        |key: &&String| !used.contains(*key) && composed.goes_with("layers", &at!["versions", key.as_str()]);
    let Some(key) = composed.file.versions.keys().find(unused) else { return Ok(()) };
    let message = format!("nothing in this image uses ${{{key}}}");
    let known: Vec<&str> = used.iter().map(String::as_str).filter(|name| !FIXED.contains(name)).collect();
    Err(error_in(&composed.sources, &at!["versions", key.as_str()], &message).help(suggestion(key, known)))
}

/// The names of all variables in `image` and `layers`, in steps whose conditions do not hold too.
fn variables(image: &ImageSpec, layers: &[Layer]) -> BTreeSet<String> {
    let base = image.base.iter();
    let packages = base.clone().flat_map(|base| base.packages.iter().flatten());
    let files = base.flat_map(|base| [&base.rootfs, &base.checksum, &base.signature, &base.keyring]);
    let arguments = image.kernel_arguments.iter().flatten();
    let mut names: BTreeSet<String> =
        packages.chain(files.flatten()).chain(arguments).flat_map(|text| names_in(text)).collect();
    layers.iter().for_each(|layer| add(layer, &mut names));
    names
}

fn add(layer: &Layer, names: &mut BTreeSet<String>) {
    let file = &layer.file;
    for artifact in &file.artifact {
        let texts = [&artifact.version, &artifact.url, &artifact.checksum].into_iter().flatten();
        let patterns = artifact.archive.iter().flat_map(|archive| &archive.pick);
        names.extend(texts.chain(patterns).flat_map(|text| names_in(text)));
        names.extend(artifact.when.keys().cloned());
    }
    for entry in &file.file {
        names.extend(entry.when.keys().cloned());
        if !entry.interpolate {
            continue;
        }
        names.extend(entry.content.iter().flat_map(|text| names_in(text)));
        // A file that cannot be read is told when its step is resolved.
        let source = entry.source.iter().filter_map(|name| layer_folder::read(&layer.folder, name).ok());
        source.for_each(|bytes| names.extend(names_in(&String::from_utf8_lossy(&bytes))));
    }
    for link in &file.link {
        names.extend(names_in(&link.target));
        names.extend(link.when.keys().cloned());
    }
    names.extend(file.directory.iter().flat_map(|folder| folder.when.keys().cloned()));
}

fn names_in(text: &str) -> Vec<String> {
    interpolate::names(text).map(str::to_owned).collect()
}
