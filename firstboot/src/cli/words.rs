//! The words of a command line, one by one. Values are never repeated in errors: they may be tokens.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::config::redact::Redactor;
use crate::error::{ErrorKind, Failure, Result};
use contract::suggest;

/// A word: the name of a flag without dashes, or anything else.
pub enum Word {
    /// `token`, `v`
    Flag(String),
    /// `10.0.0.1:6443`
    Value(OsString),
}

/// The remaining words.
pub struct Words {
    parser: lexopt::Parser,
}

impl Words {
    /// The words of a command line without the program's name.
    pub fn of(arguments: impl IntoIterator<Item = OsString>) -> Self {
        Self { parser: lexopt::Parser::from_args(arguments.into_iter().collect::<Vec<_>>()) }
    }

    /// The next word.
    pub fn next(&mut self) -> Result<Option<Word>> {
        Ok(match self.parser.next().map_err(|error| refused(&error))? {
            None => None,
            Some(lexopt::Arg::Short(letter)) => Some(Word::Flag(letter.to_string())),
            Some(lexopt::Arg::Long(name)) => Some(Word::Flag(name.to_owned())),
            Some(lexopt::Arg::Value(value)) => Some(Word::Value(value)),
        })
    }

    /// The value of the flag that was read last.
    pub fn value(&mut self, flag: &str) -> Result<OsString> {
        self.parser.value().map_err(|_| usage(format!("{} needs a value", dashed(flag))))
    }

    /// The same as text.
    pub fn text(&mut self, flag: &str) -> Result<String> {
        let value = self.value(flag)?;
        value
            .into_string()
            .map_err(|_| usage(format!("the value of {} is not UTF-8", dashed(flag))))
    }

    /// The same as a path.
    pub fn path(&mut self, flag: &str) -> Result<PathBuf> {
        self.value(flag).map(PathBuf::from)
    }

    /// The same as a list with commas.
    pub fn list(&mut self, flag: &str) -> Result<Vec<String>> {
        let text = self.text(flag)?;
        Ok(text
            .split(',')
            .map(|item| item.trim().to_owned())
            .filter(|item| !item.is_empty())
            .collect())
    }

    /// Whether the flag that was read last is on: alone, or with `=true` or `=false` behind it, as in Go.
    pub fn switch(&mut self, flag: &str) -> Result<bool> {
        let Some(value) = self.parser.optional_value() else { return Ok(true) };
        match value.to_str().unwrap_or_default() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
            _ => Err(usage(format!("{} is true or false", dashed(flag)))),
        }
    }

    /// Skips the number after `-v`: attached or the next word. It may be missing.
    pub fn skip_verbosity(&mut self) -> Result<()> {
        if let Some(value) = self.parser.optional_value() {
            let number = value.to_str().and_then(|text| text.parse::<u8>().ok());
            return number.map(drop).ok_or_else(|| usage("-v is a number"));
        }
        let has_number = self
            .parser
            .try_raw_args()
            .is_some_and(|rest| rest.peek().is_some_and(|next| next.to_str().is_some_and(is_number)));
        if has_number {
            self.value("v")?;
        }
        Ok(())
    }
}

fn is_number(text: &str) -> bool {
    text.parse::<u8>().is_ok()
}

/// The failure for a wrong command line.
pub fn usage(message: impl Into<String>) -> Failure {
    Failure::new(ErrorKind::Usage, message)
}

/// `--name`, `-v`
pub fn dashed(flag: &str) -> String {
    if flag.chars().count() == 1 { format!("-{flag}") } else { format!("--{flag}") }
}

/// The failure for a flag that the command with this `help` does not have.
pub fn unknown_flag(flag: &str, help: &str) -> Failure {
    let known = help
        .split_whitespace()
        .filter_map(|word| word.strip_prefix("--"))
        .map(|word| word.trim_end_matches([',', '.', ';']));
    usage(format!(
        "unknown flag: {}{}",
        masked(&dashed(flag)),
        suggest::nearest(flag, known)
            .map(|meant| format!("; did you mean --{meant}?"))
            .unwrap_or_default()
    ))
}

/// The failure for an unexpected word.
pub fn unexpected(word: &OsString) -> Failure {
    usage(format!("unexpected argument \"{}\"", masked(&word.to_string_lossy())))
}

/// The word as a message shows it.
pub fn masked(word: &str) -> String {
    let mut redactor = Redactor::default();
    redactor.scan(word);
    redactor.clean(word).escape_debug().to_string()
}

fn refused(error: &lexopt::Error) -> Failure {
    match error {
        lexopt::Error::MissingValue { option: Some(option) } => usage(format!("{option} needs a value")),
        lexopt::Error::UnexpectedValue { option, .. } => usage(format!("{option} takes no value")),
        _ => usage("the command line is malformed"),
    }
}
