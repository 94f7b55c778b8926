//! Metadata as a folder of texts, as EC2 has it: read key by key when a template asks for it.

use serde_json::Value;

use super::{Found, Step, alias, walk};
use crate::error::Result;
use crate::net::service::Service;

/// The most entries of a listing that are read.
const ENTRIES: usize = 1024;
/// Never read: whoever asks gets the machine's credentials.
const CREDENTIALS: &str = "security-credentials";

/// A folder of a metadata service.
pub(super) struct Folder {
    service: Service,
    path: String,
}

/// A line of a listing.
struct Entry {
    name: String,
    /// Its path in the folder.
    path: String,
    is_folder: bool,
}

impl Folder {
    pub fn new(service: Service, path: &str) -> Self {
        Self { service, path: path.to_owned() }
    }

    /// Follows `steps` from the folder.
    pub fn find(&mut self, steps: &[Step]) -> Result<Found> {
        let mut path = self.path.clone();
        for (index, step) in steps.iter().enumerate() {
            let entries = self.entries(&path)?;
            let behind = steps.get(index + 1..).unwrap_or_default();
            let Some(entry) = step.key().and_then(|key| entry(&entries, key)) else {
                let known = entries.into_iter().take(super::SHOWN).map(|entry| alias(&entry.name)).collect();
                return Ok(Found::Missing { is_last: behind.is_empty(), known });
            };
            path = format!("{path}/{}", entry.path);
            if !entry.is_folder {
                let text = self.service.find_text(&path)?.unwrap_or_default();
                return Ok(walk(&leaf(text), behind));
            }
        }
        Ok(Found::Value(Value::Object(serde_json::Map::new())))
    }

    /// The texts in the folder `name` of this one.
    pub fn texts(&mut self, name: &str) -> Result<Vec<String>> {
        let path = format!("{}/{name}", self.path);
        let mut texts = Vec::new();
        for entry in self.entries(&path)?.iter().filter(|entry| !entry.is_folder) {
            texts.extend(self.service.find_text(&format!("{path}/{}", entry.path))?);
        }
        Ok(texts)
    }

    fn entries(&mut self, path: &str) -> Result<Vec<Entry>> {
        let listing = self.service.find_text(&format!("{path}/"))?.unwrap_or_default();
        Ok(listing.lines().take(ENTRIES).filter_map(|line| read_entry(line.trim())).collect())
    }
}

/// `name`, `folder/`, or `0=name` for a key of SSH.
fn read_entry(line: &str) -> Option<Entry> {
    let entry =
        |name: &str, path: &str, is_folder| Entry { name: name.to_owned(), path: path.to_owned(), is_folder };
    let entry = match (line.strip_suffix('/'), line.split_once('=')) {
        (Some(name), _) => entry(name, name, true),
        (None, Some((number, name))) if number.bytes().all(|byte| byte.is_ascii_digit()) => {
            entry(name, &format!("{number}/openssh-key"), false)
        }
        _ => entry(line, line, false),
    };
    let is_usable = entry.path.split('/').all(is_plain_name) && entry.name != CREDENTIALS;
    is_usable.then_some(entry)
}

fn entry<'a>(entries: &'a [Entry], key: &str) -> Option<&'a Entry> {
    let by_name = entries.iter().find(|entry| entry.name == key);
    by_name.or_else(|| entries.iter().find(|entry| alias(&entry.name) == key))
}

/// Whether a name in a listing may become part of a path.
pub(crate) fn is_plain_name(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-=._:@".contains(&byte))
        && !name.contains("..")
}

/// cloud-init reads a text in braces as JSON, and several lines as a list.
fn leaf(text: String) -> Value {
    let parsed = || serde_json::from_str(&text).ok();
    if text.starts_with('{')
        && text.ends_with('}')
        && let Some(value) = parsed()
    {
        return value;
    }
    if text.contains('\n') {
        return text.lines().map(Value::from).collect();
    }
    Value::String(text)
}
