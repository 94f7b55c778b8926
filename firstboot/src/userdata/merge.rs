//! Merges several node configs into one. Documents of the same kind are merged in order as JSON merge patches
//! (RFC 7396).

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use super::bounds::{Bytes, append, wrong};
use crate::config::documents::{self, Document as Part, shown};
use crate::config::redact::Redactor;
use crate::document::Document;
use crate::error::{Failure, Result};
use crate::kubernetes::yaml;

/// Makes one node config of all `documents`, for [`crate::config::parse`]. A single document stays unchanged,
/// byte for byte. If there are several, later ones change earlier ones: maps are merged, lists and plain
/// values replaced, and null removes a field. Their apiVersion must be the same.
pub fn merge(mut documents: Vec<Document>) -> Result<Document> {
    if documents.len() <= 1 {
        return documents.pop().ok_or_else(|| wrong("there is no node config"));
    }
    let mut redactor = Redactor::default();
    merge_all(&documents, &mut redactor).map_err(|failure| redactor.clean_failure(failure))
}

fn merge_all(documents: &[Document], redactor: &mut Redactor) -> Result<Document> {
    let mut merged: BTreeMap<String, Part> = BTreeMap::new();
    for (index, document) in documents.iter().enumerate() {
        let doing = |failure: Failure| failure.doing(format!("node config {}", index + 1));
        for part in documents::split(document.bytes(), redactor).map_err(doing)?.into_values() {
            add(&mut merged, part).map_err(doing)?;
        }
    }
    let mut bytes = Bytes::default();
    for part in merged.values() {
        append(&mut bytes, b"---\n");
        append(&mut bytes, Zeroizing::new(yaml::emit(&part.value)).as_bytes());
    }
    let again = documents::split(&bytes, redactor)?;
    if !merged
        .iter()
        .all(|(kind, part)| again.get(kind).is_some_and(|again| again.value == part.value))
    {
        return Err(wrong(
            "the node configs cannot be merged: a text in them has characters that YAML cannot hold",
        ));
    }
    Document::new(bytes).ok_or_else(|| wrong("the node configs are too long when they are merged"))
}

fn add(merged: &mut BTreeMap<String, Part>, part: Part) -> Result<()> {
    if let Some(path) = part.duplicates.first() {
        return Err(wrong(format!("the field \"{}\" occurs twice in {}", shown(path), shown(&part.kind))));
    }
    let Some(before) = merged.get_mut(&part.kind) else {
        merged.insert(part.kind.clone(), part);
        return Ok(());
    };
    if (&before.group, &before.version) != (&part.group, &part.version) {
        let message = format!("{} is to be merged into {}", part.name(), before.name());
        return Err(wrong(message).help("write the same apiVersion in all of them"));
    }
    json_patch::merge(&mut before.value, &part.value);
    Ok(())
}

#[cfg(test)]
#[path = "merge_tests.rs"]
mod tests;
