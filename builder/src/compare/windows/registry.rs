//! The registries of two images.

use serde::Serialize;

use super::secret::{self, Shown};
use crate::definition::windows::ENVIRONMENT;
use crate::definition::windows::firewall::RULES;
use crate::definition::windows::names::folded;
use crate::error::Result;
use crate::format::hive::{Branch, Hive, Value, Walk};
use crate::lock::diff::What;
use crate::verify::Windows;

/// The most changes that are told: two releases of Windows have hundreds of thousands.
const MOST: usize = 20_000;
/// The most values of a whole key that are told.
const MOST_OF_KEY: usize = 100;

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
}

impl Changes {
    fn add(&mut self, change: RegistryChange) {
        if self.all.len() < MOST { self.all.push(change) } else { self.left_out += 1 }
    }
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
        let mut pair =
            Pair { old: old.walk(), new: new.walk(), elsewhere: &elsewhere, changes: &mut changes };
        pair.compare(&format!("HKLM\\{name}"))?;
    }
    Ok((changes.all, changes.left_out))
}

struct Pair<'a> {
    old: Walk<'a>,
    new: Walk<'a>,
    elsewhere: &'a [String],
    changes: &'a mut Changes,
}

impl Pair<'_> {
    fn compare(&mut self, root: &str) -> Result<()> {
        match (self.old.at("")?, self.new.at("")?) {
            (Some(old), Some(new)) => self.key(root, &old, &new),
            _ => Ok(()),
        }
    }

    fn key(&mut self, path: &str, old: &Branch, new: &Branch) -> Result<()> {
        if !self.elsewhere.contains(&folded(path)) {
            self.values(path, old, new)?;
        }
        let mut before = self.old.subkeys(old)?;
        for (name, to) in self.new.subkeys(new)? {
            let below = format!("{path}\\{}", to.name());
            match before.remove(&name) {
                Some(from) => self.key(&below, &from, &to)?,
                None => {
                    let whole = whole(&mut self.new, &below, &to)?;
                    self.changes.add(of_key(What::Added, below, whole));
                }
            }
        }
        for from in before.into_values() {
            let below = format!("{path}\\{}", from.name());
            let whole = whole(&mut self.old, &below, &from)?;
            self.changes.add(of_key(What::Removed, below, whole));
        }
        Ok(())
    }

    fn values(&mut self, path: &str, old: &Branch, new: &Branch) -> Result<()> {
        let mut before = self.old.values(old)?;
        let mut changed: Vec<(String, Option<Value>, Option<Value>)> = Vec::new();
        for (folded, (name, to)) in self.new.values(new)? {
            match before.remove(&folded) {
                Some((_, from)) if from == to => {}
                from => changed.push((name, from.map(|(_, value)| value), Some(to))),
            }
        }
        changed.extend(before.into_values().map(|(name, from)| (name, Some(from), None)));
        for (name, from, to) in changed {
            let what = match (&from, &to) {
                (None, _) => What::Added,
                (_, None) => What::Removed,
                _ => What::Changed,
            };
            let (from, to) = secret::pair(path, &name, from.as_ref(), to.as_ref());
            let name = Some(secret::name(path, &name));
            self.changes
                .add(RegistryChange { what, key: path.to_owned(), name, from, to, whole: None });
        }
        Ok(())
    }
}

fn of_key(what: What, key: String, whole: WholeKey) -> RegistryChange {
    RegistryChange { what, key, name: None, from: None, to: None, whole: Some(whole) }
}

/// Counts what is in a key and below it.
fn whole(walk: &mut Walk<'_>, path: &str, branch: &Branch) -> Result<WholeKey> {
    let mut whole = WholeKey::default();
    count(walk, path, path.len(), branch, &mut whole)?;
    Ok(whole)
}

fn count(walk: &mut Walk<'_>, path: &str, start: usize, branch: &Branch, whole: &mut WholeKey) -> Result<()> {
    whole.keys += 1;
    for (name, value) in walk.values(branch)?.into_values() {
        whole.values += 1;
        if whole.first.len() < MOST_OF_KEY {
            let below = path[start..].trim_start_matches('\\');
            let own = secret::name(path, &name);
            let title = if below.is_empty() { own } else { format!("{below}\\{own}") };
            let shown = Shown::of(path, &name, &value).text;
            whole.first.push((title, shown));
        }
    }
    for below in walk.subkeys(branch)?.into_values() {
        count(walk, &format!("{path}\\{}", below.name()), start, &below, whole)?;
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
