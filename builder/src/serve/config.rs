//! The node configs: which file a machine gets, its variables, and the report that is added to it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use serde::Deserialize;
use serde_yaml_ng::Value;

use super::identity::{self, Identity, is_plain};
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, IoContext, Result};

/// The longest node config, as the agent reads it.
const LONGEST: u64 = 1 << 20;

/// The file for machines that have none of their own, without extension.
const DEFAULT: &str = "default";

/// How many texts are known by their digests: two for each machine of the largest rack.
const MOST_KNOWN: usize = 20_000;

/// Its place is taken by what the token command prints.
const TOKEN: &str = "${token}";

/// Where node configs come from.
#[derive(Debug)]
pub(super) struct Configs {
    path: PathBuf,
    is_folder: bool,
    /// Texts that were read before: one that many machines get is in memory once.
    known: Mutex<BTreeMap<Digest, Known>>,
}

/// A text that was read before.
#[derive(Debug)]
struct Known {
    /// Nothing when no machine has it any more.
    text: Weak<str>,
    /// Where the report goes: a long text takes long to be understood.
    place: Option<Place>,
}

/// A node config with variables.
#[derive(Debug, Clone)]
pub(super) struct Template {
    text: Arc<str>,
    /// Where a report is added; none if it takes none.
    place: Option<Place>,
}

/// Where a report goes in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In a document of its own, at the end.
    End,
    /// Behind this many bytes: the line that says that a document is the agent's.
    Behind(usize),
}

/// A text with variables, and their values for one machine.
#[derive(Debug, Clone)]
pub(super) struct Config {
    template: Template,
    values: Vec<(&'static str, String)>,
    report: Option<Arc<Report>>,
}

/// Where the verdict of the join goes.
#[derive(Debug)]
pub(super) struct Report {
    /// The server's `https://NAME:PORT`.
    pub base: String,
    /// PEM.
    pub authority: Arc<str>,
}

impl Configs {
    /// The configs in the folder `path`, or the one config in a file. Each is read, so that a mistake shows
    /// before a machine asks. `has_token` says whether there is a token command.
    pub fn open(path: &Path, has_token: bool) -> Result<(Self, Vec<String>)> {
        let is_folder = path.metadata().at("reading", path)?.is_dir();
        let configs = Self { path: path.to_owned(), is_folder, known: Mutex::default() };
        let mut notices = Vec::new();
        let files = configs.files()?;
        if files.is_empty() {
            notices.push(format!(
                "{}: there is no file in it yet: no machine gets a node config",
                path.display()
            ));
        }
        for file in files {
            let Some(stem) = file.file_stem().and_then(|stem| stem.to_str()) else { continue };
            let has_extension = file.extension().is_some_and(|extension| extension == "yaml");
            if is_folder && (!has_extension || !is_name(stem)) {
                notices.push(format!(
                    "{}: no machine gets this file: its name is not MAC.yaml, UUID.yaml (letters all lower \
                     case, or all upper case), SERIAL.yaml or default.yaml",
                    file.display()
                ));
                continue;
            }
            let text = read(&file)?
                .ok_or_else(|| Error::new(ErrorKind::Io, format!("{}: it has gone", file.display())))?;
            if text.contains(TOKEN) && !has_token {
                let message = format!("{}: {TOKEN} has no value", file.display());
                return Err(Error::new(ErrorKind::Definition, message)
                    .help("add --token-command kubeadm token create --ttl 30m"));
            }
            if configs.template(text).place.is_none() {
                notices.push(format!(
                    "{}: no report is added: only a node config of YAML documents without a report takes one",
                    file.display()
                ));
            }
        }
        Ok((configs, notices))
    }

    fn files(&self) -> Result<Vec<PathBuf>> {
        if !self.is_folder {
            return Ok(vec![self.path.clone()]);
        }
        let mut files = Vec::new();
        for entry in self.path.read_dir().at("reading", &self.path)? {
            let path = entry.at("reading", &self.path)?.path();
            let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
            if path.is_file() && !is_hidden {
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    }

    /// The text for a machine; `None` if it has no config.
    pub fn find(&self, identity: &Identity) -> Result<Option<Template>> {
        if self.is_folder {
            for name in identity.file_names() {
                if let Some(text) = read(&self.path.join(name + ".yaml"))? {
                    return Ok(Some(self.template(text)));
                }
            }
        }
        let common =
            if self.is_folder { self.path.join(DEFAULT.to_owned() + ".yaml") } else { self.path.clone() };
        Ok(read(&common)?.map(|text| self.template(text)))
    }

    fn template(&self, text: String) -> Template {
        let digest = Digest::of(text.as_bytes());
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known().get(&digest).map(|known| (known.text.upgrade(), known.place));
        let (text, place) = match before {
            Some((Some(text), place)) => return Template { text, place },
            Some((None, place)) => (text, place),
            None => {
                let place = place(&text);
                (text, place)
            }
        };
        let template = Template { text: text.into(), place };
        let mut known = known();
        if known.len() >= MOST_KNOWN {
            known.clear();
        }
        known.insert(digest, Known { text: Arc::downgrade(&template.text), place });
        template
    }
}

/// Whether a machine can have this name. Letters of a MAC or UUID are all lower case, or all upper case.
fn is_name(stem: &str) -> bool {
    let is_even = stem == stem.to_ascii_lowercase() || stem == stem.to_ascii_uppercase();
    match stem {
        _ if identity::mac(stem).is_some() => is_even && !(stem.contains(':') && stem.contains('-')),
        _ if identity::uuid(stem).is_some() => is_even,
        _ if stem.eq_ignore_ascii_case(DEFAULT) => stem == DEFAULT,
        _ => is_plain(stem),
    }
}

fn read(path: &Path) -> Result<Option<String>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.at("opening", path)?,
    };
    let mut bytes = Vec::new();
    file.take(LONGEST + 1).read_to_end(&mut bytes).at("reading", path)?;
    if bytes.len() as u64 > LONGEST {
        let message = format!("{}: longer than {LONGEST} bytes", path.display());
        return Err(Error::new(ErrorKind::Definition, message).help("the agent reads no longer node config"));
    }
    match String::from_utf8(bytes) {
        Ok(text) if !text.trim().is_empty() => Ok(Some(text)),
        Ok(_) => Err(Error::new(ErrorKind::Definition, format!("{}: it is empty", path.display()))
            .help("write a node config into it, or remove it")),
        Err(_) => Err(Error::new(ErrorKind::Definition, format!("{}: it is no UTF-8", path.display()))
            .help("packed user data cannot be served: unpack it")),
    }
}

impl Template {
    /// Whether it has a place for a token.
    pub fn wants_token(&self) -> bool {
        self.text.contains(TOKEN)
    }
}

#[cfg(test)]
impl From<&str> for Template {
    fn from(text: &str) -> Self {
        Self { text: text.into(), place: place(text) }
    }
}

impl Config {
    /// The config for a machine, with `token` if its text has a place for one.
    ///
    /// # Errors
    /// The name, without `${}`, of a variable in the text that has no value for this machine.
    pub fn new(
        template: Template,
        identity: &Identity,
        token: Option<String>,
        report: Option<Arc<Report>>,
    ) -> Result<Self, String> {
        let mut values = Vec::new();
        let plain_serial = identity.serial.clone().filter(|serial| is_plain(serial));
        for (name, value) in [
            ("${mac}", identity.mac.clone()),
            ("${uuid}", identity.uuid.clone()),
            ("${serial}", plain_serial),
            (TOKEN, token),
        ] {
            if template.text.contains(name) {
                values.push((name, value.ok_or_else(|| name.trim_matches(['$', '{', '}']).to_owned())?));
            }
        }
        Ok(Self { report, template, values })
    }

    /// Its text; reports go to the address with this ID. The same at each call.
    pub fn text(&self, report_id: &str) -> String {
        let mut text = self.template.text.to_string();
        if let Some((report, place)) = self.report.as_ref().zip(self.template.place) {
            let url = format!("{}/report/{report_id}", report.base);
            text = with_report(&text, place, &url, &report.authority);
        }
        // A value cannot contain a variable: each has a form without `$`.
        self.values.iter().fold(text, |text, (name, value)| text.replace(name, value))
    }
}

const AGENT: &str = "FirstbootConfiguration";

/// A node config with a report to `url` for the agent, which trusts `authority` there.
fn with_report(text: &str, place: Place, url: &str, authority: &str) -> String {
    let authority: String = authority.trim().lines().map(|line| format!("    {line}\n")).collect();
    let report = format!("report:\n- kind: webhook\n  url: {url}\n  caCert: |\n{authority}");
    match place {
        Place::End => {
            format!("{}\n---\napiVersion: firstboot.kiln/v1\nkind: {AGENT}\n{report}", text.trim_end())
        }
        Place::Behind(bytes) => {
            let (before, behind) = text.split_at(bytes);
            let line_end = if before.ends_with('\n') { "" } else { "\n" };
            format!("{before}{line_end}{report}{behind}")
        }
    }
}

/// Where a report is added to a text. `None` if it is no list of YAML documents, has a report, or is
/// written in a way to which nothing can be added.
fn place(text: &str) -> Option<Place> {
    let documents = documents(text)?;
    let is_node_config =
        |document: &Value| document.get("apiVersion").is_some() && document.get("kind").is_some();
    if !documents.iter().all(is_node_config) {
        return None;
    }
    let is_agents = |document: &&Value| document.get("kind").and_then(Value::as_str) == Some(AGENT);
    let place = match documents.iter().find(is_agents) {
        None => Place::End,
        Some(document) if document.get("report").is_some() => return None,
        Some(_) => Place::Behind(behind_agents_kind(text)?),
    };
    // Whatever the text looks like: what comes out is read as what came in, and a report.
    let expected = documents.len() + usize::from(place == Place::End);
    let is_right = |documents: &Vec<Value>| {
        documents.len() == expected
            && documents.iter().filter(|document| document.get("report").is_some()).count() == 1
    };
    documents_of(&with_report(text, place, "https://x/", "x")).filter(is_right).map(|_| place)
}

/// The bytes up to the end of the line `kind: FirstbootConfiguration`, if that begins at the margin.
fn behind_agents_kind(text: &str) -> Option<usize> {
    let is_kind = |line: &str| {
        line.strip_prefix("kind:").is_some_and(|kind| {
            let kind = kind.split('#').next().unwrap_or_default().trim().trim_matches(['"', '\'']);
            kind == AGENT
        })
    };
    let mut end = 0;
    text.split_inclusive('\n').find_map(|line| {
        end += line.len();
        is_kind(line).then_some(end)
    })
}

/// The documents of a text that begins like a node config.
fn documents(text: &str) -> Option<Vec<Value>> {
    // cloud-config, templates and scripts say what they are in the first line.
    let first = text.lines().next().unwrap_or_default();
    let is_other = ["#cloud-config", "#!", "##", "#include", "#cloud-", "{"]
        .iter()
        .any(|mark| first.starts_with(mark));
    (!is_other).then(|| documents_of(text)).flatten()
}

fn documents_of(text: &str) -> Option<Vec<Value>> {
    let documents: Vec<Value> = serde_yaml_ng::Deserializer::from_str(text)
        .map(Value::deserialize)
        .collect::<Result<_, _>>()
        .ok()?;
    let documents: Vec<Value> = documents.into_iter().filter(|document| !document.is_null()).collect();
    (!documents.is_empty()).then_some(documents)
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
