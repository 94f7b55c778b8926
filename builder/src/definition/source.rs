//! The text of a definition and the position of each key in it: every error names file, line and what to do.

use contract::suggest::nearest;
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::address;
use crate::error::{Error, ErrorKind, Result};

/// A piece of TOML and the name it is shown under: a path, or `--set kubernetes=1.34.9`.
#[derive(Debug, Clone)]
pub struct Source {
    /// How it is called in messages.
    pub name: String,
    pub text: String,
}

/// The option that gives a value on the command line.
pub const SET: &str = "--set";

/// A step on the way to a value: a key, or an index into an array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A key of a table.
    Key(String),
    /// An index into an array.
    Index(usize),
}

impl From<&str> for Step {
    fn from(key: &str) -> Self {
        Self::Key(key.to_owned())
    }
}

impl From<usize> for Step {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

/// The way to a value: `at!["artifact", 2, "url"]`.
#[macro_export]
macro_rules! at {
    ($($step:expr),* $(,)?) => { [$($crate::definition::source::Step::from($step)),*] };
}

impl Source {
    /// Reads the text into `T`; errors name file, line, cause and the nearest valid word.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        toml::from_str(&self.text).map_err(|error| {
            let (message, help) = rewrite_error(error.message());
            let new = match error.span() {
                Some(span) => self.error(span.start, &message),
                None => Error::new(ErrorKind::Definition, format!("{}: {message}", self.name)),
            };
            match help {
                Some(help) => new.help(help),
                None => new,
            }
        })
    }

    /// An error about the value at `path`, as far as it exists in this text.
    pub fn error_at(&self, path: &[Step], message: &str) -> Error {
        match self.locate(path) {
            Some(offset) => self.error(offset, message),
            None => Error::new(ErrorKind::Definition, format!("{}: {message}", self.name)),
        }
    }

    /// Like [`Source::error_at`], for a value that must not be shown: it holds a secret.
    pub fn secret_error_at(&self, path: &[Step], message: &str) -> Error {
        // The name of a `--set` has the value.
        let name = self.name.split('=').next().unwrap_or(&self.name);
        let name = if self.is_set() { name } else { &self.name };
        let number = self.line_of(path).map(|number| format!(":{number}"));
        let number = number.unwrap_or_default();
        Error::new(ErrorKind::Definition, format!("{name}{number}: {message}"))
    }

    /// Checks that `url`, the value at `path`, has a scheme that Kiln fetches, and no secret in it; `help` is
    /// for what is no address at all.
    pub fn check_url(&self, path: &[Step], url: &str, help: &str) -> Result<()> {
        if let Some(secret) = address::secret(url) {
            return Err(self.secret_error_at(path, &format!("the address holds {secret}")).help(
                "addresses are copied into the lock, the manifest and the SBOM: write it without, and name the server with its login by --mirror PREFIX=URL",
            ));
        }
        let rest = ["https://", "http://", "file:///"].iter().find_map(|scheme| url.strip_prefix(scheme));
        match rest {
            Some(rest) if !rest.is_empty() && !url.contains(char::is_whitespace) => Ok(()),
            _ => Err(self
                .error_at(path, &format!("\"{}\" is not an address", address::shown_alone(url)))
                .help(help)),
        }
    }

    /// Whether this text has a value at `path`.
    pub fn has(&self, path: &[Step]) -> bool {
        self.locate(path).is_some()
    }

    /// Whether the user gave it on the command line.
    pub fn is_set(&self) -> bool {
        self.name.starts_with(SET)
    }

    /// The line of the value at `path`.
    pub fn line_of(&self, path: &[Step]) -> Option<usize> {
        self.locate(path).map(|offset| self.line_number(offset))
    }

    /// The byte offset of the value at `path`.
    fn locate(&self, path: &[Step]) -> Option<usize> {
        let table = DeTable::parse(&self.text).ok()?;
        let (first, rest) = path.split_first()?;
        let Step::Key(key) = first else { return None };
        let mut value: &Spanned<DeValue<'_>> = table.get_ref().get(key.as_str())?;
        for step in rest {
            value = match (step, value.get_ref()) {
                (Step::Key(key), DeValue::Table(table)) => table.get(key.as_str())?,
                (Step::Index(index), DeValue::Array(array)) => array.get(*index)?,
                _ => return None,
            };
        }
        Some(value.span().start)
    }

    fn error(&self, offset: usize, message: &str) -> Error {
        let number = self.line_number(offset);
        let line = self.text.lines().nth(number - 1).unwrap_or_default();
        let mut text = format!("{}:{number}: {message}", self.name);
        if !line.trim().is_empty() {
            text.push_str(&format!("\n  {number:>4} | {line}"));
        }
        Error::new(ErrorKind::Definition, text)
    }

    fn line_number(&self, offset: usize) -> usize {
        let before = &self.text.as_bytes()[..offset.min(self.text.len())];
        before.iter().filter(|byte| **byte == b'\n').count() + 1
    }
}

/// The error about `path` in the first of `sources` that has it; they are ordered by precedence.
pub fn error_in(sources: &[Source], path: &[Step], message: &str) -> Error {
    match source_of(sources, path) {
        Some(source) => source.error_at(path, message),
        None => Error::new(ErrorKind::Definition, message),
    }
}

/// The first of `sources` that has a value at `path`, else the first.
pub fn source_of<'a>(sources: &'a [Source], path: &[Step]) -> Option<&'a Source> {
    sources.iter().find(|source| source.has(path)).or(sources.first())
}

/// "did you mean …?", or the list of valid words.
pub fn suggestion<'a>(word: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    match nearest(word, known.clone()) {
        Some(candidate) => format!("did you mean \"{candidate}\"?"),
        None if known.clone().into_iter().next().is_none() => "nothing is valid here: remove it".to_owned(),
        None => format!("valid here: {}", known.into_iter().collect::<Vec<_>>().join(", ")),
    }
}

/// Turns the deserializer's wording into Kiln's, and its list of expected words into a suggestion. Types that
/// check themselves put the help on a second line.
pub fn rewrite_error(message: &str) -> (String, Option<String>) {
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let known = quoted.get(1..).unwrap_or_default().iter().copied();
    let first = quoted.first().copied().unwrap_or_default();
    if message.starts_with("unknown field") {
        (format!("unknown key \"{first}\""), Some(suggestion(first, known)))
    } else if message.starts_with("unknown variant") {
        (format!("unknown value \"{first}\""), Some(suggestion(first, known)))
    } else if message.starts_with("missing field") {
        (format!("the key \"{first}\" is missing"), Some(format!("add {first} = …")))
    } else if message.starts_with("missing escaped value") || message.contains("unicode value digits") {
        let help = r"write two, or the text in single quotes: 'C:\k\x.txt'";
        (r"a \ in double quotes begins an escape".to_owned(), Some(help.to_owned()))
    } else if message == "duplicate key" {
        ("this key is there twice".to_owned(), Some("remove one of them".to_owned()))
    } else if let Some((found, expected)) = wrong_type(message) {
        let (wanted, help) = match expected {
            "a string" => ("text", "write it in quotes: \"…\""),
            "a sequence" if found == "map" => {
                ("a list of tables", "write two brackets around the name of each")
            }
            "a sequence" => ("a list", "write it in brackets: [\"…\"]"),
            "a boolean" => ("true or false", "write true or false, without quotes"),
            "u64" | "usize" | "u32" => ("a whole number", "write a whole number, 0 or more, without quotes"),
            "u8" => ("a whole number from 0 to 255", "write one that small"),
            _ => ("a table", "write it as a table: [name], or { key = … }"),
        };
        (format!("{wanted} is expected here, not {}", found.replace('`', "")), Some(help.to_owned()))
    } else {
        let (message, help) = message
            .trim_end()
            .split_once('\n')
            .unwrap_or((message, "check quotes and brackets there: definitions are TOML, https://toml.io"));
        let help = help.trim_start().trim_start_matches("help: ");
        (message.trim_end().to_owned(), Some(help.replace('\n', ", ")))
    }
}

/// Both halves of "invalid type: …, expected …".
fn wrong_type(message: &str) -> Option<(&str, &str)> {
    let rest = message
        .strip_prefix("invalid type: ")
        .or_else(|| message.strip_prefix("invalid value: "))?;
    rest.rsplit_once(", expected ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source { name: "x.toml".into(), text: text.into() }
    }

    #[test]
    fn finds_the_line_of_a_nested_value() {
        let error = source("a = 1\n\n[[b]]\nc = 2\n\n[[b]]\nc = 3\n").error_at(&at!["b", 1, "c"], "no");
        assert_eq!(error.message(), "x.toml:7: no\n     7 | c = 3");
    }
}
