//! Values of YAML and JSON that may be secrets, and access to their fields. Errors name a field, never its
//! value.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::bounds::wrong;
use crate::config::documents;
use crate::document::LIMIT;
use crate::error::{Failure, Result};
use crate::secret::wipe;
use crate::text::yaml::{Dialect, written_otherwise};

/// A document. Its texts are overwritten when it is dropped.
pub struct Tree {
    value: Value,
    /// Whether a map has two fields of the same name. The last one counts.
    pub has_duplicates: bool,
}

impl Drop for Tree {
    fn drop(&mut self) {
        wipe(&mut self.value);
    }
}

impl Tree {
    /// The only document of `text`, JSON or YAML as Kubernetes reads it.
    pub fn read(text: &str) -> Result<Self> {
        Self::only(text, documents::values)
    }

    /// The only document of `text`, YAML as cloud-init reads it.
    pub fn of_cloud_init(text: &str) -> Result<Self> {
        Self::only(text, |text| documents::values_in(text, Dialect::CloudInit))
    }

    fn only(text: &str, read: impl Fn(&str) -> Result<Vec<(Value, Vec<String>)>>) -> Result<Self> {
        if text.len() > LIMIT {
            return Err(wrong(format!("it is longer than {LIMIT} bytes")));
        }
        let documents: Vec<Self> = read(text)?
            .into_iter()
            .map(|(value, duplicates)| Self { value, has_duplicates: !duplicates.is_empty() })
            .collect();
        let mut documents = documents.into_iter();
        match (documents.next(), documents.next()) {
            (Some(document), None) => Ok(document),
            (None, _) => Ok(Self { value: Value::Null, has_duplicates: false }),
            _ => Err(wrong("it has more than one document")),
        }
    }

    /// A document that is known to be a map.
    pub fn of(fields: Map<String, Value>) -> Self {
        Self { value: Value::Object(fields), has_duplicates: false }
    }

    /// Takes the fields of the document; none if it is empty.
    pub fn into_fields(mut self) -> Result<Option<Map<String, Value>>> {
        match self.value.take() {
            Value::Null => Ok(None),
            Value::Object(map) => Ok(Some(map)),
            _ => Err(wrong("it is not a map of fields")),
        }
    }

    /// The items of the document, which must be a list.
    pub fn items(&self) -> Result<&[Value]> {
        self.value.as_array().map(Vec::as_slice).ok_or_else(|| wrong("it is not a list"))
    }

    /// The fields of the document; none if it is empty.
    pub fn fields(&self) -> Result<Option<Fields<'_>>> {
        match &self.value {
            Value::Null => Ok(None),
            Value::Object(map) => Ok(Some(Fields { map, path: String::new() })),
            _ => Err(wrong("it is not a map of fields")),
        }
    }
}

/// The fields of a map, and its path.
pub struct Fields<'a> {
    map: &'a Map<String, Value>,
    /// `storage.files[2].`
    path: String,
}

impl<'a> Fields<'a> {
    /// The fields of an item of a list.
    pub fn of(map: &'a Map<String, Value>, place: &str) -> Self {
        Self { map, path: format!("{place}.") }
    }

    /// The names of all fields that are not empty.
    pub fn names(&self) -> impl Iterator<Item = &'a str> {
        self.map.iter().filter(|(_, value)| !is_empty(value)).map(|(name, _)| name.as_str())
    }

    /// The field, unless it is null.
    pub fn value(&self, name: &str) -> Option<&'a Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    /// A text.
    pub fn text(&self, name: &str) -> Result<Option<&'a str>> {
        self.value(name)
            .map(|value| value.as_str().ok_or_else(|| self.no_text(name, value)))
            .transpose()
    }

    /// A text, or a number that is written as the text that it becomes.
    pub fn scalar(&self, name: &str) -> Result<Option<Cow<'a, str>>> {
        let read = |value: &'a Value| match value {
            Value::String(text) => Ok(Cow::Borrowed(text.as_str())),
            Value::Number(number) => Ok(Cow::Owned(number.to_string())),
            _ => Err(self.no_text(name, value)),
        };
        self.value(name).map(read).transpose()
    }

    fn no_text(&self, name: &str, value: &Value) -> Failure {
        let wrong = self.wrong(name, "a text");
        let is_plain =
            matches!(value, Value::Number(_) | Value::Bool(_)) || written_otherwise(value).is_some();
        let help = "put it in quotes: without them it is a number, a date or a truth in YAML 1.1";
        if is_plain { wrong.help(help) } else { wrong }
    }

    /// A boolean; false if it is missing. Words and numbers are read as by cloud-init.
    pub fn flag(&self, name: &str) -> Result<bool> {
        let read = |value: &Value| match value {
            Value::Bool(flag) => Some(*flag),
            Value::Number(number) => number.as_u64().filter(|number| *number <= 1).map(|number| number == 1),
            Value::String(word) => match word.trim().to_ascii_lowercase().as_str() {
                "true" | "1" | "on" | "yes" => Some(true),
                "false" | "0" | "off" | "no" | "" => Some(false),
                _ => None,
            },
            _ => None,
        };
        self.value(name)
            .map_or(Ok(false), |value| read(value).ok_or_else(|| self.wrong(name, "true or false")))
    }

    /// A list; empty if it is missing.
    pub fn list(&self, name: &str) -> Result<&'a [Value]> {
        self.value(name).map_or(Ok(&[]), |value| {
            value.as_array().map(Vec::as_slice).ok_or_else(|| self.wrong(name, "a list"))
        })
    }

    /// A map of fields.
    pub fn fields(&self, name: &str) -> Result<Option<Fields<'a>>> {
        let below = |value: &'a Value| {
            value.as_object().map(|map| Fields { map, path: format!("{}{name}.", self.path) })
        };
        self.value(name)
            .map(|value| below(value).ok_or_else(|| self.wrong(name, "a map of fields")))
            .transpose()
    }

    /// A list of maps.
    pub fn maps(&self, name: &str) -> Result<Vec<Fields<'a>>> {
        let below = |(index, value): (usize, &'a Value)| {
            let map = value
                .as_object()
                .ok_or_else(|| self.wrong(&format!("{name}[{index}]"), "a map of fields"))?;
            Ok(Fields { map, path: format!("{}{name}[{index}].", self.path) })
        };
        self.list(name)?.iter().enumerate().map(below).collect()
    }

    /// The error about a field.
    pub fn wrong(&self, name: &str, expected: &str) -> Failure {
        wrong(format!("{}{name} is not {expected}", self.path))
    }

    /// The path of the map: `storage.files[2]`
    pub fn place(&self) -> &str {
        self.path.trim_end_matches('.')
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(is_empty),
        _ => false,
    }
}
