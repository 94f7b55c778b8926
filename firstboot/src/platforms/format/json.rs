//! Documents of metadata services: JSON (RFC 8259) or YAML, fields by JSON pointer (RFC 6901) where `*` is
//! each item of a list.
//!
//! Errors never repeat a document's contents, which may be user data. Its texts are overwritten when it is
//! dropped.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::error::{ErrorKind, Failure, Result};
use crate::facts::{Address, Facts, Scope};
use crate::host::network;
use crate::secret::wipe;
use crate::text::yaml;

/// Longest text that becomes a fact.
const LONGEST_FACT: usize = 4096;
/// Most addresses of one machine.
const MOST_ADDRESSES: usize = 256;

/// A document, and where it came from.
pub(crate) struct Json {
    value: Value,
    source: String,
}

impl Drop for Json {
    fn drop(&mut self) {
        wipe(&mut self.value);
    }
}

impl Json {
    /// Parses JSON; `source` is the document's URL.
    pub fn parse(bytes: &[u8], source: &str) -> Result<Self> {
        let parsed = serde_json::from_slice(bytes);
        Self::of(
            parsed.map_err(|error| format!("no JSON at line {}, column {}", error.line(), error.column())),
            source,
        )
    }

    /// Parses YAML; `source` is the document's URL.
    pub fn parse_yaml(bytes: &[u8], source: &str) -> Result<Self> {
        Self::of(yaml::cloud_init(bytes).map_err(|refused| refused.describe("YAML")), source)
    }

    fn of(parsed: std::result::Result<Value, String>, source: &str) -> Result<Self> {
        let source = source.to_owned();
        match parsed {
            Ok(value @ (Value::Object(_) | Value::Array(_))) => Ok(Self { value, source }),
            Ok(_) => Err(Failure::new(
                ErrorKind::Source,
                format!("{source}: the document is neither a mapping nor a list"),
            )),
            Err(why) => Err(Failure::new(ErrorKind::Source, format!("{source}: {why}"))),
        }
    }

    /// The whole document.
    pub fn into_value(mut self) -> Value {
        self.value.take()
    }

    /// A failure about the field at `path`.
    pub fn wrong(&self, path: &str, why: &str) -> Failure {
        Failure::new(ErrorKind::Source, format!("{}: {path}: {why}", self.source))
    }

    /// Where the field at `path` came from: the URL, and the path as its fragment.
    pub fn origin(&self, path: &str) -> String {
        format!("{}#{path}", self.source)
    }

    /// A text, a number or a truth as text; none when it is missing, null or blank.
    pub fn text(&self, path: &str) -> Result<Option<String>> {
        self.value.pointer(path).map_or(Ok(None), |value| self.as_text(path, value))
    }

    fn as_text(&self, path: &str, value: &Value) -> Result<Option<String>> {
        let text = match value {
            Value::Null => return Ok(None),
            Value::String(text) => text.trim().to_owned(),
            Value::Number(number) => number.to_string(),
            Value::Bool(is) => is.to_string(),
            Value::Array(_) | Value::Object(_) => return Err(self.wrong(path, "it is no text")),
        };
        if text.len() > LONGEST_FACT || text.contains(char::is_control) {
            return Err(self.wrong(path, "it is too long, or has control characters in it"));
        }
        Ok(Some(text).filter(|text| !text.is_empty()))
    }

    /// A text that must be there.
    pub fn must(&self, path: &str) -> Result<String> {
        self.text(path)?.ok_or_else(|| self.wrong(path, "it is missing"))
    }

    /// The unchanged text of a field that is no fact.
    pub fn raw(&self, path: &str) -> Result<Option<&str>> {
        match self.value.pointer(path) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(path, "it is no text")),
        }
    }

    /// Adds the machine's id, which every document of the platform has.
    pub fn add_id(&self, facts: &mut Facts, path: &str) -> Result<()> {
        facts.instance_id.add(self.must(path)?, self.origin(path));
        Ok(())
    }

    /// Adds facts: paths, with the names of their facts.
    pub fn add(&self, facts: &mut Facts, fields: &[(&str, &'static str)]) -> Result<()> {
        fields.iter().try_for_each(|(path, field)| {
            let value = self.text(path)?;
            // Skip absent values so that no empty fact is created.
            value.into_iter().for_each(|value| facts.fact(field).add(value, self.origin(path)));
            Ok(())
        })
    }

    /// All values at `pattern`, with their paths.
    fn all(&self, pattern: &str) -> Result<Vec<(String, &Value)>> {
        let mut found = vec![(String::new(), &self.value)];
        for step in pattern.split('/').skip(1) {
            let mut next = Vec::new();
            for (path, value) in found {
                match (step, value) {
                    (_, Value::Null) => {}
                    ("*", Value::Array(items)) => {
                        next.extend(
                            items
                                .iter()
                                .take(MOST_ADDRESSES)
                                .enumerate()
                                .map(|(index, item)| (format!("{path}/{index}"), item)),
                        );
                    }
                    ("*", _) => return Err(self.wrong(&path, "it is no list")),
                    (name, Value::Object(fields)) => {
                        next.extend(fields.get(name).map(|item| (format!("{path}/{name}"), item)))
                    }
                    _ => return Err(self.wrong(&path, "it is no mapping")),
                }
            }
            found = next;
        }
        Ok(found)
    }

    /// All texts at `pattern`.
    pub fn texts(&self, pattern: &str) -> Result<Vec<String>> {
        let found = self.all(pattern)?;
        let texts = found.iter().map(|(path, value)| self.as_text(path, value));
        texts.filter_map(Result::transpose).collect()
    }

    /// Addresses: patterns, with their scope (by address range where none is given). Other texts are left
    /// out: some platforms put words there.
    pub fn addresses(&self, patterns: &[(&str, Option<Scope>)]) -> Result<Vec<Address>> {
        let mut found = Vec::new();
        for (pattern, scope) in patterns {
            let texts = self.texts(pattern)?;
            let ips = texts
                .iter()
                .filter_map(|text| network::parse_address(text.split('/').next().unwrap_or_default()));
            found.extend(ips.map(|ip| Address { scope: scope.unwrap_or_else(|| Scope::of(ip)), ip }));
        }
        found.truncate(MOST_ADDRESSES);
        Ok(found)
    }

    /// Adds addresses.
    pub fn add_addresses(&self, facts: &mut Facts, patterns: &[(&str, Option<Scope>)]) -> Result<()> {
        facts.add_addresses(self.addresses(patterns)?, &self.source);
        Ok(())
    }

    /// Adds a list of words as tags without values.
    pub fn add_tag_names(&self, facts: &mut Facts, path: &str) -> Result<()> {
        let words = self.texts(&format!("{path}/*"))?;
        let tags: BTreeMap<String, String> = words.into_iter().map(|word| (word, String::new())).collect();
        facts.tags.add_some((!tags.is_empty()).then_some(tags), self.origin(path));
        Ok(())
    }

    /// Adds a mapping as tags.
    pub fn add_tags(&self, facts: &mut Facts, path: &str) -> Result<()> {
        let fields = match self.value.pointer(path) {
            None | Some(Value::Null) => return Ok(()),
            Some(Value::Object(fields)) => fields,
            Some(_) => return Err(self.wrong(path, "it is no mapping")),
        };
        let mut tags = BTreeMap::new();
        for (key, value) in fields {
            tags.insert(key.clone(), self.as_text(path, value)?.unwrap_or_default());
        }
        facts.tags.add_some((!tags.is_empty()).then_some(tags), self.origin(path));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &[u8] =
        br#"{"id": 7, "zone": "a", "list": [{"ip": "10.0.0.1/8"}, {"ip": ""}, {"ip": "2001:db8::1"}, {}, null], "tags": ["x"], "map": {"k": "v"}}"#;

    #[test]
    fn fields_become_facts_with_their_paths() {
        let document = Json::parse(DOCUMENT, "http://m/v1").unwrap();
        let mut facts = Facts::default();
        document.add_id(&mut facts, "/id").unwrap();
        document.add(&mut facts, &[("/zone", "zone"), ("/nothing", "project")]).unwrap();
        document.add_addresses(&mut facts, &[("/list/*/ip", None)]).unwrap();
        document.add_tags(&mut facts, "/map").unwrap();
        document.add_tag_names(&mut facts, "/tags").unwrap();
        assert_eq!(
            (facts.text("instance-id"), facts.text("zone"), facts.text("project")),
            (Some("7"), Some("a"), None)
        );
        assert_eq!(facts.zone.chosen().unwrap().source, "http://m/v1#/zone");
        assert!(facts.extra.is_empty());
        let shown: Vec<String> = facts.addresses.value().unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["10.0.0.1 (private)", "2001:db8::1 (public)"]);
        assert_eq!((facts.tags.value().unwrap()["k"].as_str(), facts.tags.others().len()), ("v", 1));
    }

    #[test]
    fn what_is_odd_is_named_by_its_path_and_not_repeated() {
        let document =
            Json::parse(br#"{"a": ["canary"], "b": "canary\u001b[2J", "c": "canary"}"#, "http://m/v1")
                .unwrap();
        for failure in [
            document.text("/a").unwrap_err(),
            document.text("/b").unwrap_err(),
            document.must("/d").unwrap_err(),
            document.texts("/c/*").unwrap_err(),
            document.texts("/c/x").unwrap_err(),
            document.add_tags(&mut Facts::default(), "/a").unwrap_err(),
        ] {
            assert!(
                failure.kind == ErrorKind::Source && failure.message.starts_with("http://m/v1: /"),
                "{failure}"
            );
            assert!(!failure.message.contains("canary"), "{failure}");
        }
    }

    #[test]
    fn what_is_no_document_is_an_error() {
        let deep = "[".repeat(100_000);
        for bytes in
            [&b""[..], b"<html>canary</html>", b"\"canary\"", b"7", b"{\"a\": 1", b"\xff", deep.as_bytes()]
        {
            for parsed in [Json::parse(bytes, "http://m"), Json::parse_yaml(bytes, "http://m")] {
                let failure = parsed.err().unwrap();
                assert!(
                    failure.message.starts_with("http://m: ") && !failure.message.contains("canary"),
                    "{failure}"
                );
            }
        }
        assert_eq!(Json::parse_yaml(b"a: 1\n", "http://m").unwrap().must("/a").unwrap(), "1");
    }
}
