//! Replaces `${name}` in a platform's texts by values, which are escaped in JSON.
//!
//! `${name:base64}`, `${name:sha256}` and `${name:lower}` pass the value through a filter; `$${` is a literal
//! `${`.

use std::collections::BTreeMap;

use base64::Engine;
use serde_json::Value;
use sha2::Digest;

use crate::error::{Error, Result};

/// Marks an absent value until the JSON document is parsed.
const ABSENT: &str = "\u{0}absent";

/// How deep references between values may be.
const DEPTH: usize = 8;

/// The name of the user data.
pub const USER_DATA: &str = "user-data";

/// The values for a platform's texts.
#[derive(Debug, Clone, Default)]
pub struct Values {
    /// The values by name. They may refer to others. An empty value is absent.
    pub texts: BTreeMap<String, String>,
    /// The value of `${user-data}`.
    pub user_data: Vec<u8>,
}

impl Values {
    /// The value of `name`; empty if it is absent.
    pub fn get(&self, name: &str) -> Result<Vec<u8>> {
        self.look_up(name, 0)
    }

    /// Fills in a text; `None` if it consists of one absent value.
    pub fn text(&self, text: &str) -> Result<Option<Vec<u8>>> {
        let pieces = pieces(text)?;
        let bytes = self.join(&pieces, 0)?;
        Ok(if bytes.is_empty() && matches!(pieces[..], [Piece::Value { .. }]) { None } else { Some(bytes) })
    }

    /// Like [`Values::text`], but as a string, with "" for `None`.
    pub fn string(&self, text: &str) -> Result<String> {
        Ok(String::from_utf8_lossy(&self.text(text)?.unwrap_or_default()).into_owned())
    }

    /// Fills in a JSON document. Its text stays as written, unless an absent value had to be removed.
    pub fn json(&self, text: &str) -> Result<(String, Value)> {
        let mut rendered = String::new();
        for piece in pieces(text)? {
            match piece {
                Piece::Text(text) => rendered.push_str(text),
                Piece::Value { name, filter } => {
                    let bytes = self.filtered(name, filter, 0)?;
                    rendered.push_str(&escaped(if bytes.is_empty() { ABSENT } else { str_of(&bytes) }));
                }
            }
        }
        let mut value: Value = serde_json::from_str(&rendered).map_err(|error| {
            Error::usage(format!("with these values a document is not JSON: {error}"))
                .help("see the values given by --set")
        })?;
        if rendered.contains(&escaped(ABSENT)) {
            prune(&mut value);
            rendered = serde_json::to_string_pretty(&value).unwrap_or_default();
        }
        Ok((rendered, value))
    }

    fn look_up(&self, name: &str, depth: usize) -> Result<Vec<u8>> {
        if name == USER_DATA {
            return Ok(self.user_data.clone());
        }
        let Some(text) = self.texts.get(name) else {
            return Err(Error::system(format!("the platform has no variable {name:?}")));
        };
        if depth > DEPTH {
            return Err(Error::usage(format!("the value of {name:?} refers to itself")));
        }
        self.join(&pieces(text)?, depth + 1)
    }

    fn join(&self, pieces: &[Piece<'_>], depth: usize) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        for piece in pieces {
            match piece {
                Piece::Text(text) => bytes.extend_from_slice(text.as_bytes()),
                Piece::Value { name, filter } => bytes.extend(self.filtered(name, *filter, depth)?),
            }
        }
        Ok(bytes)
    }

    fn filtered(&self, name: &str, filter: Option<&str>, depth: usize) -> Result<Vec<u8>> {
        let bytes = self.look_up(name, depth)?;
        Ok(match filter {
            None => bytes,
            Some("base64") => base64::engine::general_purpose::STANDARD.encode(bytes).into_bytes(),
            Some("lower") => bytes.to_ascii_lowercase(),
            Some("sha256") => sha2::Sha256::digest(&bytes)
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>()
                .into_bytes(),
            Some(other) => return Err(Error::system(format!("there is no filter {other:?}"))),
        })
    }
}

enum Piece<'a> {
    Text(&'a str),
    Value { name: &'a str, filter: Option<&'a str> },
}

fn pieces(text: &str) -> Result<Vec<Piece<'_>>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, after) = rest.split_at(at);
        if let Some(literal) = before.strip_suffix('$') {
            pieces.extend([Piece::Text(literal), Piece::Text("${")]);
            rest = &after[2..];
            continue;
        }
        let Some(end) = after.find('}') else {
            return Err(Error::usage(format!("a ${{ without }} in {text:?}")));
        };
        let inside = &after[2..end];
        let (name, filter) =
            inside.split_once(':').map_or((inside, None), |(name, filter)| (name, Some(filter)));
        pieces.extend([Piece::Text(before), Piece::Value { name, filter }]);
        rest = &after[end + 1..];
    }
    pieces.push(Piece::Text(rest));
    pieces.retain(|piece| !matches!(piece, Piece::Text("")));
    Ok(pieces)
}

/// The valid UTF-8 in it, because JSON cannot contain anything else.
fn str_of(bytes: &[u8]) -> &str {
    match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
    }
}

/// The inside of a JSON string.
fn escaped(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// Removes absent values.
fn prune(value: &mut Value) {
    match value {
        Value::Object(entries) => {
            entries.retain(|_, entry| !is_absent(entry));
            entries.values_mut().for_each(prune);
            let renamed = std::mem::take(entries).into_iter().filter(|(key, _)| !key.contains(ABSENT));
            *entries = renamed.collect();
        }
        Value::Array(items) => {
            items.retain(|item| !is_absent(item));
            items.iter_mut().for_each(prune);
        }
        Value::String(text) => *text = text.replace(ABSENT, ""),
        _ => {}
    }
}

fn is_absent(value: &Value) -> bool {
    value.as_str() == Some(ABSENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values() -> Values {
        let texts = [("a", "1"), ("host", "n${a}"), ("none", ""), ("loop", "${loop}"), ("Big", "ABC")];
        Values {
            texts: texts.map(|(name, text)| (name.to_owned(), text.to_owned())).into(),
            user_data: b"x\"y\n\xff".to_vec(),
        }
    }

    #[test]
    fn texts_are_filled() {
        for (text, expected) in [
            ("plain", Some(&b"plain"[..])),
            ("${host}.local", Some(b"n1.local")),
            ("$${host}", Some(b"${host}")),
            ("${user-data}", Some(b"x\"y\n\xff")),
            ("${a:base64}", Some(b"MQ==")),
            ("${Big:lower}", Some(b"abc")),
            ("${a:sha256}", Some(b"6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b")),
            ("${none}", None),
            ("a${none}", Some(b"a")),
            ("", Some(b"")),
        ] {
            assert_eq!(values().text(text).unwrap().as_deref(), expected, "{text}");
        }
        for (text, expected) in
            [("${b}", "no variable"), ("${loop}", "itself"), ("${a", "without"), ("${a:rot13}", "no filter")]
        {
            assert!(values().text(text).unwrap_err().message.contains(expected), "{text}");
        }
    }

    #[test]
    fn documents_are_escaped_and_lose_what_is_absent() {
        let (text, value) = values().json(r#"{"id": ${a}, "u": "${user-data}"}"#).unwrap();
        assert_eq!((value["id"].as_u64(), value["u"].as_str()), (Some(1), Some("x\"y\n")));
        assert!(text.starts_with(r#"{"id": 1, "#), "the text stays as it is written: {text}");
        let (text, value) = values()
            .json(r#"{"k": "${none}", "l": ["${none}", "b"], "m": "x${none}", "${none}": 1}"#)
            .unwrap();
        assert_eq!(value, serde_json::json!({"l": ["b"], "m": "x"}));
        assert!(!text.contains("absent"));
        assert!(values().json("{\"id\": ${host}}").unwrap_err().message.contains("not JSON"));
    }
}
