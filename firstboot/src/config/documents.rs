//! The bytes of a source → documents, keyed by their kind.

use std::collections::BTreeMap;

use serde_json::Value;

use super::redact::Redactor;
use crate::error::{ErrorKind, Failure, Result};
use crate::text::yaml::{self, Dialect, Reader, guarded};

/// The largest node config. Platforms give 16 to 64 KiB of user data; no real config comes near.
pub const SIZE_LIMIT: usize = 1 << 20;

/// Documents in one file.
const DOCUMENTS: usize = 64;

/// Characters of a name from a file that are shown.
const SHOWN: usize = 100;

/// One document of a file.
pub struct Document {
    /// `kubeadm.k8s.io`; empty for the core group.
    pub group: String,
    /// `v1beta4`
    pub version: String,
    /// `JoinConfiguration`
    pub kind: String,
    pub(crate) value: Value,
    /// Paths of keys that it has twice; the last one counts.
    pub duplicates: Vec<String>,
}

impl Document {
    /// `kubeadm.k8s.io/v1beta4, Kind=JoinConfiguration`, as kubeadm names documents.
    pub fn name(&self) -> String {
        format!("{}/{}, Kind={}", shown(&self.group), shown(&self.version), shown(&self.kind))
    }
}

/// The documents in `bytes`, by kind: YAML, JSON, or several of them. `redactor` remembers everything that
/// looks like a token.
pub fn split(bytes: &[u8], redactor: &mut Redactor) -> Result<BTreeMap<String, Document>> {
    let text = text(bytes)?;
    redactor.scan(text);
    let mut documents = BTreeMap::new();
    for (position, (value, duplicates)) in values(text)?.into_iter().enumerate() {
        redactor.scan_fields(&value);
        let document = identify(value, duplicates)
            .map_err(|failure| failure.doing(format!("document {}", position + 1)))?;
        if documents.contains_key(&document.kind) {
            return Err(wrong(format!(
                "invalid configuration: kind \"{}\" is specified twice",
                shown(&document.kind)
            )));
        }
        documents.insert(document.kind.clone(), document);
    }
    Ok(documents)
}

/// Text from a file for use in a message: on one line, not too long.
pub fn shown(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(SHOWN)
        .flat_map(|character| {
            if matches!(character, '"' | '\'') { vec![character] } else { character.escape_debug().collect() }
        })
        .collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

fn wrong(message: impl Into<String>) -> Failure {
    Failure::new(ErrorKind::Config, message)
}

fn text(bytes: &[u8]) -> Result<&str> {
    if bytes.len() > SIZE_LIMIT {
        return Err(wrong(format!("the node config is larger than {} KiB", SIZE_LIMIT / 1024)));
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(wrong("the node config is UTF-16").help("save it as UTF-8"));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        wrong(format!("the node config is not UTF-8: byte {} begins no character", error.valid_up_to()))
            .help("save it as UTF-8")
    })?;
    if let Some(position) = text.find('\0') {
        return Err(wrong(format!("the node config holds a NUL byte at {position}"))
            .help("it must be text: YAML or JSON"));
    }
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// Every document that is not empty, as Kubernetes reads it, each with its repeated keys.
pub(crate) fn values(text: &str) -> Result<Vec<(Value, Vec<String>)>> {
    // JSON is YAML but for `\ud83d\ude00` in strings; other text gets YAML's error.
    if text.trim_start().starts_with('{')
        && let Some(values) = json(text)
    {
        return Ok(values);
    }
    values_in(text, Dialect::Kubernetes)
}

/// The only document of a text of the cluster; null if it is empty.
pub(crate) fn value(text: &str) -> Result<Value> {
    let mut documents = values(text)?;
    match documents.len() {
        0 => Ok(Value::Null),
        1 => Ok(documents.remove(0).0),
        _ => Err(wrong("it has more than one document")),
    }
}

/// Every document of a file of this machine.
pub(crate) fn values_of(bytes: &[u8]) -> Result<Vec<Value>> {
    Ok(values(utf8(bytes)?)?.into_iter().map(|(value, _)| value).collect())
}

/// The only document of a file of this machine; null if it is empty.
pub(crate) fn value_of(bytes: &[u8]) -> Result<Value> {
    value(utf8(bytes)?)
}

fn utf8(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8"))
}

fn json(text: &str) -> Option<Vec<(Value, Vec<String>)>> {
    let reader = Reader::new();
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = reader.read(&mut deserializer).ok()?;
    deserializer.end().ok()?;
    Some(vec![(value, reader.take_duplicates())])
}

/// Every document of YAML that is not empty, as `dialect` has it, each with its repeated keys.
pub(crate) fn values_in(text: &str, dialect: Dialect) -> Result<Vec<(Value, Vec<String>)>> {
    let text = guarded(text).map_err(|why| wrong(why).help("write it in block style, or as JSON"))?;
    let reader = Reader::of(text, dialect);
    let mut values = Vec::new();
    for (position, value) in yaml::documents(text, &reader).enumerate() {
        if position == DOCUMENTS {
            return Err(wrong(format!("there are more than {DOCUMENTS} documents")));
        }
        let value = value.map_err(|error| not_readable(position, &error))?;
        if !value.is_null() {
            values.push((value, reader.take_duplicates()));
        }
    }
    Ok(values)
}

/// The error and its position, without the path in front, which may be endless, and without text from the
/// file, which may be secret.
fn not_readable(position: usize, error: &serde_yaml_ng::Error) -> Failure {
    let message = error.to_string();
    let place = error
        .location()
        .map(|place| format!(" at line {} column {}", place.line(), place.column()))
        .unwrap_or_default();
    let reason = match message.rsplit(": ").next().unwrap_or_default() {
        quoting if quoting.contains(['"', '`']) => format!("a value is malformed{place}"),
        _ if message.contains("invalid type") => {
            format!("a key or a tagged value is none that JSON has{place}")
        }
        reason => shown(reason),
    };
    wrong(format!("document {} is not valid YAML: {reason}", position + 1))
}

fn identify(value: Value, duplicates: Vec<String>) -> Result<Document> {
    let Value::Object(fields) = &value else {
        return Err(wrong("it is not a map of fields")
            .help("a node config begins with apiVersion: kubeadm.k8s.io/v1beta4"));
    };
    let text = |name: &str| fields.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let (Some(api_version), Some(kind)) = (text("apiVersion"), text("kind")) else {
        return Err(wrong("kind and apiVersion is mandatory information that must be specified"));
    };
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    let (group, version, kind) = (group.to_owned(), version.to_owned(), kind.to_owned());
    Ok(Document { group, version, kind, value, duplicates })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn words_without_quotes_are_read_as_by_kubernetes() {
        let text = "\u{feff}a: yes\nb: \"yes\"\nc: [off, 'off', n]\nd: 0110\ne: '0110'\nf: 09\ng: &g On\nh: *g\ni: none\nj: |-\n  no\n\
            k: !!str 012\nl: &l !!str yes\nm: !!str &m yes\nn: &n 012\no: !!int '3'\np: {q: , \"r\": }\ns: !!float 3\n";
        let expected = json!({"a": true, "b": "yes", "c": [false, "off", false], "d": 72, "e": "0110", "f": 9,
            "g": true, "h": true, "i": "none", "j": "no", "k": "012", "l": "yes", "m": "yes", "n": 10, "o": 3,
            "p": {"q": null, "r": null}, "s": 3.0});
        assert_eq!(value(text).unwrap(), expected);
        let again = crate::kubernetes::yaml::emit(&expected);
        assert_eq!(value(&again).unwrap(), {
            let mut whole = expected;
            whole["s"] = json!(3);
            whole
        });
    }

    #[test]
    fn fields_that_are_taken_over_do_not_replace_a_map_s_own() {
        let read = |text: &str| values(text).unwrap().remove(0);
        for (text, expected, has_duplicates) in [
            ("<<: {a: 1}\na: 2\n", json!({"a": 2}), false),
            ("<<: {a: 1}\n<<: {a: 2}\n", json!({"a": 2}), false),
            ("<<: [{a: 1}, {a: 2, b: 3}]\n", json!({"a": 1, "b": 3}), false),
            // kubeadm's reader takes the later value here, cloud-init's the map's own.
            ("a: 2\n<<: {a: 1}\n", json!({"a": 2}), true),
        ] {
            let (value, duplicates) = read(text);
            assert_eq!((value, !duplicates.is_empty()), (expected, has_duplicates), "{text}");
        }
        for text in ["<<: z\n", "a: {<<: }\n", "<<: [5]\n"] {
            let failure = values(text).err().unwrap();
            assert!(failure.message.contains("<< names something else than maps"), "{failure}");
        }
    }
}
