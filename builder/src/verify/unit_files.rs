//! systemd's units: where they are, and what they set (systemd.unit(5), systemd.syntax(7)).

use std::collections::{BTreeMap, BTreeSet};

use super::text::logical_lines;
use super::{Subject, origin};
use crate::tree::merge::real_path;
use crate::tree::{Entry, Node};

/// Where systemd looks for units.
pub(super) const FOLDERS: &[&str] = &[
    "etc/systemd/system.control",
    "run/systemd/system.control",
    "run/systemd/transient",
    "run/systemd/generator.early",
    "etc/systemd/system",
    "etc/systemd/system.attached",
    "run/systemd/system",
    "run/systemd/system.attached",
    "run/systemd/generator",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
    "run/systemd/generator.late",
];

/// A file or link in one of the folders.
pub(super) struct Place {
    /// Its path in the tree.
    pub(super) path: String,
    /// Its path in the folder: `x.service`, `x.service.d/y.conf`, `x.target.wants/y.service`.
    pub(super) name: String,
    pub(super) is_link: bool,
}

impl Place {
    /// The unit that it starts, if it is in a list of units that another one starts.
    pub(super) fn enabled(&self) -> Option<&str> {
        let (list, unit) = self.name.rsplit_once('/')?;
        let is_list = [".wants", ".requires", ".upholds"].iter().any(|ending| list.ends_with(ending));
        (is_list && self.is_link).then_some(unit)
    }

    /// The unit to which a link beside the units gives this name.
    pub(super) fn other_name(&self) -> Option<&str> {
        (self.is_link && !self.name.contains('/')).then_some(&self.name)
    }

    /// The unit of which it has settings; a drop-in may be for several, such as `service` for all services.
    fn unit(&self) -> Option<&str> {
        match self.name.split_once('/') {
            None => Some(&self.name),
            Some((folder, file)) if file.ends_with(".conf") => folder.strip_suffix(".d"),
            Some(_) => None,
        }
    }
}

/// All files and links in the folders.
pub(super) fn places(subject: &Subject) -> Vec<Place> {
    let place = |folder: &str, path: &str, entry: &Entry| Place {
        path: path.to_owned(),
        name: path[folder.len() + 1..].to_owned(),
        is_link: matches!(entry.node, Node::Symlink(_)),
    };
    let in_folder = |folder: &'static &str| {
        let below = subject.below(folder).filter(|(_, entry)| entry.node != Node::Directory);
        below.map(|(path, entry)| place(folder, path, entry))
    };
    FOLDERS.iter().flat_map(in_folder).collect()
}

/// A line of a unit.
#[derive(Clone)]
pub(super) struct Setting {
    /// The file.
    pub(super) path: String,
    pub(super) name: String,
    pub(super) value: String,
    /// Whether the file is one of a package.
    pub(super) is_packaged: bool,
}

/// The settings in all files of each unit.
pub(super) struct Units(BTreeMap<String, Vec<Setting>>);

impl Units {
    pub(super) fn of(subject: &Subject, places: &[Place]) -> Self {
        let mut units: BTreeMap<String, Vec<Setting>> = BTreeMap::new();
        for place in places {
            let Some(unit) = place.unit() else { continue };
            let real = real_path(&subject.tree, &place.path).unwrap_or_default();
            // What another name leads to is read by its own.
            if place.is_link && !place.name.contains('/') && FOLDERS.iter().any(|own| real.starts_with(own)) {
                continue;
            }
            let text = subject.text(&place.path).unwrap_or_default();
            let is_packaged = origin::packaged(subject).contains(&real);
            let own = settings(&place.path, &text).into_iter();
            let own = own.map(|setting| Setting { is_packaged, ..setting });
            units.entry(unit.to_owned()).or_default().extend(own);
        }
        Self(units)
    }

    /// Each unit with its settings and those of drop-ins that it shares with others.
    pub(super) fn each(&self) -> impl Iterator<Item = (&str, Vec<&Setting>)> {
        self.0.keys().map(|unit| {
            let names: BTreeSet<String> = shared(unit).into_iter().chain([unit.clone()]).collect();
            let all = names.iter().filter_map(|name| self.0.get(name)).flatten().collect();
            (unit.as_str(), all)
        })
    }

    /// All settings.
    pub(super) fn settings(&self) -> impl Iterator<Item = &Setting> {
        self.0.values().flatten()
    }
}

/// The names of drop-ins' folders that count for a unit too: `a-.service`, `a-b@.service` and `service` for
/// `a-b@c.service`.
fn shared(unit: &str) -> Vec<String> {
    let Some((name, kind)) = unit.rsplit_once('.') else { return Vec::new() };
    let mut names = vec![kind.to_owned()];
    names.extend(name.match_indices('-').map(|(at, _)| format!("{}.{kind}", &name[..=at])));
    names.extend(name.split_once('@').map(|(template, _)| format!("{template}@.{kind}")));
    names
}

/// The settings in the text of a file.
pub(super) fn settings(path: &str, text: &str) -> Vec<Setting> {
    let line = |line: String| {
        let (name, value) = line.split_once('=')?;
        let (name, value) = (name.trim().to_owned(), value.trim().to_owned());
        Some(Setting { path: path.to_owned(), name, value, is_packaged: false })
    };
    logical_lines(text, |line| line.starts_with(['#', ';']))
        .into_iter()
        .filter_map(line)
        .collect()
}
