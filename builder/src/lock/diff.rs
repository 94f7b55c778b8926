//! The difference between the pins of two images, as a reviewer reads it.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use indicatif::DecimalBytes;
use serde::Serialize;

use super::preload::LockedImage;
use super::{Lock, LockedArtifact};
use crate::base::{InstalledPackage, LockedPackage, versions as package_versions};
use crate::digest::Digest;

/// What is pinned of an image. Of what is `None` nothing is known.
#[derive(Debug, Default)]
pub struct Pins {
    /// Values of the image itself, and of a base without packages.
    pub settings: BTreeMap<String, String>,
    /// Files that layers fetch.
    pub artifacts: Option<Vec<LockedArtifact>>,
    /// Container images that are preloaded.
    pub images: Option<Vec<LockedImage>>,
    /// Packages of the distribution.
    pub packages: Option<Vec<Package>>,
}

/// A package, as a lock or the database of an image knows it.
#[derive(Debug)]
pub struct Package {
    name: String,
    version: String,
    source: String,
    /// Length and digest of its file, of which an image does not know.
    file: Option<(u64, Digest)>,
    /// Whether it is installed; otherwise only files are taken out of it.
    pub is_installed: bool,
}

/// Everything in which the pins of two images differ.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// Values of the lock itself, and of a base without packages.
    pub settings: Vec<Change>,
    /// Files that layers fetch: `LAYER/ARTIFACT`.
    pub parts: Vec<Change>,
    /// Container images that are preloaded.
    pub images: Vec<Change>,
    /// Packages of the distribution, by their source packages.
    pub packages: Vec<Change>,
    /// The length of all packages in bytes, before and after, if both are known.
    pub package_bytes: Option<(u64, u64)>,
}

/// A difference.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What happened.
    pub what: What,
    /// To what.
    pub name: String,
    /// The binary packages, where they have other names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub of: Vec<String>,
    /// The version before.
    pub from: Option<String>,
    /// The version after.
    pub to: Option<String>,
}

/// A kind of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// To a newer version.
    Up,
    /// To an older version.
    Down,
    /// To something that is neither newer nor older: other bytes or another address of the same version.
    Changed,
    /// It was not there.
    Added,
    /// It is gone.
    Removed,
}

impl What {
    /// Of what was there before, and is there after, if it is not the same.
    pub const fn of_presence(before: bool, after: bool) -> Self {
        match (before, after) {
            (false, _) => Self::Added,
            (_, false) => Self::Removed,
            _ => Self::Changed,
        }
    }
}

const WORDS: [(What, &str); 5] = [
    (What::Up, "up"),
    (What::Down, "down"),
    (What::Changed, "changed"),
    (What::Added, "added"),
    (What::Removed, "removed"),
];

impl Diff {
    /// What leads from `old` to `new`, of what is known of both.
    pub fn of(old: &Pins, new: &Pins) -> Self {
        fn of<T>(
            old: &Option<Vec<T>>,
            new: &Option<Vec<T>>,
            list: impl Fn(&[T], &[T]) -> Vec<Change>,
        ) -> Vec<Change> {
            old.as_ref().zip(new.as_ref()).map(|(old, new)| list(old, new)).unwrap_or_default()
        }
        let bytes = |pins: &Pins| {
            let mut sizes = pins.packages.iter().flatten().map(|package| package.file.map(|(size, _)| size));
            sizes.try_fold(0, |sum, size| Some(sum + size?))
        };
        Self {
            settings: changed_values(&old.settings, &new.settings),
            parts: of(&old.artifacts, &new.artifacts, parts),
            images: of(&old.images, &new.images, images),
            packages: of(&old.packages, &new.packages, packages),
            package_bytes: bytes(old).zip(bytes(new)),
        }
    }

    /// Its lists, with their titles.
    pub fn lists(&self) -> [(&'static str, &[Change]); 4] {
        [
            ("base", &self.settings),
            ("parts", &self.parts),
            ("container images", &self.images),
            ("packages", &self.packages),
        ]
    }

    /// Whether there is no difference.
    pub fn is_empty(&self) -> bool {
        self.lists().iter().all(|(_, changes)| changes.is_empty())
    }
}

impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("no difference");
        }
        let mut first = true;
        for (title, changes) in self.lists().iter().filter(|(_, changes)| !changes.is_empty()) {
            let end = if std::mem::take(&mut first) { "" } else { "\n" };
            write!(f, "{end}{title}: {}", counts(changes))?;
            if let ("packages", Some((before, after))) = (*title, self.package_bytes) {
                write!(f, "; {} -> {}", DecimalBytes(before), DecimalBytes(after))?;
            }
            f.write_str(&lines(changes))?;
        }
        Ok(())
    }
}

/// Changes as lines, each behind a line feed.
pub fn lines(changes: &[Change]) -> String {
    let width = changes.iter().map(|change| change.name.len()).max().unwrap_or_default();
    let mut text = String::new();
    for change in changes {
        let line = format!("{:<8} {:<width$}  {}", change.what.word(), change.name, change.versions());
        text.push_str(&format!("\n  {}", line.trim_end()));
        if !change.of.is_empty() {
            text.push_str(&format!("  ({})", change.of.join(", ")));
        }
    }
    text
}

/// "2 up, 1 added"
pub fn counts(changes: &[Change]) -> String {
    counts_of(changes.iter().map(|change| change.what))
}

/// "2 up, 1 added"
pub fn counts_of(kinds: impl Iterator<Item = What> + Clone) -> String {
    let count = |what: What| kinds.clone().filter(|kind| *kind == what).count();
    let counted = WORDS.iter().map(|(what, word)| (count(*what), word)).filter(|(count, _)| *count > 0);
    counted.map(|(count, word)| format!("{count} {word}")).collect::<Vec<_>>().join(", ")
}

impl Change {
    /// Of what has the value `from` and then `to`; `order` compares them where they are versions.
    pub fn new(name: String, from: Option<String>, to: Option<String>, order: Option<Ordering>) -> Self {
        let what = match (&from, &to, order) {
            (Some(_), Some(_), Some(Ordering::Less)) => What::Up,
            (Some(_), Some(_), Some(Ordering::Greater)) => What::Down,
            _ => What::of_presence(from.is_some(), to.is_some()),
        };
        Self { what, name, of: Vec::new(), from, to }
    }

    /// "1 -> 2"
    pub fn versions(&self) -> String {
        match (&self.from, &self.to) {
            (Some(from), Some(to)) => format!("{from} -> {to}"),
            (Some(one), None) | (None, Some(one)) => one.clone(),
            (None, None) => String::new(),
        }
    }
}

impl What {
    /// Its name in text.
    pub fn word(self) -> &'static str {
        WORDS.iter().find(|(what, _)| *what == self).map_or("", |(_, word)| *word)
    }
}

/// What two lists have by the same name, in the order of names.
fn pairs<'a, T>(
    old: &'a [T],
    new: &'a [T],
    name: impl Fn(&T) -> String,
) -> BTreeMap<String, (Option<&'a T>, Option<&'a T>)> {
    let mut pairs: BTreeMap<String, (Option<&T>, Option<&T>)> = BTreeMap::new();
    for value in old {
        pairs.entry(name(value)).or_default().0 = Some(value);
    }
    for value in new {
        pairs.entry(name(value)).or_default().1 = Some(value);
    }
    pairs
}

/// Values by name that are not the same.
pub fn changed_values(old: &BTreeMap<String, String>, new: &BTreeMap<String, String>) -> Vec<Change> {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let changed = names.into_iter().map(|name| (name, old.get(name), new.get(name)));
    changed
        .filter(|(_, from, to)| from != to)
        .map(|(name, from, to)| Change::new(name.clone(), from.cloned(), to.cloned(), None))
        .collect()
}

impl From<&Lock> for Pins {
    fn from(lock: &Lock) -> Self {
        let mut settings = BTreeMap::from([
            ("image".to_owned(), lock.image.clone()),
            ("architecture".to_owned(), lock.arch.name().to_owned()),
        ]);
        settings.extend(lock.base.snapshot().map(|time| ("snapshot".to_owned(), time.to_string())));
        if let Some(windows) = lock.base.windows() {
            settings.extend(windows.settings());
        } else if lock.base.packages().is_empty() {
            settings.extend(lock.base.pins().map(|pin| (pin.name.into_owned(), pin.version.into_owned())));
        }
        Self {
            settings,
            artifacts: Some(lock.artifacts.clone()),
            images: Some(lock.preload.clone()),
            packages: Some(lock.base.packages().iter().map(Package::from).collect()),
        }
    }
}

impl From<&LockedPackage> for Package {
    fn from(package: &LockedPackage) -> Self {
        Self {
            name: package.name.clone(),
            version: package.version.clone(),
            source: package.source.clone(),
            file: Some((package.size, package.sha256)),
            is_installed: package.install,
        }
    }
}

impl From<InstalledPackage> for Package {
    fn from(InstalledPackage { name, version, source }: InstalledPackage) -> Self {
        Self { name, version, source, file: None, is_installed: true }
    }
}

fn parts(old: &[LockedArtifact], new: &[LockedArtifact]) -> Vec<Change> {
    // The length of a part may become known later.
    let identity = |pin: &LockedArtifact| (pin.version.clone(), pin.url.clone(), pin.sha256);
    let all = pairs(old, new, |pin| format!("{}/{}", pin.layer, pin.name));
    let changed = all.into_iter().filter(|(_, (from, to))| from.map(identity) != to.map(identity));
    let mut changes: Vec<Change> = changed
        .map(|(name, (from, to))| {
            let order = from.zip(to).and_then(|(from, to)| semantic_order(&from.version, &to.version));
            let [from, to] =
                versions([from, to].map(|pin| pin.map(|pin| (pin.version.as_str(), Some(&pin.sha256)))));
            Change::new(name, from, to, order)
        })
        .collect();
    changes.sort_by(|a, b| (a.what, &a.name).cmp(&(b.what, &b.name)));
    changes
}

/// Images by their names without tags, which are their versions.
fn images(old: &[LockedImage], new: &[LockedImage]) -> Vec<Change> {
    let split = |pin: &LockedImage| match pin.reference.rsplit_once(':') {
        Some((name, tag)) => (name.to_owned(), tag.to_owned()),
        None => (pin.reference.clone(), String::new()),
    };
    let counted = |pins: &[LockedImage], name: &str| pins.iter().filter(|pin| split(pin).0 == name).count();
    // Two of one name in a lock are two images.
    let is_one = |name: &str| counted(old, name) < 2 && counted(new, name) < 2;
    let title = |pin: &LockedImage| {
        let (name, _) = split(pin);
        if is_one(&name) { name } else { pin.reference.clone() }
    };
    let identity = |pin: &LockedImage| (pin.reference.clone(), pin.from.clone(), pin.sha256);
    let all = pairs(old, new, title);
    let changed = all.into_iter().filter(|(_, (from, to))| from.map(identity) != to.map(identity));
    changed
        .map(|(name, pins)| {
            let tags: [Option<String>; 2] = [pins.0, pins.1].map(|pin| pin.map(|pin| split(pin).1));
            let order = tags[0].as_ref().zip(tags[1].as_ref());
            let order = order.and_then(|(from, to)| semantic_order(from, to)).filter(|order| order.is_ne());
            let both = [tags[0].as_deref().zip(pins.0), tags[1].as_deref().zip(pins.1)];
            let [from, to] = versions(both.map(|both| both.map(|(tag, pin)| (tag, Some(&pin.sha256)))));
            Change::new(name, from, to, order)
        })
        .collect()
}

fn semantic_order(from: &str, to: &str) -> Option<Ordering> {
    let version = |text: &str| semver::Version::parse(text.trim_start_matches('v')).ok();
    Some(version(from)?.cmp_precedence(&version(to)?))
}

/// The versions of two pins; with the beginnings of their digests if the versions say nothing.
fn versions(pins: [Option<(&str, Option<&Digest>)>; 2]) -> [Option<String>; 2] {
    let is_same = matches!(pins, [Some((from, _)), Some((to, _))] if from == to);
    pins.map(|pin| {
        pin.map(|(version, sha256)| match sha256.filter(|_| is_same) {
            Some(sha256) => format!("{version} {:.19}", sha256.to_string()),
            None => version.to_owned(),
        })
    })
}

/// What happened, to which source package, from and to which version.
type Key = (What, String, Option<String>, Option<String>);

/// Binary packages of one source that change alike are one change.
fn packages(old: &[Package], new: &[Package]) -> Vec<Change> {
    // Where the one side knows no digests, the versions decide.
    let has_digests = [old, new].iter().all(|side| side.iter().all(|package| package.file.is_some()));
    let sha256 = |package: &Package| package.file.map(|(_, sha256)| sha256).filter(|_| has_digests);
    let identity = |package: &Package| (package.version.clone(), sha256(package));
    let mut changes: BTreeMap<Key, Vec<String>> = BTreeMap::new();
    for (name, (from, to)) in pairs(old, new, |package| package.name.clone()) {
        if from.map(identity) == to.map(identity) {
            continue;
        }
        let source = from.or(to).map_or(&name, |package| &package.source).clone();
        let order = from.zip(to).map(|(from, to)| package_versions::compare(&from.version, &to.version));
        let [from, to] = versions([from, to].map(|package| {
            package.map(|package| (package.version.as_str(), package.file.as_ref().map(|(_, sha256)| sha256)))
        }));
        let Change { what, name: source, from, to, .. } = Change::new(source, from, to, order);
        changes.entry((what, source, from, to)).or_default().push(name);
    }
    let change = |((what, name, from, to), of): (Key, Vec<String>)| {
        let of = if of == [name.as_str()] { Vec::new() } else { of };
        Change { what, name, of, from, to }
    };
    changes.into_iter().map(change).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(text: &str) -> Pins {
        let head = "schema = 1\nimage = 'x'\narch = 'amd64'\n[base]\ndistribution = 'debian'\nsuite = 'trixie'\n\
                    install = []\nextract = []\n";
        Pins::from(&toml::from_str::<Lock>(&format!("{head}{text}")).unwrap())
    }

    fn package(name: &str, source: &str, version: &str, bytes: &str) -> String {
        format!(
            "[[package]]\nname = '{name}'\nversion = '{version}'\narchitecture = 'amd64'\nsource = '{source}'\n\
             archive = 'debian'\npath = 'pool/{name}'\nsize = 1000000\nsha256 = '{}'\ninstall = true\n",
            Digest::of(bytes.as_bytes())
        )
    }

    fn part(name: &str, version: &str, bytes: &str) -> String {
        format!(
            "[[artifact]]\nlayer = 'l'\nname = '{name}'\nversion = '{version}'\nurl = 'https://a/{version}'\nsha256 = '{}'\n",
            Digest::of(bytes.as_bytes())
        )
    }

    #[test]
    fn a_review_sees_what_moves_where() {
        let old = [
            part("kubelet", "1.36.9", "1"),
            part("runc", "1.4.0", "2"),
            part("tool", "nightly", "3"),
            package("libssl3", "openssl", "3.5.1-1", "4"),
            package("openssl", "openssl", "3.5.1-1", "5"),
            package("bash", "bash", "1:5.2", "6"),
            package("same", "same", "1", "7"),
            package("old", "old", "1", "8"),
            package("rebuilt", "rebuilt", "1", "9"),
        ];
        let new = [
            part("kubelet", "1.36.10", "a"),
            part("tool", "nightly", "b"),
            part("crictl", "1.36.0", "c"),
            package("libssl3", "openssl", "3.5.10-1~deb13u1", "d"),
            package("openssl", "openssl", "3.5.10-1~deb13u1", "e"),
            package("bash", "bash", "6.0", "f"),
            package("same", "same", "1", "7"),
            package("rebuilt", "rebuilt", "1", "g"),
        ];
        let (old, new) = (lock(&old.concat()), lock(&new.concat()));
        let digest = |text: &str| format!("{:.19}", Digest::of(text.as_bytes()).to_string());
        let text = format!(
            "parts: 1 up, 1 changed, 1 added, 1 removed\n  \
             up       l/kubelet  1.36.9 -> 1.36.10\n  \
             changed  l/tool     nightly {} -> nightly {}\n  \
             added    l/crictl   1.36.0\n  \
             removed  l/runc     1.4.0\n\
             packages: 1 up, 1 down, 1 changed, 1 removed; 6 MB -> 5 MB\n  \
             up       openssl  3.5.1-1 -> 3.5.10-1~deb13u1  (libssl3, openssl)\n  \
             down     bash     1:5.2 -> 6.0\n  \
             changed  rebuilt  1 {} -> 1 {}\n  \
             removed  old      1",
            digest("3"),
            digest("b"),
            digest("9"),
            digest("g")
        );
        let diff = Diff::of(&old, &new);
        // The numbers of indicatif have two digits after the point.
        assert_eq!(diff.to_string().replace(".00 MB", " MB"), text);
        let json = serde_json::to_value(&diff).unwrap();
        assert_eq!(json["packages"][0]["of"], serde_json::json!(["libssl3", "openssl"]));
        assert_eq!(json["packages"][1]["what"], "down");
        assert!(Diff::of(&new, &new).is_empty());
    }
}
