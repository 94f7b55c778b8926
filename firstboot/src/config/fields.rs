//! Reads the fields of a map one by one. Errors name the path and never the value, which may be a secret.

use std::time::Duration;

use serde_json::{Map, Value};

use super::documents::shown;
use super::duration;
use crate::error::{ErrorKind, Failure, Result};

/// A map whose fields are being read. null is the same as absent, as in Go.
pub struct Fields<'a> {
    path: String,
    map: &'a Map<String, Value>,
    asked: Vec<&'static str>,
}

/// A field that the reader did not ask for.
#[derive(Debug, PartialEq, Eq)]
pub struct Unknown {
    /// `nodeRegistration.kubeletExtraArg`
    pub path: String,
    /// `kubeletExtraArg`
    pub name: String,
    /// The fields that its map may have.
    pub known: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// The fields of `value`, which stands at `path`.
    pub fn of(value: &'a Value, path: impl Into<String>) -> Result<Self> {
        let path = path.into();
        match value {
            Value::Object(map) => Ok(Self { path, map, asked: Vec::new() }),
            other => Err(wrong_type(&path, other, "a map")),
        }
    }

    /// The path of the field `name`.
    pub fn path(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    fn take(&mut self, name: &'static str) -> Option<&'a Value> {
        self.asked.push(name);
        self.map.get(name).filter(|value| !value.is_null())
    }

    /// Skips a field without a meaning here.
    pub fn skip(&mut self, name: &'static str) -> bool {
        self.take(name).is_some()
    }

    /// A text.
    pub fn text(&mut self, name: &'static str) -> Result<Option<String>> {
        let path = self.path(name);
        self.take(name).map(|value| text(value, &path)).transpose()
    }

    /// A yes or no.
    pub fn flag(&mut self, name: &'static str) -> Result<Option<bool>> {
        let path = self.path(name);
        let read = |value: &Value| match value {
            Value::Bool(flag) => Ok(*flag),
            other => Err(wrong_type(&path, other, "true or false")),
        };
        self.take(name).map(read).transpose()
    }

    /// A Go duration.
    pub fn duration(&mut self, name: &'static str) -> Result<Option<Duration>> {
        let path = self.path(name);
        let help = "write a number with its unit, such as \"5m\" or \"1m30s\"";
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => duration::parse(text).map(Some).map_err(|reason| {
                Failure::new(ErrorKind::Config, format!("{path}: Invalid value: {reason}")).help(help)
            }),
            Some(other) => {
                let Failure { message, .. } = wrong_type(&path, other, "a string");
                Err(Failure::new(ErrorKind::Config, message).help(help))
            }
        }
    }

    /// A list of texts; none is an empty one.
    pub fn texts(&mut self, name: &'static str) -> Result<Vec<String>> {
        let path = self.path(name);
        let items = self.items(name)?.map_or(&[][..], Vec::as_slice);
        items
            .iter()
            .enumerate()
            .map(|(position, item)| text(item, &format!("{path}[{position}]")))
            .collect()
    }

    /// A map of texts.
    pub fn text_map(&mut self, name: &'static str) -> Result<Vec<(String, String)>> {
        let Some(fields) = self.fields(name)? else { return Ok(Vec::new()) };
        // As in Go, null is the zero value, which for a text is the empty one.
        let entry = |(key, value): (&String, &Value)| match value {
            Value::Null => Ok((key.clone(), String::new())),
            value => Ok((key.clone(), text(value, &fields.path(&shown(key)))?)),
        };
        fields.map.iter().map(entry).collect()
    }

    /// A map.
    pub fn fields(&mut self, name: &'static str) -> Result<Option<Fields<'a>>> {
        let path = self.path(name);
        self.take(name).map(|value| Fields::of(value, path)).transpose()
    }

    /// A list of maps. An absent one and an empty one are not the same.
    pub fn list(&mut self, name: &'static str) -> Result<Option<Vec<Fields<'a>>>> {
        let path = self.path(name);
        let Some(items) = self.items(name)? else { return Ok(None) };
        items
            .iter()
            .enumerate()
            .map(|(position, item)| Fields::of(item, format!("{path}[{position}]")))
            .collect::<Result<_>>()
            .map(Some)
    }

    fn items(&mut self, name: &'static str) -> Result<Option<&'a Vec<Value>>> {
        let path = self.path(name);
        match self.take(name) {
            None => Ok(None),
            Some(Value::Array(items)) => Ok(Some(items)),
            Some(other) => Err(wrong_type(&path, other, "a list")),
        }
    }

    /// Notes the fields that were not asked for.
    pub fn finish(self, unknown: &mut Vec<Unknown>) {
        for name in self.map.keys().filter(|name| !self.asked.contains(&name.as_str())) {
            unknown.push(Unknown {
                path: self.path(&shown(name)),
                name: name.clone(),
                known: self.asked.clone(),
            });
        }
    }
}

fn text(value: &Value, path: &str) -> Result<String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        other => Err(wrong_type(path, other, "a string")),
    }
}

fn wrong_type(path: &str, value: &Value, wanted: &str) -> Failure {
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "a bool",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    };
    let place = if path.is_empty() { String::new() } else { format!("{path}: ") };
    let failure = Failure::new(ErrorKind::Config, format!("{place}cannot unmarshal {found} into {wanted}"));
    match (value, wanted) {
        (Value::Number(_) | Value::Bool(_), "a string") => failure.help("put the value in quotes"),
        (Value::Object(_), "a list") if path.ends_with("kubeletExtraArgs") => {
            failure.help("from v1beta4 on kubeletExtraArgs is a list: [{name: node-labels, value: pool=a}]")
        }
        (Value::Array(_), "a map") if path.ends_with("kubeletExtraArgs") => {
            failure.help("before v1beta4 kubeletExtraArgs is a map: {node-labels: pool=a}")
        }
        _ => failure,
    }
}
