//! How the agent's own document is read: an unknown field or word is an error.

use contract::suggest;

use super::check::Problems;
use super::fields::{Fields, Unknown};
use crate::error::Result;

/// Refuses an unknown field.
pub(super) fn refuse(field: &Unknown, problems: &mut Problems) {
    let meant = suggest::did_you_mean(&field.name, field.known.iter().copied());
    let known = field
        .known
        .iter()
        .copied()
        .filter(|name| !["apiVersion", "kind"].contains(name))
        .collect::<Vec<_>>()
        .join(", ");
    let meant = if meant.is_empty() { format!("; its fields are {known}") } else { meant };
    problems.note(format!("unknown field \"{}\"{meant}", field.path));
}

/// Reads a field whose value is one of the `known` words.
pub(super) fn choice<T: Copy>(
    fields: &mut Fields<'_>,
    name: &'static str,
    known: &[(&str, T)],
    problems: &mut Problems,
) -> Result<Option<T>> {
    let Some(text) = fields.text(name)? else { return Ok(None) };
    let found = known.iter().find(|(word, _)| *word == text);
    if found.is_none() {
        let words: Vec<&str> = known.iter().map(|(word, _)| *word).collect();
        problems.unsupported(&fields.path(name), &text, &words);
    }
    Ok(found.map(|(_, value)| *value))
}
