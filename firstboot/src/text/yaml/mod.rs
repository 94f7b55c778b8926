//! The one door for YAML of others: without a byte order mark, and with a bound on the time that it takes.

mod plain;
mod tree;

use serde::de::DeserializeOwned;
use serde_json::Value;

pub(crate) use plain::Dialect;
pub(crate) use tree::{Reader, written_otherwise};

/// Opening brackets and braces that any text may have.
const BRACKETS: usize = 1000;
/// Opening brackets and braces times bytes, beyond that: scripts in a short cloud-config are full of them.
const BRACKETS_TIMES_BYTES: usize = 256 << 20;

/// Why a text is not read.
pub(crate) enum Refused {
    /// It would take too long.
    TooLong(String),
    /// It has another form; the line and the column, if there is one.
    Form(Option<(usize, usize)>),
}

/// The text behind a byte order mark, if it takes a bounded time. The reader's time grows with the text times
/// the depth of flow collections, and nothing in it bounds the latter.
pub(crate) fn guarded(text: &str) -> Result<&str, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let brackets = text.bytes().filter(|byte| b"[{".contains(byte)).count();
    if brackets > BRACKETS && brackets.saturating_mul(text.len()) > BRACKETS_TIMES_BYTES {
        let length = text.len();
        return Err(format!(
            "there are {brackets} brackets and braces in {length} bytes of YAML, which would take too long"
        ));
    }
    Ok(text)
}

/// The documents of `text`, read one after the other by `reader`.
pub(crate) fn documents<'t>(
    text: &'t str,
    reader: &Reader<'t>,
) -> impl Iterator<Item = Result<Value, serde_yaml_ng::Error>> {
    let again = serde_yaml_ng::Deserializer::from_str(text);
    serde_yaml_ng::Deserializer::from_str(text)
        .zip(again)
        .map(|(first, again)| reader.read_twice(first, again))
}

/// Reads the only document of `bytes` as cloud-init does; null if there is none.
pub(crate) fn cloud_init(bytes: &[u8]) -> Result<Value, Refused> {
    let text = std::str::from_utf8(bytes).map_err(|_| Refused::Form(None))?;
    let text = guarded(text).map_err(Refused::TooLong)?;
    let reader = Reader::of(text, Dialect::CloudInit);
    let mut documents = documents(text, &reader);
    let document = documents.next().unwrap_or(Ok(Value::Null)).map_err(|error| Refused::at(&error))?;
    if documents.next().is_some() { Err(Refused::Form(None)) } else { Ok(document) }
}

/// A plain value as Python writes it, `None` too; none for lists, maps, dates, and numbers with an exponent.
pub(crate) fn python_text(value: &Value) -> Option<String> {
    /// Numbers that Python writes without an exponent.
    const PLAIN: std::ops::Range<f64> = 1e-4..1e16;
    match value {
        Value::Null => Some("None".to_owned()),
        Value::Bool(true) => Some("True".to_owned()),
        Value::Bool(false) => Some("False".to_owned()),
        Value::String(text) => Some(text.clone()),
        Value::Number(number) if number.is_f64() => number
            .as_f64()
            .filter(|number| *number == 0.0 || PLAIN.contains(&number.abs()))
            .map(|number| format!("{number:?}")),
        Value::Number(number) => Some(number.to_string()),
        value => written_otherwise(value).filter(|value| !value.is_null()).and_then(python_text),
    }
}

/// Parses the only document of `bytes`. The error never repeats its text.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refused> {
    let text = std::str::from_utf8(bytes).map_err(|_| Refused::Form(None))?;
    let text = guarded(text).map_err(Refused::TooLong)?;
    serde_yaml_ng::from_str(text).map_err(|error| Refused::at(&error))
}

impl Refused {
    fn at(error: &serde_yaml_ng::Error) -> Self {
        Self::Form(error.location().map(|at| (at.line(), at.column())))
    }

    /// `no YAML at line 3, column 1`
    pub(crate) fn describe(&self, expected: &str) -> String {
        match self {
            Self::TooLong(why) => why.clone(),
            Self::Form(Some((line, column))) => format!("no {expected} at line {line}, column {column}"),
            Self::Form(None) => {
                format!("no {expected}: it is no single document of text in the expected form")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_byte_order_mark_is_skipped_and_nesting_is_bounded() {
        let parsed = parse::<Value>("\u{feff}a: 1\n".as_bytes()).ok();
        assert_eq!(parsed, Some(json!({"a": 1})));
        for (text, expected) in [
            (format!("a: {}", "[".repeat(100_000)), "would take too long"),
            ("a: 'canary".to_owned(), "no YAML at line"),
            ("a: 1\n---\nb: canary".to_owned(), "no single document"),
        ] {
            let begin = std::time::Instant::now();
            let why = parse::<Value>(text.as_bytes()).err().unwrap().describe("YAML");
            assert!(why.contains(expected) && !why.contains("canary"), "{why}");
            assert!(begin.elapsed() < std::time::Duration::from_secs(5));
        }
    }
}
