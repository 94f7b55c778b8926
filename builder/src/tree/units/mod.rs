//! Enables and masks systemd units in a tree, as `systemctl --root` would: only links, from `[Install]`
//! (systemd.unit(5)).

use std::collections::{BTreeMap, BTreeSet};

use super::merge::real_path;
use super::near::suggest;
use super::{Body, Entry, Node, Tree};
use crate::error::{Error, ErrorKind, Result};

/// The folder of the image's own links and units.
const LOCAL: &str = "etc/systemd/system";
/// The folders of units, in order of precedence.
const FOLDERS: [&str; 2] = [LOCAL, "usr/lib/systemd/system"];
/// The keys of `[Install]` that create links, with the suffix of the link's folder.
const FOLDER_KEYS: [(&str, &str); 3] =
    [("WantedBy", "wants"), ("RequiredBy", "requires"), ("UpheldBy", "upholds")];
/// Kinds of units that exist as files.
const LASTING: [&str; 5] = [".service", ".socket", ".timer", ".path", ".target"];
const MASKED: &str = "/dev/null";

/// The links that enable the units `enable` and mask the units `mask` in `tree`, without the links that exist
/// already.
///
/// # Errors
/// [`ErrorKind::Definition`] when a unit is missing, cannot be enabled or masked, or is in both lists.
pub fn enable(tree: &Tree, enable: &[String], mask: &[String]) -> Result<Tree> {
    let mut links = Links { tree, new: Tree::default(), done: BTreeSet::new() };
    for unit in mask {
        if enable.contains(unit) {
            return Err(problem(format!("the unit {unit} is both enabled and masked"))
                .help("remove it from one of the lists"));
        }
        links.mask(unit)?;
    }
    for unit in enable {
        links.enable(unit, true)?;
    }
    Ok(links.new)
}

/// Whether a unit with this text says by whom it wants to be started.
pub fn can_be_enabled(text: &str) -> bool {
    let mut install = Install::default();
    install.read(text);
    !install.is_empty()
}

/// What systemd will never look at, one line each: those of the `drop_ins` of layers that change a unit which
/// `tree` lacks, and targets of the units `enable` that are not there. Templates and units that programs make
/// at run time are left out.
pub fn unheard<'a>(
    tree: &Tree,
    drop_ins: impl IntoIterator<Item = (&'a str, &'a str)>,
    enable: &[String],
) -> Vec<String> {
    let links = Links { tree, new: Tree::default(), done: BTreeSet::new() };
    let is_missing = |unit: &str| {
        let made_by_systemd =
            unit.contains(['@', '%']) || unit.rsplit_once('.').is_none_or(|(stem, _)| stem.ends_with('-'));
        LASTING.iter().any(|ending| unit.ends_with(ending)) && !made_by_systemd && links.locate(unit).is_err()
    };
    let mut lines = Vec::new();
    for (layer, path) in drop_ins {
        let unit = FOLDERS.iter().find_map(|folder| path.strip_prefix(folder)?.strip_prefix('/'));
        let unit = unit.and_then(|rest| rest.split_once(".d/")).map(|(unit, _)| unit);
        if let Some(unit) = unit.filter(|unit| is_missing(unit)) {
            lines.push(format!("the layer {layer} changes {unit}, which the image does not have: /{path}"));
        }
    }
    for unit in enable {
        let Ok(install) = links.find(unit).and_then(|found| links.install(unit, &found)) else { continue };
        let targets = FOLDER_KEYS.iter().flat_map(|(key, _)| install.all(key));
        let missing = targets.filter(|target| is_missing(target));
        lines.extend(
            missing
                .map(|target| format!("{unit} is to be started by {target}, which the image does not have")),
        );
    }
    lines
}

/// What links say of units: who wants them, that they are masked, of what they are another name.
pub fn states(tree: &Tree) -> BTreeMap<String, String> {
    let mut states: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for folder in FOLDERS {
        for (path, entry) in tree.below(folder) {
            let inside = &path[folder.len() + 1..];
            let (list, unit) = inside.split_once('/').map_or(("", inside), |(list, unit)| (list, unit));
            let Some(state) = state(list, unit, entry) else { continue };
            states.entry(unit.to_owned()).or_default().insert(state);
        }
    }
    states
        .into_iter()
        .map(|(unit, states)| (unit, states.into_iter().collect::<Vec<_>>().join(", ")))
        .collect()
}

/// What an entry of a folder of units, or of a list of it such as `multi-user.target.wants`, says of `unit`.
fn state(list: &str, unit: &str, entry: &Entry) -> Option<String> {
    let target = match &entry.node {
        Node::Symlink(target) => target.as_str(),
        // An empty file masks too: systemd.unit(5).
        Node::File(body) if list.is_empty() && body.is_empty() => MASKED,
        Node::File(_) | Node::Directory => return None,
    };
    let wanted = FOLDER_KEYS
        .iter()
        .find_map(|(_, kind)| Some((list.strip_suffix(&format!(".{kind}"))?, kind)));
    match wanted {
        Some((by, kind)) => Some(format!("{by} {kind} it")),
        None if !list.is_empty() => None,
        None if target == MASKED => Some("masked".to_owned()),
        None => {
            let other = target.rsplit('/').next().unwrap_or(target);
            (other != unit).then(|| format!("another name of {other}"))
        }
    }
}

struct Links<'a> {
    tree: &'a Tree,
    new: Tree,
    done: BTreeSet<String>,
}

impl Links<'_> {
    fn mask(&mut self, unit: &str) -> Result<()> {
        let local = format!("{LOCAL}/{unit}");
        match self.tree.get(&local).map(|entry| &entry.node) {
            None => {
                self.locate(unit)?;
                self.link(local, MASKED)
            }
            Some(Node::Symlink(target)) if target == MASKED => Ok(()),
            Some(_) => Err(problem(format!(
                "the unit {unit} cannot be masked: it lies in {LOCAL}, where the mask would lie"
            ))
            .help("remove the unit from its layer instead")),
        }
    }

    /// Enables `unit`. `asked` is true if the definition asks for it, and false if another unit's `Also=`
    /// does.
    fn enable(&mut self, unit: &str, asked: bool) -> Result<()> {
        if !self.done.insert(unit.to_owned()) {
            return Ok(());
        }
        let found = self.find(unit)?;
        let install = self.install(unit, &found)?;
        if install.is_empty() {
            if !asked {
                return Ok(());
            }
            return Err(problem(format!(
                "the unit {unit} cannot be enabled: {} has no [Install] section with a target",
                found.path
            ))
            .help("remove it from enable; units without [Install] are started by others"));
        }
        let names = Names::of(unit, install.last("DefaultInstance"))?;
        let target = format!("/{}", found.path);
        for (key, ending) in FOLDER_KEYS {
            for wanting in install.all(key) {
                let folder = format!("{LOCAL}/{}.{ending}", names.expand(wanting)?);
                self.link(format!("{folder}/{}", names.full), &target)?;
            }
        }
        for alias in install.all("Alias") {
            let alias = names.expand(alias)?;
            if alias != unit {
                self.link(format!("{LOCAL}/{alias}"), &target)?;
            }
        }
        for other in install.all("Also") {
            self.enable(&names.expand(other)?, false)?;
        }
        Ok(())
    }

    fn find(&self, unit: &str) -> Result<Found> {
        self.read(unit, &self.locate(unit)?)
    }

    /// The path of the unit's file, or of its template's.
    fn locate(&self, unit: &str) -> Result<String> {
        let names = [Some(unit.to_owned()), template(unit)];
        let mut paths =
            names.iter().flatten().flat_map(|name| FOLDERS.map(|folder| format!("{folder}/{name}")));
        if let Some(path) = paths.find(|path| self.tree.get(path).is_some()) {
            return Ok(path);
        }
        let known = FOLDERS
            .iter()
            .flat_map(|folder| self.tree.below(folder))
            .filter_map(|(path, _)| unit_name(path));
        Err(problem(format!("there is no unit {unit} in {}", FOLDERS.join(" or "))).help(suggest(
            unit,
            known,
            "add the layer or package that brings it",
        )))
    }

    fn read(&self, unit: &str, path: &str) -> Result<Found> {
        if let Some(Node::Symlink(target)) = self.tree.get(path).map(|entry| &entry.node) {
            if target == MASKED {
                return Err(problem(format!("the unit {unit} is masked by {path}"))
                    .help("remove the mask, or do not enable it"));
            }
            let name = path.rsplit('/').next().unwrap_or(path);
            let real = target.rsplit('/').next().unwrap_or(target);
            if real != name {
                return Err(problem(format!("{unit} is only another name of the unit {real}"))
                    .help(format!("use \"{real}\"")));
            }
        }
        let real = real_path(self.tree, path).unwrap_or_default();
        match self.tree.file(&real) {
            Some(body) => Ok(Found { text: text(body, &real)?, path: real }),
            None => Err(problem(format!("the unit {unit} is no file: {path}"))
                .help("look at the layer that brings it")),
        }
    }

    /// `[Install]` of the unit and of its drop-ins. Drop-ins are sorted by name, regardless of their folder.
    fn install(&self, unit: &str, found: &Found) -> Result<Install> {
        let mut install = Install::default();
        install.read(&found.text);
        let mut drop_ins: BTreeMap<&str, &str> = BTreeMap::new();
        for name in [template(unit), Some(unit.to_owned())].iter().flatten() {
            for folder in FOLDERS.iter().rev() {
                let paths = self
                    .tree
                    .below(&format!("{folder}/{name}.d"))
                    .map(|(path, _)| path.as_str())
                    .collect::<Vec<_>>();
                drop_ins.extend(
                    paths
                        .into_iter()
                        .filter(|path| path.ends_with(".conf"))
                        .map(|path| (path.rsplit('/').next().unwrap_or(path), path)),
                );
            }
        }
        for path in drop_ins.values() {
            if let Some(body) = self.tree.file(path) {
                install.read(&text(body, path)?);
            }
        }
        Ok(install)
    }

    fn link(&mut self, path: String, target: &str) -> Result<()> {
        let present = self.new.get(&path).or_else(|| self.tree.get(&path));
        match present.map(|entry| &entry.node) {
            None => {
                self.new.insert(path, Entry::symlink(target));
                Ok(())
            }
            Some(Node::Symlink(old)) if same_place(self.tree, &path, old, target) => Ok(()),
            Some(Node::Symlink(old)) => {
                Err(problem(format!("{path} should be a link to {target}, but is one to {old}"))
                    .help("two units want the same name; enable only one of them"))
            }
            Some(_) => Err(problem(format!("{path} should be a link to {target}, but is there already"))
                .help("remove it from its layer")),
        }
    }
}

/// A unit's file.
struct Found {
    path: String,
    text: String,
}

/// The `[Install]` section: each key with its words.
#[derive(Default)]
struct Install(BTreeMap<String, Vec<String>>);

impl Install {
    /// Adds the assignments in `text` (systemd.syntax(7)). An empty assignment resets its key.
    fn read(&mut self, text: &str) {
        let joined = text.replace("\\\n", " ");
        let mut inside = false;
        for line in joined
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with(['#', ';']))
        {
            if line.starts_with('[') {
                inside = line == "[Install]";
                continue;
            }
            let Some((key, value)) = line.split_once('=').filter(|_| inside) else { continue };
            let words = self.0.entry(key.trim().to_owned()).or_default();
            if value.trim().is_empty() {
                words.clear();
            }
            words.extend(value.split_whitespace().map(str::to_owned));
        }
    }

    fn all(&self, key: &str) -> impl Iterator<Item = &str> {
        self.0.get(key).into_iter().flatten().map(String::as_str)
    }

    fn last(&self, key: &str) -> Option<&str> {
        self.all(key).last()
    }

    fn is_empty(&self) -> bool {
        let keys = FOLDER_KEYS.iter().map(|(key, _)| *key).chain(["Alias", "Also"]);
        keys.into_iter().all(|key| self.all(key).next().is_none())
    }
}

/// The names that a unit has in specifiers (systemd.unit(5), "SPECIFIERS").
struct Names {
    /// `name@instance.service`
    full: String,
    /// `name`
    prefix: String,
    /// `instance`
    instance: String,
}

impl Names {
    fn of(unit: &str, default_instance: Option<&str>) -> Result<Self> {
        let malformed = || {
            problem(format!("\"{unit}\" is not the name of a unit"))
                .help("write NAME.service, NAME.timer, NAME@INSTANCE.service …")
        };
        let (stem, ending) =
            unit.rsplit_once('.').filter(|(stem, _)| !stem.is_empty()).ok_or_else(malformed)?;
        let Some((prefix, instance)) = stem.split_once('@') else {
            return Ok(Self { full: unit.to_owned(), prefix: stem.to_owned(), instance: String::new() });
        };
        let instance = match (instance, default_instance) {
            ("", None) => {
                return Err(problem(format!("{unit} is a template without a default instance"))
                    .help(format!("enable an instance of it: {prefix}@INSTANCE.{ending}")));
            }
            ("", Some(default)) => default,
            (instance, _) => instance,
        };
        Ok(Self {
            full: format!("{prefix}@{instance}.{ending}"),
            prefix: prefix.to_owned(),
            instance: instance.to_owned(),
        })
    }

    fn expand(&self, text: &str) -> Result<String> {
        let mut expanded = String::new();
        let mut letters = text.chars();
        while let Some(letter) = letters.next() {
            if letter != '%' {
                expanded.push(letter);
                continue;
            }
            match letters.next() {
                Some('%') => expanded.push('%'),
                Some('i') => expanded.push_str(&self.instance),
                Some('n') => expanded.push_str(&self.full),
                Some('N') => {
                    expanded.push_str(self.full.rsplit_once('.').map_or(&self.full, |(stem, _)| stem))
                }
                Some('p') => expanded.push_str(&self.prefix),
                _ => {
                    return Err(problem(format!(
                        "{}: the specifier in \"{text}\" is not known before boot",
                        self.full
                    ))
                    .help("%i, %n, %N and %p can be used in [Install]"));
                }
            }
        }
        if expanded.is_empty() || expanded.contains('/') {
            return Err(problem(format!("{}: [Install] names \"{text}\", which is no unit", self.full))
                .help("mend the unit's file"));
        }
        Ok(expanded)
    }
}

/// `name@.service` of `name@instance.service`.
fn template(unit: &str) -> Option<String> {
    let (stem, ending) = unit.rsplit_once('.')?;
    let (prefix, instance) = stem.split_once('@')?;
    (!instance.is_empty()).then(|| format!("{prefix}@.{ending}"))
}

/// The name of the unit whose file is at `path`, if it is directly in a unit folder.
fn unit_name(path: &str) -> Option<&str> {
    FOLDERS
        .iter()
        .find_map(|folder| path.strip_prefix(folder)?.strip_prefix('/'))
        .filter(|name| !name.contains('/') && name.contains('.'))
}

/// Whether two targets of a link at `link` lead to the same file: packages link to `/lib`, which is a link to
/// `usr/lib`.
fn same_place(tree: &Tree, link: &str, left: &str, right: &str) -> bool {
    let folder = link.rsplit_once('/').map_or("", |(folder, _)| folder);
    let real = |target: &str| {
        if target.starts_with('/') {
            real_path(tree, target)
        } else {
            real_path(tree, &format!("{folder}/{target}"))
        }
    };
    left == right || real(left).is_some_and(|left| Some(left) == real(right))
}

fn text(body: &Body, path: &str) -> Result<String> {
    let bytes = body.read().map_err(|error| Error::io("reading", std::path::Path::new(path), &error))?;
    String::from_utf8(bytes)
        .map_err(|_| problem(format!("the unit file {path} is not UTF-8")).help("mend the unit's file"))
}

fn problem(message: String) -> Error {
    Error::new(ErrorKind::Definition, message)
}

#[cfg(test)]
mod tests;
