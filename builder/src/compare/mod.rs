//! Compares two images: locks, manifests, and what is in finished images. Contents are compared by their
//! digests.
//!
//! A [`Side`] is what is known of an image. What only one of two sides knows is not compared, and told.

mod files;
mod folders;
mod html;
mod text;
mod windows;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::base::{LockedWindows, installed};
use crate::error::{Error, ErrorKind, Result};
use crate::lock::Lock;
use crate::lock::diff::{Change, Diff, Pins, changed_values};
use crate::provenance::Finished;
use crate::tree::{Tree, units};
use crate::verify::Subject;

pub use files::{Aspect, FileChange};
pub use folders::FolderSize;
pub use html::page;
pub use windows::{RegistryChange, WholeKey, WindowsComparison};

/// Where kernels have their modules; the folder's name is the version.
const MODULES: &str = "usr/lib/modules";

/// What is known of an image.
#[derive(Debug, Default)]
pub struct Side {
    /// Its name in messages.
    pub title: String,
    /// Whether files were to be expected of it: it is no lock.
    is_finished: bool,
    pins: Pins,
    /// Digests of layers, by name.
    layers: Option<BTreeMap<String, String>>,
    /// Digests and sizes of the files of outputs, by name.
    outputs: Option<BTreeMap<String, String>>,
    /// Words of the kernel's command lines.
    arguments: Option<Vec<String>>,
    tree: Option<Tree>,
    windows: Option<windows::Side>,
    /// Whether it is known to be of Windows.
    is_windows: bool,
}

/// Everything in which two images differ, of what is known of both.
#[derive(Debug, Serialize)]
pub struct Comparison {
    /// The one.
    pub old: String,
    /// The other.
    pub new: String,
    /// Packages, and what else is pinned.
    #[serde(flatten)]
    pub pins: Diff,
    /// Layers, by their contents.
    pub layers: Vec<Change>,
    /// Words of the kernel's command line.
    pub kernel_arguments: Vec<Change>,
    /// Units that are started, masked or have other names.
    pub units: Vec<Change>,
    /// What only Windows has.
    #[serde(flatten)]
    pub windows: WindowsComparison,
    /// Files, folders and links of the root file system.
    pub files: Vec<FileChange>,
    /// Folders whose size is another one.
    pub folders: Vec<FolderSize>,
    /// The files of the outputs.
    pub outputs: Vec<Change>,
    /// What only one of them tells.
    pub not_compared: Vec<NotCompared>,
}

/// Something that could not be compared.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct NotCompared {
    /// The list.
    pub what: &'static str,
    /// Why not.
    pub why: String,
}

impl Side {
    /// What a lock says.
    pub fn of_lock(title: String, lock: &Lock) -> Self {
        let is_windows = lock.base.is_windows();
        Self { title, pins: Pins::from(lock), is_windows, ..Self::default() }
    }

    /// What a manifest says.
    pub fn of_manifest(title: String, manifest: Finished) -> Self {
        let mut settings = BTreeMap::from([
            ("image".to_owned(), manifest.name),
            ("architecture".to_owned(), manifest.arch.name().to_owned()),
        ]);
        let mut arguments = None;
        if let Some(kernel) = manifest.kernel {
            settings.insert("kernel".to_owned(), kernel.version);
            arguments = Some(words([kernel.command_line.as_str()]));
        }
        settings.extend(manifest.windows.iter().flat_map(LockedWindows::settings));
        let layer = |layer: &crate::provenance::FinishedLayer| {
            (layer.name.clone(), format!("{:.19}, {} bytes", layer.diff_id.to_string(), layer.size))
        };
        let output = |sum: &crate::output::sums::Sum| {
            (sum.file.clone(), format!("{:.19}, {} bytes", sum.sha256.to_string(), sum.size))
        };
        // A base without packages says nothing of those that are in it.
        let packages = Some(&manifest.packages).filter(|packages| !packages.is_empty());
        Self {
            title,
            is_finished: true,
            is_windows: manifest.windows.is_some(),
            layers: Some(manifest.layers.iter().map(layer).collect()),
            outputs: Some(
                manifest.outputs.iter().filter(|sum| !sum.file.contains("/blobs/")).map(output).collect(),
            ),
            arguments,
            pins: Pins {
                settings,
                packages: packages.map(|all| all.iter().map(Into::into).collect()),
                artifacts: Some(manifest.artifacts),
                images: None,
            },
            ..Self::default()
        }
    }

    /// What is in an image.
    ///
    /// # Errors
    /// When the files of an image of Windows cannot be listed.
    pub fn of_image(title: String, subject: Subject) -> Result<Self> {
        Self { title, ..Self::default() }.with_image(subject)
    }

    /// Adds what is in the image.
    ///
    /// # Errors
    /// When the files of an image of Windows cannot be listed.
    pub fn with_image(mut self, subject: Subject) -> Result<Self> {
        let Subject { tree, command_lines, windows, .. } = subject;
        self.is_finished = true;
        if let Some(windows) = windows {
            let side = windows::Side::of(windows)?;
            self.pins.settings.extend(side.settings());
            self.windows = Some(side);
            self.is_windows = true;
            return Ok(self);
        }
        let settings = &mut self.pins.settings;
        settings.extend(tree.os_release("PRETTY_NAME").map(|name| ("system".to_owned(), name)));
        if let Some(kernel) = kernels(&tree) {
            settings.insert("kernel".to_owned(), kernel);
        }
        if self.pins.packages.is_none() {
            let installed = installed::packages(&tree);
            self.pins.packages = installed.map(|all| all.into_iter().map(Into::into).collect());
        }
        if !command_lines.is_empty() {
            self.arguments = Some(words(command_lines.iter().map(String::as_str)));
        }
        self.tree = Some(tree);
        Ok(self)
    }

    fn has_files(&self) -> bool {
        self.tree.is_some() || self.windows.is_some()
    }

    /// Whether it knows of packages that are not installed: a lock does.
    fn knows_more_than_installed(&self) -> bool {
        self.pins.packages.iter().flatten().any(|package| !package.is_installed)
    }
}

/// "6.12.1-amd64", or several, separated by blanks.
fn kernels(tree: &Tree) -> Option<String> {
    let versions: BTreeSet<&str> = tree
        .below(MODULES)
        .filter_map(|(path, _)| path[MODULES.len() + 1..].split('/').next())
        .collect();
    (!versions.is_empty()).then(|| versions.into_iter().collect::<Vec<_>>().join(" "))
}

/// Each word once.
fn words<'a>(lines: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in lines.into_iter().flat_map(str::split_whitespace) {
        if !words.iter().any(|known| known == word) {
            words.push(word.to_owned());
        }
    }
    words
}

/// Compares two images.
///
/// # Errors
/// When a file of one of them cannot be read; [`ErrorKind::Usage`] if one is of Linux and one of Windows.
pub fn compare(mut old: Side, mut new: Side) -> Result<Comparison> {
    check_systems(&old, &new)?;
    match_names(&mut old, &new);
    keep_common(&mut old, &mut new);
    let mut not_compared = not_compared(&old, &new);
    let units = |side: &Side| side.tree.as_ref().map(units::states);
    let (files, folders) = match (&old.tree, &new.tree) {
        (Some(old), Some(new)) => (files::changes(old, new)?, folders::changes(old, new)),
        _ => Default::default(),
    };
    let mut of_windows = WindowsComparison::default();
    let (files, folders) = match (&old.windows, &new.windows) {
        (Some(one), Some(other)) => {
            of_windows = windows::registry(one, other)?;
            not_compared.extend(windows::not_compared(one, other, [&old.title, &new.title]));
            windows::files(one, other)
        }
        _ => (files, folders),
    };
    let values = |old: Option<&BTreeMap<String, String>>, new: Option<&BTreeMap<String, String>>| {
        old.zip(new).map(|(old, new)| changed_values(old, new)).unwrap_or_default()
    };
    Ok(Comparison {
        pins: Diff::of(&old.pins, &new.pins),
        layers: values(old.layers.as_ref(), new.layers.as_ref()),
        kernel_arguments: old
            .arguments
            .as_ref()
            .zip(new.arguments.as_ref())
            .map(|(old, new)| changed_arguments(old, new))
            .unwrap_or_default(),
        units: values(units(&old).as_ref(), units(&new).as_ref()),
        windows: of_windows,
        files,
        folders,
        outputs: values(old.outputs.as_ref(), new.outputs.as_ref()),
        not_compared,
        old: old.title,
        new: new.title,
    })
}

fn check_systems(old: &Side, new: &Side) -> Result<()> {
    let of_linux = [old, new].into_iter().find(|side| side.tree.is_some());
    let of_windows = [old, new].into_iter().find(|side| side.windows.is_some());
    match of_linux.zip(of_windows) {
        None => Ok(()),
        Some((one, other)) => {
            let message = format!("{} is an image of Linux, and {} one of Windows", one.title, other.title);
            Err(Error::new(ErrorKind::Usage, message).help("name two images of one system"))
        }
    }
}

/// The files of outputs begin with the image's name: those of another name get the new one, so that each
/// stands beside its counterpart.
fn match_names(old: &mut Side, new: &Side) {
    let name = |side: &Side| side.pins.settings.get("image").cloned();
    let (Some(before), Some(after), Some(outputs)) = (name(old), name(new), old.outputs.take()) else {
        return;
    };
    let renamed = |file: String| match file.strip_prefix(&before) {
        Some(rest) if rest.starts_with(['.', '-']) => format!("{after}{rest}"),
        _ => file,
    };
    old.outputs = Some(outputs.into_iter().map(|(file, value)| (renamed(file), value)).collect());
}

/// Sides of different kinds know different things of the same image; what only one kind knows would look
/// like a difference.
fn keep_common(old: &mut Side, new: &mut Side) {
    let names = |side: &Side| side.pins.settings.keys().cloned().collect::<BTreeSet<_>>();
    let common: BTreeSet<String> = names(old).intersection(&names(new)).cloned().collect();
    let has_more = old.knows_more_than_installed() != new.knows_more_than_installed();
    let knows = |side: &Side| (side.is_finished, side.layers.is_some(), side.has_files());
    let is_alike = knows(old) == knows(new);
    for side in [old, new] {
        side.pins.settings.retain(|name, _| is_alike || common.contains(name));
        if let Some(packages) = side.pins.packages.as_mut().filter(|_| has_more) {
            packages.retain(|package| package.is_installed);
        }
    }
}

fn not_compared(old: &Side, new: &Side) -> Vec<NotCompared> {
    let both_are_finished = old.is_finished && new.is_finished;
    let is_windows = old.is_windows || new.is_windows;
    let of_linux = both_are_finished && !is_windows;
    // What neither of two locks can have is not missed, and Windows has neither packages nor units.
    let table = [
        ("packages", old.pins.packages.is_some(), new.pins.packages.is_some(), !is_windows),
        ("parts", old.pins.artifacts.is_some(), new.pins.artifacts.is_some(), false),
        ("container images", old.pins.images.is_some(), new.pins.images.is_some(), false),
        ("layers", old.layers.is_some(), new.layers.is_some(), false),
        ("kernel arguments", old.arguments.is_some(), new.arguments.is_some(), of_linux),
        ("units", old.tree.is_some(), new.tree.is_some(), of_linux),
        ("registry", old.windows.is_some(), new.windows.is_some(), both_are_finished && is_windows),
        ("files", old.has_files(), new.has_files(), both_are_finished),
    ];
    let row = |(what, in_old, in_new, is_wanted): (&'static str, bool, bool, bool)| {
        let why = match (in_old, in_new) {
            (true, true) => return None,
            (false, false) if is_wanted => "neither tells of them".to_owned(),
            (false, false) => return None,
            (true, false) => format!("{} does not tell of them", new.title),
            (false, true) => format!("{} does not tell of them", old.title),
        };
        Some(NotCompared { what, why })
    };
    table.into_iter().filter_map(row).collect()
}

/// Words by what stands before their `=`; where a line has several of the same name, each is its own.
fn changed_arguments(old: &[String], new: &[String]) -> Vec<Change> {
    let name = |word: &str| word.split('=').next().unwrap_or(word).to_owned();
    let count = |words: &[String], wanted: &str| words.iter().filter(|word| name(word) == wanted).count();
    let key = |word: &String| {
        let own = name(word);
        let is_alone = count(old, &own) < 2 && count(new, &own) < 2;
        if is_alone { own } else { word.clone() }
    };
    let values = |words: &[String]| words.iter().map(|word| (key(word), word.clone())).collect();
    changed_values(&values(old), &values(new))
}

impl Comparison {
    /// Whether there is no difference.
    pub fn is_empty(&self) -> bool {
        self.pins.is_empty()
            && self.files.is_empty()
            // A file that was one of several names and is a copy changes them alone.
            && self.folders.is_empty()
            && self.windows.is_empty()
            && self.lists().iter().all(|(_, changes)| changes.is_empty())
    }

    /// Lists of values, with their titles.
    fn lists(&self) -> Vec<(&'static str, &[Change])> {
        let mut lists: Vec<(&'static str, &[Change])> = vec![
            ("layers", &self.layers),
            ("kernel arguments", &self.kernel_arguments),
            ("units", &self.units),
        ];
        lists.extend(self.windows.lists());
        lists.push(("outputs", &self.outputs));
        lists
    }
}

#[cfg(test)]
mod tests;
