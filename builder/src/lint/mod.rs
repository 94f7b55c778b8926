//! What is probably wrong with a layer, found without an image: `kiln layer check`.

mod content;
mod place;
mod start;
mod systemd;
mod unit_file;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::{Path, PathBuf};

use contract::suggest::nearest;

use crate::at;
use crate::definition::alone::LayerAlone;
use crate::definition::plan::{FilePlan, Place};
use crate::definition::registry::Registry;
use crate::definition::windows::names;
use crate::error::{Error, ErrorKind, IoContext, Result};

pub use start::{System, start};
pub use systemd::Verifier;

/// Files of a layer's folder that are about the layer.
const ABOUT: [&str; 3] = ["layer.toml", "README.md", "LICENSE"];

/// A mistake in a layer: a message, and what to do.
pub type Finding = (String, String);

/// Everything that is probably wrong with the layer in `folder`.
///
/// # Errors
/// If there is no layer, or its folder cannot be read.
pub fn check(folder: &Path, registry: &dyn Registry, verifier: Verifier) -> Result<Vec<Error>> {
    let folder = folder.canonicalize().at("reading", folder)?;
    if !folder.join("layer.toml").is_file() {
        let message = format!("{} is no layer: it has no layer.toml", folder.display());
        return Err(Error::new(ErrorKind::Definition, message)
            .help("name the folder of a layer; kiln layer new NAME starts one"));
    }
    let mut layer = match LayerAlone::read(&folder, registry) {
        Ok(layer) => layer,
        Err(error) => return Ok(vec![error]),
    };
    let mut errors = std::mem::take(&mut layer.errors);
    errors.extend(summary(&layer));
    errors.extend(readme(&folder));
    errors.extend(unused(&layer)?);
    errors.extend(places(&layer));
    if layer.is_for_windows {
        errors.extend(layer.files.iter().flat_map(|(index, file)| {
            let found = content::check_on_windows(file).into_iter();
            found.map(|finding| at_file(&layer, *index, finding)).collect::<Vec<_>>()
        }));
        return Ok(errors);
    }
    errors.extend(folders(&layer));
    errors.extend(enabled(&layer));
    for (index, file) in &layer.files {
        let found = content::check(file).into_iter();
        errors.extend(found.map(|finding| at_file(&layer, *index, finding)));
    }
    let units = layer.files.iter().filter(|(_, file)| unit_file::is_one(&file.path));
    let found = verifier.verify(units.map(|(index, file)| (*index, file)))?.into_iter();
    errors.extend(found.map(|(index, finding)| at_file(&layer, index, finding)));
    Ok(errors)
}

fn at_file(layer: &LayerAlone, index: usize, (message, help): Finding) -> Error {
    let path = layer.files.get(&index).map_or("", |file: &FilePlan| file.path.as_str());
    let shown = if layer.is_for_windows { names::shown(path) } else { format!("/{path}") };
    layer.error(&at!["file", index, "path"], &format!("{shown}: {message}")).help(help)
}

fn summary(layer: &LayerAlone) -> Option<Error> {
    let text = layer.summary();
    (text.trim().is_empty() || text.contains('\n')).then(|| {
        layer
            .error(&at!["summary"], "the summary is not one line")
            .help("say in one line what the layer adds: kiln plan shows it")
    })
}

fn readme(folder: &Path) -> Option<Error> {
    let path = folder.join("README.md");
    let text = if path.is_file() { fs::read_to_string(&path).unwrap_or_default() } else { String::new() };
    text.trim().is_empty().then(|| {
        Error::new(ErrorKind::Definition, format!("{} is missing or empty", path.display()))
            .help("say there what the layer does, what it provides, and what can be set")
    })
}

/// Files of the folder that no step takes.
fn unused(layer: &LayerAlone) -> Result<Vec<Error>> {
    let used = layer.sources();
    let mut errors = Vec::new();
    for path in files_below(layer.folder())? {
        let shown = path.strip_prefix(layer.folder()).unwrap_or(&path).display();
        if !used.contains(&path) && !ABOUT.contains(&shown.to_string().as_str()) {
            let message = format!("{}: no step takes this file", path.display());
            let help = format!("remove it, or add a [[file]] with source = \"{shown}\"");
            errors.push(Error::new(ErrorKind::Definition, message).help(help));
        }
    }
    Ok(errors)
}

/// All files below `folder`, in order. Links are not followed.
fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).at("reading", folder)? {
        let entry = entry.at("reading", folder)?;
        if entry.file_type().at("reading", entry.path())?.is_dir() {
            files.extend(files_below(&entry.path())?);
        } else {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

/// Steps that write to where nobody will find it.
fn places(layer: &LayerAlone) -> Vec<Error> {
    let artifacts = layer.artifacts.iter().flat_map(|(index, artifact)| match &artifact.place {
        Place::File { path, .. } => vec![("artifact", *index, path.clone())],
        Place::Archive(rules) if !rules.into.is_empty() => vec![("artifact", *index, rules.into.clone())],
        Place::Archive(rules) => rules.pick.iter().map(|path| ("artifact", *index, path.clone())).collect(),
    });
    let files = layer.files.iter().map(|(index, file)| ("file", *index, file.path.clone()));
    let folders = layer.directories.iter().map(|(index, folder)| ("directory", *index, folder.path.clone()));
    let links = layer.links.iter().map(|(index, link)| ("link", *index, link.path.clone()));
    let places = artifacts.chain(files).chain(folders).chain(links);
    places
        .filter_map(|(section, index, path)| {
            let (shown, (message, help)) = match layer.is_for_windows {
                true => (names::shown(&path), place::check_on_windows(&path)?),
                false => (format!("/{path}"), place::check(&path, section == "directory")?),
            };
            Some(layer.error(&at![section, index], &format!("{shown}: {message}")).help(help))
        })
        .collect()
}

fn folders(layer: &LayerAlone) -> Vec<Error> {
    let wrong = layer.directories.iter().filter_map(|(index, folder)| {
        let (message, help) = if folder.mode & 0o1002 == 0o002 {
            ("every user may remove what others have there", "write mode = \"1777\", or \"0755\"")
        } else if folder.mode & 0o111 == 0 {
            ("nobody can enter it", "write mode = \"0755\", or \"0700\" for root alone")
        } else {
            return None;
        };
        let message = format!("/{}, mode {:04o}: {message}", folder.path, folder.mode);
        Some(layer.error(&at!["directory", *index], &message).help(help))
    });
    wrong.collect()
}

/// Units of the layer itself that cannot be enabled, and those that are meant but not named.
fn enabled(layer: &LayerAlone) -> Vec<Error> {
    let own: Vec<(&str, &FilePlan)> = layer
        .files
        .values()
        .filter_map(|file| Some((unit_file::name(&file.path)?, file)))
        .collect();
    let mut errors = Vec::new();
    for (index, unit) in layer.enable.iter().enumerate() {
        let place = at!["units", "enable", index];
        match own.iter().find(|(name, _)| name == unit) {
            Some((_, file)) if !unit_file::can_be_enabled(file) => errors.push(
                layer
                    .error(&place, &format!("{unit} cannot be enabled: it has no [Install] section"))
                    .help("add [Install] with WantedBy=multi-user.target, or do not enable it"),
            ),
            Some(_) => {}
            // It may be of a package or of another layer.
            None => errors.extend(nearest(unit, own.iter().map(|(name, _)| *name)).map(|meant| {
                layer
                    .error(&place, &format!("this layer has no unit {unit}"))
                    .help(format!("did you mean \"{meant}\"?"))
            })),
        }
    }
    errors
}
