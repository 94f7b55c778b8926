//! A JSON document that is served in parts, one for each path below it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::platform::Style;

/// A part of the document: its body and content type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Text, with its type.
    Text(String),
    /// JSON.
    Json(String),
    /// GCE redirects clients from a folder without a slash to the one with it.
    Moved,
}

/// The part of `document` at `path` (the rest of a request's path, `a/b` or `a/b/`), if there is one.
pub fn part(document: &Value, style: Style, path: &str, query: &BTreeMap<String, String>) -> Option<Part> {
    let mut value = document;
    for name in path.split('/').filter(|name| !name.is_empty()) {
        value = match value {
            Value::Object(entries) => entries.get(name)?,
            Value::Array(items) => items.get(name.parse::<usize>().ok()?)?,
            _ => return None,
        };
    }
    let is =
        |key: &str, expected: &str| query.get(key).is_some_and(|value| value.eq_ignore_ascii_case(expected));
    let is_json = is("alt", "json") || is("recursive", "true");
    Some(match style {
        Style::Gce if is_json => Part::Json(
            if is("recursive", "true") { recursive(value, has_users_keys(path)) } else { value.clone() }
                .to_string(),
        ),
        Style::Gce if is_folder(value) && !path.ends_with('/') => Part::Moved,
        Style::Json if is_folder(value) => Part::Json(value.to_string()),
        _ => Part::Text(text(value)),
    })
}

fn is_folder(value: &Value) -> bool {
    match value {
        Value::Object(_) => true,
        Value::Array(items) => items.iter().any(is_folder),
        _ => false,
    }
}

fn text(value: &Value) -> String {
    let name = |(name, value): (String, &Value)| if is_folder(value) { format!("{name}/") } else { name };
    match value {
        Value::Object(entries) => lines(entries.iter().map(|(key, value)| name((key.clone(), value)))),
        Value::Array(items) if is_folder(value) => {
            lines(items.iter().enumerate().map(|(number, value)| name((number.to_string(), value))))
        }
        Value::Array(items) => lines(items.iter().map(text)),
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn lines(lines: impl Iterator<Item = String>) -> String {
    lines.collect::<Vec<_>>().join("\n")
}

/// Whether users chose the keys in this folder.
fn has_users_keys(path: &str) -> bool {
    path.split('/').any(|name| matches!(name, "attributes" | "guest-attributes"))
}

/// There GCE writes keys in camel case, except keys that users chose.
fn recursive(value: &Value, are_users_keys: bool) -> Value {
    match value {
        Value::Object(entries) => {
            let renamed = entries.iter().map(|(key, value)| {
                let name = if are_users_keys { key.clone() } else { camel(key) };
                (name, recursive(value, are_users_keys || has_users_keys(key)))
            });
            Value::Object(renamed.collect::<Map<_, _>>())
        }
        Value::Array(items) => items.iter().map(|item| recursive(item, are_users_keys)).collect(),
        other => other.clone(),
    }
}

fn camel(key: &str) -> String {
    let mut words = key.split('-');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| {
        let mut letters = word.chars();
        name + &letters
            .next()
            .map(|letter| letter.to_ascii_uppercase().to_string() + letters.as_str())
            .unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_served_as_each_platform_does() {
        let document: Value = serde_json::from_str(
            r#"{"id": 7, "machine-type": "m", "nets": [{"ip": "10.0.0.2", "ips": ["a", "b"]}], "attributes": {"kube-env": "x"}}"#,
        )
        .unwrap();
        let text = |text: &str| Some(Part::Text(text.to_owned()));
        let json = |text: &str| Some(Part::Json(text.to_owned()));
        for (style, path, query, expected) in [
            (Style::Listing, "", "", text("attributes/\nid\nmachine-type\nnets/")),
            (Style::Listing, "id", "", text("7")),
            (Style::Listing, "nets/", "", text("0/")),
            (Style::Listing, "nets/0/ips", "", text("a\nb")),
            (Style::Listing, "id/x", "", None),
            (Style::Listing, "nope", "", None),
            (Style::Gce, "machine-type", "", text("m")),
            (Style::Gce, "machine-type", "alt=json", json("\"m\"")),
            (Style::Gce, "nets", "", Some(Part::Moved)),
            (Style::Gce, "nets/", "", text("0/")),
            (
                Style::Gce,
                "",
                "recursive=true",
                json(
                    r#"{"attributes":{"kube-env":"x"},"id":7,"machineType":"m","nets":[{"ip":"10.0.0.2","ips":["a","b"]}]}"#,
                ),
            ),
            (Style::Gce, "attributes/", "recursive=True", json(r#"{"kube-env":"x"}"#)),
            (Style::Json, "nets/0", "", json(r#"{"ip":"10.0.0.2","ips":["a","b"]}"#)),
            (Style::Json, "nets/0/ip", "", text("10.0.0.2")),
        ] {
            let query = query
                .split_once('=')
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into_iter()
                .collect();
            assert_eq!(part(&document, style, path, &query), expected, "{style:?} {path:?}");
        }
    }
}
