//! Instance data: what the platform says of this machine, in the form in which cloud-init hands it to
//! templates (<https://cloudinit.readthedocs.io/en/latest/explanation/instancedata.html>).
//!
//! | name | value |
//! |---|---|
//! | `ds.…` | the platform's documents, as cloud-init's data source has them |
//! | `v1.…` | the names that are the same on every platform |
//! | anything else | the same name below `v1` |
//!
//! A key is looked up as it was asked for, then by its alias: cloud-init writes `_` for each operator in a
//! key, so that `local_hostname` finds `local-hostname`.

mod distribution;
mod folder;
mod standard;

use std::cell::RefCell;
use std::fmt;

use serde_json::{Map, Value};

use self::folder::Folder;
pub(crate) use self::folder::is_plain_name;
use crate::error::Result;
use crate::facts::Facts;
use crate::host::root::Root;
use crate::net::service::Service;
use crate::secret::wipe;

/// Keys that are not kept: user data in its own document, and secrets.
const NOT_KEPT: &[&str] = &[
    "user-data",
    "user_data",
    "userdata",
    "userData",
    "customData",
    "vendor-data",
    "vendor_data",
    "vendordata",
    "startup-script",
    "admin_pass",
    "random_seed",
];
/// Two-character operators of jinja that can be in a key; one `_` stands for both characters.
const PAIRS: &[&str] = &["//", "**", "==", "!=", ">=", "<="];
const OPERATORS: &str = "+-/*%~[](){}><=.:|,;";
/// Names that jinja finds in a mapping before its keys, if they stand behind a dot.
const METHODS: &[&str] = &[
    "clear",
    "copy",
    "fromkeys",
    "get",
    "items",
    "keys",
    "pop",
    "popitem",
    "setdefault",
    "update",
    "values",
];
/// The part of `ds` that every platform has.
const META_DATA: &str = "meta_data";
/// The most names that a message lists.
const SHOWN: usize = 24;

/// A key as sshd(8) has it in "AUTHORIZED_KEYS FILE FORMAT", without options in front.
fn is_plain_key(line: &str) -> bool {
    ["ssh-", "ecdsa-", "sk-"].iter().any(|kind| line.starts_with(kind)) && !line.contains(char::is_control)
}

/// One step into a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// `.key`
    Attribute(String),
    /// `["key"]`
    Item(String),
    /// `[0]`, from the end if it is negative.
    Index(i64),
}

impl Step {
    fn key(&self) -> Option<&str> {
        match self {
            Self::Attribute(key) | Self::Item(key) => Some(key),
            Self::Index(_) => None,
        }
    }
}

/// The result of a look-up.
#[derive(Debug, PartialEq)]
pub enum Found {
    /// The value.
    Value(Value),
    /// There is none.
    Missing {
        /// Whether the last step has no value. Otherwise an earlier one has none, which jinja calls an error.
        is_last: bool,
        /// The names that there are instead.
        known: Vec<String>,
    },
}

/// What templates can ask of this machine.
#[derive(Default)]
pub struct InstanceData {
    /// cloud-init's name of its data source for this platform, in lower case.
    source: &'static str,
    /// What `ds` stands for.
    ds: Map<String, Value>,
    /// The platform's own metadata, which `ds.meta_data` stands for.
    meta_data: Map<String, Value>,
    /// A part of `ds` that the platform serves as a folder: its name, and the folder.
    folder: RefCell<Option<(&'static str, Folder)>>,
    /// What `v1` stands for.
    v1: Map<String, Value>,
    /// Names below `ds.meta_data` for platforms where the data source has none.
    more: Map<String, Value>,
}

impl fmt::Debug for InstanceData {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "InstanceData({})", self.source)
    }
}

impl Drop for InstanceData {
    fn drop(&mut self) {
        [&mut self.ds, &mut self.meta_data].into_iter().flat_map(Map::values_mut).for_each(wipe);
    }
}

impl InstanceData {
    /// The data of cloud-init's data source `source`, with `document` as its metadata. A document that is no
    /// mapping is left out.
    pub fn new(source: &'static str, document: Value) -> Self {
        let mut data = Self::default();
        data.source = source;
        if let Value::Object(fields) = without_secrets(document) {
            data.meta_data = fields;
        }
        data
    }

    /// Adds what the data source has beside its metadata.
    pub fn beside(mut self, name: &str, document: Value) -> Self {
        self.ds.insert(name.to_owned(), without_secrets(document));
        self
    }

    /// Adds a key to the metadata that cloud-init gives another name or form than the platform.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.meta_data.insert(name.to_owned(), without_secrets(value.into()));
        self
    }

    /// Copies the value of a key of the metadata to another key, if it is there.
    pub fn copied(mut self, from: &str, to: &str) -> Self {
        if let Some(value) = self.meta_data.get(from).cloned() {
            self.meta_data.insert(to.to_owned(), value);
        }
        self
    }

    /// Sets a standard name whose value on this platform is not the usual one.
    pub fn standard(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.v1.insert(name.to_owned(), value.into());
        self
    }

    /// Makes the part `name` of `ds` the folder `path` of `service`, which is read when it is asked for.
    pub fn served(mut self, name: &'static str, service: Service, path: &str) -> Self {
        self.folder = RefCell::new(Some((name, Folder::new(service, path))));
        self
    }

    /// Adds the standard names: what the facts and the machine's files in `root` say.
    pub fn complete(&mut self, facts: &Facts, root: &Root) {
        for (name, value) in standard::names(self.source, &self.meta_data, facts, root) {
            self.v1.entry(name).or_insert(value);
        }
        for (name, hyphenated) in standard::HYPHENATED {
            if let Some(value) = self.v1.get(*name).cloned() {
                self.v1.insert((*hyphenated).to_owned(), value);
            }
        }
        for (name, fact) in [
            ("instance-id", &facts.instance_id),
            ("local-hostname", &facts.hostname),
            ("hostname", &facts.hostname),
        ] {
            if let Some(value) = fact.value() {
                self.more.insert(name.to_owned(), Value::from(value.as_str()));
            }
        }
    }

    /// The value of `root`, such as `ds`, and the `steps` behind it. Fails if the platform's service does,
    /// and for names that only cloud-init itself can answer.
    pub fn find(&self, root: &str, steps: &[Step]) -> Result<Found> {
        if root == "ds" {
            return self.find_document(steps);
        }
        standard::refuse_own(root, steps.first().and_then(Step::key))?;
        if root == "v1" {
            return Ok(walk_fields(&self.v1, steps));
        }
        let name = [&[Step::Item(root.to_owned())], steps].concat();
        Ok(match walk_fields(&self.v1, &name) {
            Found::Missing { is_last, mut known } if field(&self.v1, root).is_none() => {
                known.extend(["ds".to_owned(), "v1".to_owned()]);
                Found::Missing { is_last, known }
            }
            found => found,
        })
    }

    /// The platform's SSH keys for this machine, without what is no plain key. Fails if its service does.
    pub fn ssh_keys(&self) -> Result<Vec<String>> {
        for name in standard::SSH_KEYS {
            let steps = [META_DATA, name].map(|key| Step::Item(key.to_owned()));
            let Found::Value(value) = self.find("ds", &steps)? else { continue };
            let mut keys = standard::ssh_keys(&value);
            if let Some((_, folder)) = self.folder.borrow_mut().as_mut().filter(|_| keys.is_empty()) {
                keys.extend(folder.texts(name)?.into_iter().map(Value::from));
            }
            let lines = keys.iter().filter_map(Value::as_str).flat_map(str::lines).map(str::trim);
            return Ok(lines.filter(|line| is_plain_key(line)).map(str::to_owned).collect());
        }
        Ok(Vec::new())
    }

    /// The text of a name such as `v1.local_hostname`; none if it has none.
    pub fn text(&self, name: &str) -> Option<String> {
        let mut keys = name.split('.');
        let root = keys.next()?;
        let steps: Vec<Step> = keys.map(|key| Step::Item(key.to_owned())).collect();
        match self.find(root, &steps).ok()? {
            Found::Value(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    fn find_document(&self, steps: &[Step]) -> Result<Found> {
        let Some((first, rest)) = steps.split_first() else {
            return Ok(Found::Value(Value::Object(self.ds.clone())));
        };
        let key = first.key().unwrap_or_default();
        let is_meta_data = key == META_DATA || (alias(key) == META_DATA && self.serves(key));
        if is_meta_data {
            return self.find_meta_data(key, rest);
        }
        if self.serves(key) {
            return self.find_served(rest);
        }
        Ok(match walk_fields(&self.ds, steps) {
            Found::Missing { is_last, mut known } if field(&self.ds, key).is_none() => {
                known.push(META_DATA.to_owned());
                Found::Missing { is_last, known }
            }
            found => found,
        })
    }

    fn find_meta_data(&self, part: &str, steps: &[Step]) -> Result<Found> {
        let found = walk_fields(&self.meta_data, steps);
        let Some(key) = steps.first().and_then(Step::key) else { return Ok(found) };
        if field(&self.meta_data, key).is_some() {
            return Ok(found);
        }
        let found = if self.serves(part) { self.find_served(steps)? } else { found };
        Ok(match found {
            Found::Missing { .. } if field(&self.more, key).is_some() => walk_fields(&self.more, steps),
            found => found,
        })
    }

    /// Whether the part of `ds` is a folder.
    fn serves(&self, key: &str) -> bool {
        self.folder.borrow().as_ref().is_some_and(|(name, _)| *name == key || alias(name) == key)
    }

    fn find_served(&self, steps: &[Step]) -> Result<Found> {
        match self.folder.borrow_mut().as_mut() {
            Some((_, folder)) => folder.find(steps),
            None => Ok(Found::Missing { is_last: true, known: Vec::new() }),
        }
    }
}

/// Follows `steps` into `value`.
pub fn walk(mut value: &Value, steps: &[Step]) -> Found {
    for (index, step) in steps.iter().enumerate() {
        let behind = steps.get(index + 1..).unwrap_or_default();
        if let Some(character) = character(value, step) {
            return walk(&character, behind);
        }
        match step_into(value, step) {
            Some(next) => value = next,
            None => {
                let known = value.as_object().map(names).unwrap_or_default();
                return Found::Missing { is_last: behind.is_empty(), known };
            }
        }
    }
    Found::Value(value.clone())
}

fn walk_fields(fields: &Map<String, Value>, steps: &[Step]) -> Found {
    let missing = |known| Found::Missing { is_last: steps.len() == 1, known };
    let Some((first, rest)) = steps.split_first() else { return Found::Value(Value::Object(fields.clone())) };
    match first.key().and_then(|key| field(fields, key)) {
        Some(value) if !is_method(first) => walk(value, rest),
        _ => missing(names(fields)),
    }
}

fn step_into<'a>(value: &'a Value, step: &Step) -> Option<&'a Value> {
    match (value, step) {
        (Value::Object(fields), Step::Attribute(key) | Step::Item(key)) if !is_method(step) => {
            field(fields, key)
        }
        (Value::Array(items), Step::Index(index)) => items.get(position(*index, items.len())?),
        _ => None,
    }
}

/// The character at a position of a text.
fn character(value: &Value, step: &Step) -> Option<Value> {
    let (Value::String(text), Step::Index(index)) = (value, step) else { return None };
    let at = position(*index, text.chars().count())?;
    text.chars().nth(at).map(|character| Value::from(character.to_string()))
}

/// `.items` is a method of jinja's mappings, `["items"]` is a key.
fn is_method(step: &Step) -> bool {
    matches!(step, Step::Attribute(name) if METHODS.contains(&name.as_str()))
}

fn position(index: i64, length: usize) -> Option<usize> {
    let length = i64::try_from(length).ok()?;
    usize::try_from(if index < 0 { index + length } else { index }).ok()
}

/// The keys as a template can ask for them.
fn names(fields: &Map<String, Value>) -> Vec<String> {
    let mut names: Vec<String> = fields.keys().map(|key| alias(key)).collect();
    names.sort_unstable();
    names.dedup();
    names.truncate(SHOWN);
    names
}

/// The value of a key, or of the key whose alias this is.
fn field<'a>(fields: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    fields
        .get(key)
        .or_else(|| fields.iter().find(|(name, _)| alias(name) == key).map(|(_, value)| value))
}

/// The name by which a template can ask for a key behind a dot.
fn alias(key: &str) -> String {
    let mut alias = String::with_capacity(key.len());
    let mut rest = key;
    while let Some(character) = rest.chars().next() {
        let is_pair = PAIRS.iter().any(|pair| rest.starts_with(pair));
        let is_operator = is_pair || OPERATORS.contains(character);
        alias.push(if is_operator { '_' } else { character });
        let length = if is_pair { 2 } else { character.len_utf8() };
        rest = rest.get(length..).unwrap_or_default();
    }
    alias
}

fn without_secrets(mut document: Value) -> Value {
    match &mut document {
        Value::Object(fields) => {
            for key in NOT_KEPT {
                fields.remove(*key).iter_mut().for_each(wipe);
            }
            fields.values_mut().for_each(|value| *value = without_secrets(value.take()));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| *item = without_secrets(item.take())),
        _ => {}
    }
    document
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
