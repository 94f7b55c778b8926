//! The registries of two images.

use serde::Serialize;

use super::secret::{self, Hidden, Shown};
use crate::definition::windows::ENVIRONMENT;
use crate::definition::windows::firewall::RULES;
use crate::definition::windows::names::folded;
use crate::error::Result;
use crate::format::hive::{Branch, Hive, Value, Walk};
use crate::lock::diff::What;
use crate::verify::Windows;

/// The most changes that are told: two releases of Windows have hundreds of thousands.
const MOST: usize = 20_000;
/// The most values of a whole key that are told, and of all of them.
const MOST_OF_KEY: usize = 100;
const MOST_OF_KEYS: usize = 20_000;
/// The most bytes of a path that are shown.
const LONGEST_PATH: usize = 1000;

/// A value, or a whole key, that is not the same in both images.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct RegistryChange {
    /// What happened.
    pub what: What,
    /// The key: `HKLM\SYSTEM\…`.
    pub key: String,
    /// The name of the value; nothing if the whole key came or went.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The value before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The value after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// What the key holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub whole: Option<WholeKey>,
}

/// A key that came or went, with everything below it.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct WholeKey {
    /// How many keys, itself counted.
    pub keys: usize,
    /// How many values they have.
    pub values: usize,
    /// The first of these: the name, behind the path below the key, and the value.
    pub first: Vec<(String, String)>,
}

/// What is gathered.
#[derive(Default)]
struct Changes {
    all: Vec<RegistryChange>,
    left_out: usize,
    /// Values of whole keys.
    told: usize,
}

/// A key on the way through a registry. Only its end grows and shrinks: paths may be long, and keys many.
struct Place {
    path: String,
    hidden: Hidden,
}

impl Place {
    fn root(hive: &str) -> Self {
        Self { path: format!("HKLM\\{hive}"), hidden: Hidden::Nothing }
    }

    /// Goes to a key below; the result leads back.
    fn enter(&mut self, name: &str) -> (usize, Hidden) {
        let before = (self.path.len(), self.hidden);
        let name = secret::key_name(&self.path, name);
        self.path.push('\\');
        self.path += &name;
        self.hidden = self.hidden.below(&self.path);
        before
    }

    fn leave(&mut self, (length, hidden): (usize, Hidden)) {
        self.path.truncate(length);
        self.hidden = hidden;
    }

    fn shown(&self) -> String {
        shown(&self.path)
    }
}

/// A path, cut where it is long.
fn shown(path: &str) -> String {
    if path.len() <= LONGEST_PATH {
        return path.to_owned();
    }
    let start = (0..=LONGEST_PATH).rev().find_map(|end| path.get(..end)).unwrap_or_default();
    format!("{start}…")
}

/// Everything in which the hives SYSTEM and SOFTWARE differ, and how much more there is than is told.
pub(super) fn changes(old: &Windows, new: &Windows) -> Result<(Vec<RegistryChange>, usize)> {
    let mut changes = Changes::default();
    // Lists of their own tell these.
    let elsewhere: Vec<String> = [old, new]
        .iter()
        .flat_map(|image| {
            [RULES, ENVIRONMENT].map(|key| format!("HKLM\\SYSTEM\\{}\\{key}", image.control_set))
        })
        .map(|key| folded(&key))
        .collect();
    for (name, old, new) in [("SOFTWARE", &old.software, &new.software), ("SYSTEM", &old.system, &new.system)]
    {
        let place = Place::root(name);
        let (elsewhere, changes) = (&elsewhere, &mut changes);
        Pair { old: old.walk(), new: new.walk(), place, elsewhere, changes }.compare()?;
    }
    Ok((changes.all, changes.left_out))
}

struct Pair<'a> {
    old: Walk<'a>,
    new: Walk<'a>,
    place: Place,
    elsewhere: &'a [String],
    changes: &'a mut Changes,
}

impl Pair<'_> {
    fn compare(&mut self) -> Result<()> {
        match (self.old.at("")?, self.new.at("")?) {
            (Some(old), Some(new)) => self.key(&old, &new),
            _ => Ok(()),
        }
    }

    fn key(&mut self, old: &Branch, new: &Branch) -> Result<()> {
        if !self.is_told_elsewhere() {
            self.values(old, new)?;
        }
        let mut before = self.old.subkeys(old)?;
        for (name, to) in self.new.subkeys(new)? {
            let back = self.place.enter(to.name());
            match before.remove(&name) {
                Some(from) => self.key(&from, &to)?,
                None => self.changes.add_key(What::Added, &mut self.new, &mut self.place, &to)?,
            }
            self.place.leave(back);
        }
        for from in before.into_values() {
            let back = self.place.enter(from.name());
            self.changes.add_key(What::Removed, &mut self.old, &mut self.place, &from)?;
            self.place.leave(back);
        }
        Ok(())
    }

    fn is_told_elsewhere(&self) -> bool {
        let path = &self.place.path;
        self.elsewhere.iter().any(|key| key.len() == path.len() && folded(path) == *key)
    }

    fn values(&mut self, old: &Branch, new: &Branch) -> Result<()> {
        let mut before = self.old.values(old)?;
        let mut changed: Vec<(String, Option<Value>, Option<Value>)> = Vec::new();
        for (folded, (name, to)) in self.new.values(new)? {
            match before.remove(&folded) {
                Some((_, from)) if from == to => {}
                from => changed.push((name, from.map(|(_, value)| value), Some(to))),
            }
        }
        changed.extend(before.into_values().map(|(name, from)| (name, Some(from), None)));
        let room = MOST - self.changes.all.len();
        self.changes.left_out += changed.len().saturating_sub(room);
        changed.truncate(room);
        if changed.is_empty() {
            return Ok(());
        }
        let (key, hidden) = (self.place.shown(), self.place.hidden);
        for (name, from, to) in changed {
            let what = What::of_presence(from.is_some(), to.is_some());
            let (from, to) = secret::pair(hidden, &name, from.as_ref(), to.as_ref());
            let name = Some(secret::name(&self.place.path, &name));
            self.changes
                .all
                .push(RegistryChange { what, key: key.clone(), name, from, to, whole: None });
        }
        Ok(())
    }
}

impl Changes {
    /// Adds a key that came or went, with what is in it and below it.
    fn add_key(&mut self, what: What, walk: &mut Walk<'_>, place: &mut Place, branch: &Branch) -> Result<()> {
        let (key, start) = (place.shown(), place.path.len());
        let mut whole = WholeKey::default();
        let room = MOST_OF_KEY.min(MOST_OF_KEYS - self.told);
        count(walk, place, start, branch, room, &mut whole)?;
        if self.all.len() == MOST {
            self.left_out += 1;
            return Ok(());
        }
        self.told += whole.first.len();
        self.all
            .push(RegistryChange { what, key, name: None, from: None, to: None, whole: Some(whole) });
        Ok(())
    }
}

/// Counts what is in a key and below it, and tells the first values, at most `room`.
fn count(
    walk: &mut Walk<'_>,
    place: &mut Place,
    start: usize,
    branch: &Branch,
    room: usize,
    whole: &mut WholeKey,
) -> Result<()> {
    whole.keys += 1;
    for (name, value) in walk.values(branch)?.into_values() {
        whole.values += 1;
        if whole.first.len() < room {
            let below = shown(place.path[start..].trim_start_matches('\\'));
            let own = secret::name(&place.path, &name);
            let title = if below.is_empty() { own } else { format!("{below}\\{own}") };
            whole.first.push((title, Shown::of(place.hidden, &name, &value).text));
        }
    }
    for below in walk.subkeys(branch)?.into_values() {
        let back = place.enter(below.name());
        count(walk, place, start, &below, room, whole)?;
        place.leave(back);
    }
    Ok(())
}

/// The values of a key, by name; nothing if there is no such key.
pub(super) fn values_of(hive: &Hive, path: &str) -> Result<Vec<(String, Value)>> {
    let mut walk = hive.walk();
    match walk.at(path)? {
        Some(branch) => Ok(walk.values(&branch)?.into_values().collect()),
        None => Ok(Vec::new()),
    }
}
