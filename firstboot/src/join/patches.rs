//! The folder of patches (`patches.directory`, `--patches`), with kubeadm's rules. Files are named
//! `TARGET[SUFFIX][+TYPE].EXTENSION`; TYPE is strategic (the default), merge or json; EXTENSION is json or
//! yaml. Subfolders are read too, in lexicographic order. A file may hold several documents
//! (<https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/control-plane-flags/#patches>).
//!
//! On a worker only patches for `kubeletconfiguration` take effect. Patches for other known targets are read,
//! checked and left out.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::config::documents::values_of;
use crate::error::{Context, ErrorKind, Failure, Result};
use crate::host::files;
use crate::host::root::Root;
use crate::kubernetes::features::patch_targets;
use crate::kubernetes::version::Version;

/// The only target that matters to a worker.
const KUBELET: &str = "kubeletconfiguration";
/// Limit on a file, in bytes.
const LONGEST: u64 = 1 << 20;
/// Limit on the files in the folder.
const MOST: usize = 256;

/// A file in the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatchFile {
    /// The file name without its folders.
    pub name: String,
    pub(crate) bytes: Vec<u8>,
}

/// A patch for the kubelet's configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Patch {
    /// The file that it comes from.
    pub file: String,
    /// The change.
    pub change: Change,
}

/// A patch by its type.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Strategic merge.
    Strategic(Map<String, Value>),
    /// RFC 7396.
    Merge(Map<String, Value>),
    /// RFC 6902.
    Json(json_patch::Patch),
}

/// The files below the node's `folder`, in kubeadm's order: sorted by name, and a folder's files at the
/// folder's place in that order.
pub fn read(root: &Root, folder: &Path) -> Result<Vec<PatchFile>> {
    let mut found = Vec::new();
    walk(root, folder, &mut found)?;
    Ok(found)
}

fn walk(root: &Root, folder: &Path, found: &mut Vec<PatchFile>) -> Result<()> {
    let doing = || format!("reading the patches in {}", folder.display());
    let entries: std::io::Result<Vec<_>> = std::fs::read_dir(root.path(folder)).doing(doing())?.collect();
    let mut entries = entries.doing(doing())?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = folder.join(entry.file_name());
        // The type of the entry itself: links to folders are not followed, so no loop can occur.
        if entry.file_type().doing(doing())?.is_dir() {
            walk(root, &path, found)?;
        } else if root.path(&path).is_file() {
            if found.len() == MOST {
                return Err(Failure::new(
                    ErrorKind::Config,
                    format!("{} holds more than {MOST} files", folder.display()),
                ));
            }
            let bytes = files::read(&root.path(&path), LONGEST)?.unwrap_or_default();
            found.push(PatchFile { name: entry.file_name().to_string_lossy().into_owned(), bytes });
        }
    }
    Ok(())
}

/// Reads the files for a kubelet of this version. Returns the patches that take effect, and warnings about
/// files that are left out.
pub fn parse(files: &[PatchFile], kubelet: Version) -> Result<(Vec<Patch>, Vec<String>)> {
    let targets = patch_targets(kubelet);
    let (mut patches, mut warnings) = (Vec::new(), Vec::new());
    for file in files {
        let ignored =
            |reason: String| format!("ignoring the patch \"{}\": {reason}", file.name.escape_debug());
        if !file.name.ends_with(".json") && !file.name.ends_with(".yaml") {
            warnings.push(ignored("its extension must be json or yaml".to_owned()));
            continue;
        }
        let Some(target) = targets.iter().find(|target| file.name.starts_with(**target)) else {
            warnings.push(ignored(format!("its target must be one of {}", targets.join(", "))));
            continue;
        };
        let kind = patch_type(&file.name[target.len()..]).map_err(|reason| wrong(&file.name, reason))?;
        if file.bytes.is_empty() {
            warnings.push(ignored("it is empty".to_owned()));
            continue;
        }
        for document in values_of(&file.bytes).map_err(|failure| wrong(&file.name, failure))? {
            let change = change(kind, document).map_err(|reason| wrong(&file.name, reason));
            if *target == KUBELET {
                patches.extend(change?.map(|change| Patch { file: file.name.clone(), change }));
            }
        }
    }
    Ok((patches, warnings))
}

fn wrong(file: &str, reason: impl std::fmt::Display) -> Failure {
    Failure::new(ErrorKind::Config, format!("the patch \"{}\" is wrong: {reason}", file.escape_debug()))
        .help("files are named TARGET[SUFFIX][+strategic|+merge|+json].yaml or .json and hold YAML or JSON")
}

/// The type in the text after the target: `-mine+json.yaml`. As in kubeadm, only the beginning of the text
/// after the `+` counts.
fn patch_type(rest: &str) -> std::result::Result<&'static str, &'static str> {
    let Some(plus) = rest.find(['.', '+', '\n']).filter(|position| rest[*position..].starts_with('+')) else {
        return Ok("strategic");
    };
    let known = ["json", "merge", "strategic"];
    let named = known.into_iter().find(|kind| rest[plus + 1..].starts_with(kind));
    named.ok_or("unknown or missing type after '+', must be json, merge or strategic")
}

fn change(kind: &str, document: Value) -> std::result::Result<Option<Change>, String> {
    match (kind, document) {
        ("json", document) => json_patch::Patch::deserialize(&document)
            .map(|patch| Some(Change::Json(patch)))
            .map_err(|error| error.to_string()),
        ("merge", Value::Object(patch)) => Ok(Some(Change::Merge(patch))),
        ("strategic", Value::Object(patch)) => Ok(Some(Change::Strategic(patch))),
        _ => Err("a merge patch must be a mapping".to_owned()),
    }
}

/// Applies the patches in order.
pub fn apply(document: Value, patches: &[Patch]) -> Result<Value> {
    patches.iter().try_fold(document, |document, patch| {
        let applied = apply_one(document, &patch.change);
        applied.map_err(|reason| {
            Failure::new(
                ErrorKind::Config,
                format!(
                    "the patch \"{}\" does not fit the kubelet's configuration: {reason}",
                    patch.file.escape_debug()
                ),
            )
        })
    })
}

fn apply_one(mut document: Value, change: &Change) -> std::result::Result<Value, String> {
    match change {
        Change::Strategic(patch) => strategic_merge(&mut document, patch)?,
        Change::Merge(patch) => json_patch::merge(&mut document, &Value::Object(patch.clone())),
        Change::Json(patch) => json_patch::patch(&mut document, patch).map_err(|error| error.to_string())?,
    }
    if document.is_object() { Ok(document) } else { Err("nothing is left of the document".to_owned()) }
}

/// Strategic merge for a KubeletConfiguration: lists are replaced, mappings are merged, null removes a key,
/// and the directives `$patch`, `$retainKeys`, `$deleteFromPrimitiveList/KEY` and `$setElementOrder/KEY` work
/// (<https://github.com/kubernetes/community/blob/master/contributors/devel/sig-api-machinery/strategic-merge-patch.md>).
pub fn strategic_merge(document: &mut Value, patch: &Map<String, Value>) -> std::result::Result<(), String> {
    if !document.is_object() {
        *document = Value::Object(Map::new());
    }
    let Value::Object(map) = document else { return Ok(()) };
    match patch.get("$patch").map(|directive| directive.as_str().unwrap_or("?")) {
        None => {}
        Some("delete") => return replace(map, Map::new()),
        Some("replace") => {
            return replace(
                map,
                patch
                    .iter()
                    .filter(|(key, _)| *key != "$patch")
                    .map(|(key, value)| (key.clone(), value.clone()))
                    .collect(),
            );
        }
        Some(other) => return Err(format!("unknown $patch \"{}\"", other.escape_debug())),
    }
    retain_keys(map, patch)?;
    for (key, value) in patch {
        match key.split_once('/') {
            Some(("$deleteFromPrimitiveList", list)) => delete_elements(map, list, value)?,
            Some(("$setElementOrder", list)) if !patch.contains_key(list) => {
                order_elements(map, list, value)?
            }
            Some(("$setElementOrder", _)) => {}
            _ if key == "$retainKeys" => {}
            _ => merge_key(map, key, value)?,
        }
    }
    Ok(())
}

fn replace(map: &mut Map<String, Value>, with: Map<String, Value>) -> std::result::Result<(), String> {
    *map = with;
    Ok(())
}

fn merge_key(map: &mut Map<String, Value>, key: &str, value: &Value) -> std::result::Result<(), String> {
    match (map.get_mut(key), value) {
        (_, Value::Null) => {
            map.remove(key);
        }
        (Some(existing @ Value::Object(_)), Value::Object(patch)) => strategic_merge(existing, patch)?,
        // If there is nothing to delete or replace, kubeadm leaves the key out.
        (None, Value::Object(patch)) if patch.contains_key("$patch") => {}
        (None, Value::Object(patch)) => {
            let mut fresh = Value::Object(Map::new());
            strategic_merge(&mut fresh, patch)?;
            map.insert(key.to_owned(), fresh);
        }
        _ => {
            map.insert(key.to_owned(), value.clone());
        }
    }
    Ok(())
}

/// `$retainKeys: [a, b]` removes all other keys. The patch itself may only set these.
fn retain_keys(map: &mut Map<String, Value>, patch: &Map<String, Value>) -> std::result::Result<(), String> {
    let Some(keys) = patch.get("$retainKeys") else { return Ok(()) };
    let keys: Vec<&str> = keys
        .as_array()
        .ok_or("$retainKeys must be a list")?
        .iter()
        .filter_map(Value::as_str)
        .collect();
    if let Some(key) = patch.keys().find(|key| !key.starts_with('$') && !keys.contains(&key.as_str())) {
        return Err(format!("\"{}\" is set but not named in $retainKeys", key.escape_debug()));
    }
    map.retain(|key, _| keys.contains(&key.as_str()));
    Ok(())
}

fn delete_elements(
    map: &mut Map<String, Value>,
    key: &str,
    value: &Value,
) -> std::result::Result<(), String> {
    let gone = value
        .as_array()
        .ok_or_else(|| format!("$deleteFromPrimitiveList/{} must be a list", key.escape_debug()))?;
    if let Some(Value::Array(list)) = map.get_mut(key) {
        list.retain(|element| !gone.contains(element));
    }
    Ok(())
}

fn order_elements(map: &mut Map<String, Value>, key: &str, value: &Value) -> std::result::Result<(), String> {
    let order = value
        .as_array()
        .ok_or_else(|| format!("$setElementOrder/{} must be a list", key.escape_debug()))?;
    if let Some(Value::Array(list)) = map.get_mut(key) {
        list.sort_by_key(|element| order.iter().position(|other| other == element).unwrap_or(usize::MAX));
    }
    Ok(())
}

#[cfg(test)]
#[path = "patches_tests.rs"]
mod tests;
