//! A walk over keys, of which none is seen twice: a broken hive may have a key below itself, or one value in
//! thousands of keys.

use std::collections::{BTreeMap, HashSet};

use super::Hive;
use super::cells::broken;
use super::keys::{INLINE, Key, VALUE_HEADER, parts};
use super::value::{Value, folded};
use crate::error::Result;

/// How deep keys may lie ("Registry element size limits", Microsoft).
const DEEPEST: usize = 512;

/// A name in the form in which names are compared.
pub type Folded = Vec<u16>;

/// A walk.
#[derive(Debug)]
pub struct Walk<'a> {
    hive: &'a Hive,
    /// The cells of the keys that were seen.
    seen: HashSet<u32>,
    /// How many bytes of values may still follow: together they are no longer than the file.
    left: usize,
}

/// A key on the way.
#[derive(Debug)]
pub struct Branch {
    key: Key,
    depth: usize,
}

impl Branch {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.key.name
    }
}

impl Hive {
    /// A new walk.
    pub fn walk(&self) -> Walk<'_> {
        Walk { hive: self, seen: HashSet::new(), left: self.cells.length() }
    }
}

impl Walk<'_> {
    /// The key at `path`, or nothing; the empty path is the root.
    ///
    /// # Errors
    /// When the hive is broken there.
    pub fn at(&mut self, path: &str) -> Result<Option<Branch>> {
        let found = self.hive.find(path)?;
        found.map(|key| self.branch(key, parts(path).count())).transpose()
    }

    /// The keys below one, in the order of their names.
    ///
    /// # Errors
    /// When the hive is broken there.
    pub fn subkeys(&mut self, branch: &Branch) -> Result<BTreeMap<Folded, Branch>> {
        let mut keys = BTreeMap::new();
        for offset in self.hive.subkey_offsets(&branch.key)? {
            let below = self.branch(self.hive.key(offset)?, branch.depth + 1)?;
            let name = below.name().to_owned();
            if keys.insert(folded(&name), below).is_some() {
                return Err(broken(format!("the key {} has two keys {name}", branch.name())));
            }
        }
        Ok(keys)
    }

    /// The values of a key with their names, in the order of these.
    ///
    /// # Errors
    /// When the hive is broken there.
    pub fn values(&mut self, branch: &Branch) -> Result<BTreeMap<Folded, (String, Value)>> {
        let mut values = BTreeMap::new();
        for cell in self.hive.value_cells(&branch.key)? {
            let length = (cell.length & !INLINE) as usize;
            self.left = self.left.checked_sub(length.saturating_add(VALUE_HEADER)).ok_or_else(|| {
                broken(format!("the values up to the key {} are longer than the file", branch.name()))
            })?;
            let value = self.hive.data(&cell)?;
            values.insert(folded(&cell.name), (cell.name, value));
        }
        Ok(values)
    }

    fn branch(&mut self, key: Key, depth: usize) -> Result<Branch> {
        if depth > DEEPEST {
            return Err(broken(format!("the key {} lies deeper than {DEEPEST} keys", key.name)));
        }
        if !self.seen.insert(key.offset) {
            return Err(broken(format!("the key {} is in two places", key.name)));
        }
        Ok(Branch { key, depth })
    }
}
