//! The one door for YAML of others: without a byte order mark, and with a bound on the time that it takes.

use serde::de::DeserializeOwned;

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

/// The truth that a word is in YAML 1.1 and not in YAML 1.2.
pub(crate) fn boolean(word: &str) -> Option<bool> {
    let is = |words: [&str; 3]| words.iter().any(|each| word.eq_ignore_ascii_case(each));
    match () {
        () if is(["y", "yes", "on"]) => Some(true),
        () if is(["n", "no", "off"]) => Some(false),
        () => None,
    }
}

/// Parses the only document of `bytes`. The error never repeats its text.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refused> {
    let text = std::str::from_utf8(bytes).map_err(|_| Refused::Form(None))?;
    let text = guarded(text).map_err(Refused::TooLong)?;
    let place = |error: serde_yaml_ng::Error| error.location().map(|at| (at.line(), at.column()));
    serde_yaml_ng::from_str(text).map_err(|error| Refused::Form(place(error)))
}

impl Refused {
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
