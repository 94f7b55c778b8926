//! `layers.json`: what the installer does, in its order.

use std::io;

use serde::Serialize;

use crate::definition::plan::{BasePlan, ImagePlan};
use crate::definition::windows::names;
use crate::definition::windows::registry::{RegistryData, RegistryValue};
use crate::digest::DigestReader;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::tree::{Node, Tree};

/// The file.
#[derive(Debug, Serialize)]
pub(super) struct Description<'a> {
    schema: u32,
    name: &'a str,
    /// The build number of Windows, if the definition wants a certain one, and the oldest revision.
    build: Option<u32>,
    least_revision: u32,
    /// Features that Windows must have already: no layer has it enable them.
    features: Vec<&'a str>,
    files: Vec<FileFact>,
    folders: Vec<String>,
    links: Vec<LinkFact>,
    registry: Vec<ValueFact>,
    /// Entries of the search path.
    path: Vec<&'a str>,
    /// `.inf` files of drivers.
    drivers: Vec<&'a str>,
}

#[derive(Debug, Serialize)]
struct FileFact {
    /// As Windows writes it.
    path: String,
    sha256: String,
}

#[derive(Debug, Serialize)]
struct LinkFact {
    path: String,
    target: String,
}

#[derive(Debug, Serialize)]
struct ValueFact {
    /// `HKEY_LOCAL_MACHINE\SYSTEM\…`
    key: String,
    name: String,
    /// .NET's name (`RegistryValueKind`).
    kind: &'static str,
    data: serde_json::Value,
}

impl<'a> Description<'a> {
    pub(super) fn of(plan: &'a ImagePlan, tree: &Tree) -> Result<Self> {
        let (build, least_revision) = match &plan.base {
            BasePlan::WindowsRelease(base) => (Some(base.build), base.least_revision),
            BasePlan::Windows(base) => (base.build, base.minimum_revision.unwrap_or_default()),
            _ => return Err(Error::new(ErrorKind::Internal, "this base is not Windows")),
        };
        let mut description = Self {
            schema: 1,
            name: &plan.name,
            build,
            least_revision,
            features: Vec::new(),
            files: Vec::new(),
            folders: Vec::new(),
            links: Vec::new(),
            registry: Vec::new(),
            path: Vec::new(),
            drivers: Vec::new(),
        };
        for (path, entry) in &tree.entries {
            let shown = names::shown(path);
            match &entry.node {
                Node::Directory => description.folders.push(shown),
                Node::Symlink(target) => {
                    description.links.push(LinkFact { path: shown, target: target.clone() });
                }
                Node::File(body) => {
                    let mut content = DigestReader::new(body.open().at("reading", path)?);
                    io::copy(&mut content, &mut io::sink()).at("reading", path)?;
                    description.files.push(FileFact { path: shown, sha256: content.finish().hex() });
                }
            }
        }
        for (_, windows) in plan.windows() {
            description.path.extend(windows.path.iter().map(String::as_str));
            description.drivers.extend(windows.drivers.iter().map(String::as_str));
            description.registry.extend(windows.values().iter().map(ValueFact::of));
        }
        description.features.extend(plan.features_of_base().map(|(_, name)| name));
        description.features.sort_unstable();
        description.features.dedup();
        Ok(description)
    }

    pub(super) fn text(&self) -> Result<String> {
        let text = serde_json::to_string_pretty(self);
        let text = text.map_err(|error| Error::new(ErrorKind::Internal, format!("describing: {error}")))?;
        Ok(text + "\n")
    }
}

impl ValueFact {
    fn of(value: &RegistryValue) -> Self {
        let (kind, data) = match &value.data {
            RegistryData::Sz(text) => ("String", text.as_str().into()),
            RegistryData::ExpandSz(text) => ("ExpandString", text.as_str().into()),
            RegistryData::MultiSz(texts) => ("MultiString", texts.as_slice().into()),
            RegistryData::Dword(number) => ("DWord", (*number).into()),
            RegistryData::Qword(number) => ("QWord", (*number).into()),
            RegistryData::Binary(bytes) => ("Binary", bytes.as_slice().into()),
        };
        let key = format!("HKEY_LOCAL_MACHINE\\{}\\{}", value.hive.name(), value.key);
        Self { key, name: value.name.clone(), kind, data }
    }
}
