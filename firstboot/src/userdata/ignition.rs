//! Ignition configs, spec 2 and 3 (<https://coreos.github.io/ignition/specs/>): reads their files and their
//! units. Configs that lie elsewhere are followed only as far as the caller does.

use ring::digest::{SHA256, SHA512, digest};
use serde::de::IgnoredAny;
use serde_json::Value;
use zeroize::Zeroizing;

use super::bounds::{Budget, Bytes, append, text, wrong};
use super::data_url;
use super::elsewhere::Elsewhere;
use super::embedded::{HostConfig, count};
use super::files::{ExtraFile, Owner, content, mode_of};
use super::mentions::{names_a_join, texts, unread};
use super::pointer::Address;
use super::tree::{Fields, Tree};
use super::unpack;
use crate::document::Document;
use crate::error::{ErrorKind, Failure, Result};
use crate::paths;
use crate::text::hex;

/// The limit for nested configs.
const NESTING: usize = 3;
/// The default mode of a file.
const USUAL_MODE: u64 = 0o644;
/// The digests of a file, each with the length of its prefix.
const DIGESTS: &[(&str, &ring::digest::Algorithm)] = &[("sha256-", &SHA256), ("sha512-", &SHA512)];
/// Fields whose contents are looked at.
const READ: &[&str] = &["ignition", "storage", "systemd"];
/// Parts of a config that are not used: their path, and their names in singular and plural.
const NOT_USED: &[(&str, &str, &str, &str)] = &[
    ("passwd", "users", "user is", "users are"),
    ("passwd", "groups", "group is", "groups are"),
    ("storage", "disks", "disk is", "disks are"),
    ("storage", "raid", "RAID is", "RAIDs are"),
    ("storage", "luks", "LUKS device is", "LUKS devices are"),
    ("storage", "filesystems", "file system is", "file systems are"),
    ("storage", "directories", "directory is", "directories are"),
    ("storage", "links", "link is", "links are"),
    ("networkd", "units", "networkd unit is", "networkd units are"),
    ("systemd", "units", "systemd unit is", "systemd units are"),
];

/// Gets a config that lies elsewhere; `None` if it is not followed.
pub type Follow<'a> = &'a dyn Fn(&Elsewhere) -> Result<Option<Document>>;

/// Reads an Ignition config.
pub fn read(bytes: &[u8], budget: &Budget, follow: Follow) -> Result<HostConfig> {
    let mut host_config = HostConfig { form: "Ignition config", ..HostConfig::default() };
    read_into(&mut host_config, bytes, &Reach { budget, follow, nesting: NESTING })?;
    let hostname = host_config
        .files
        .iter()
        .rfind(|file| file.path == paths::HOSTNAME)
        .map(|file| file.content.bytes().trim_ascii().to_vec());
    if let Some(name) = hostname.and_then(|name| String::from_utf8(name).ok()) {
        host_config.name_host(paths::HOSTNAME, &name);
    }
    Ok(host_config)
}

/// What reading a config may use.
struct Reach<'a> {
    budget: &'a Budget,
    follow: Follow<'a>,
    /// How many more levels of configs within configs.
    nesting: usize,
}

fn read_into(host_config: &mut HostConfig, bytes: &[u8], reach: &Reach) -> Result<()> {
    let text = text(bytes)?;
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| {
        wrong(format!("it is not valid JSON: line {} column {}", error.line(), error.column()))
    })?;
    let tree = Tree::read(text)?;
    let fields = tree.fields()?.ok_or_else(|| wrong("it is empty"))?;
    let head = fields.fields("ignition")?.ok_or_else(|| fields.wrong("ignition", "there"))?;
    let version = head.text("version")?.unwrap_or_default();
    if !version.starts_with("2.") && !version.starts_with("3.") {
        return Err(head.wrong("version", "one of spec 2 or 3"));
    }
    let replaced = other_configs(host_config, &head, reach)?;
    if replaced {
        return Ok(());
    }
    if let Some(storage) = fields.fields("storage")? {
        for file in storage.maps("files")? {
            host_config.files.extend(read_file(&mut host_config.notices, &file, reach.budget)?);
        }
        for link in storage.maps("links")? {
            let (path, target) = (link.text("path")?, link.text("target")?);
            host_config.units.link(path.unwrap_or_default(), target.unwrap_or_default());
        }
    }
    if let Some(systemd) = fields.fields("systemd")? {
        units(host_config, &systemd)?;
    }
    unread_fields(host_config, &fields);
    not_used(host_config, &fields)
}

/// Reads configs that this one extends or is replaced by. Returns true if it is replaced.
fn other_configs(host_config: &mut HostConfig, head: &Fields, reach: &Reach) -> Result<bool> {
    let Some(config) = head.fields("config")? else { return Ok(false) };
    let replace = config.fields("replace")?.filter(|replace| replace.names().next().is_some());
    let replaces = replace.is_some();
    // Spec 2 calls it append, spec 3 merge.
    let before = [config.maps("merge")?, config.maps("append")?];
    for other in replace.into_iter().chain(before.into_iter().flatten()) {
        other_config(host_config, &other, reach).map_err(|failure| failure.doing(other.place()))?;
    }
    Ok(replaces)
}

fn other_config(host_config: &mut HostConfig, other: &Fields, reach: &Reach) -> Result<()> {
    let bytes = match resource(other, reach.budget)? {
        Some(bytes) => bytes,
        None => {
            let url = Address::new(other.text("source")?.unwrap_or_default());
            let elsewhere = Elsewhere::Ignition { place: other.place().to_owned(), url };
            let Some(document) = (reach.follow)(&elsewhere)? else {
                host_config.elsewhere.push(elsewhere);
                return Ok(());
            };
            reach.budget.take(document.bytes().len())?;
            unpacked(other, Zeroizing::new(document.bytes().to_vec()), reach.budget)?
        }
    };
    if reach.nesting == 0 {
        return Err(wrong("configs are nested too deeply"));
    }
    read_into(host_config, &bytes, &Reach { nesting: reach.nesting - 1, ..*reach })
}

/// The content of a resource; `None` if it is not in the config.
fn resource(resource: &Fields, budget: &Budget) -> Result<Option<Bytes>> {
    let source = resource.text("source")?.unwrap_or_default();
    if source.is_empty() {
        return Ok(Some(Bytes::default()));
    }
    if !data_url::is_data(source) {
        return Ok(None);
    }
    unpacked(resource, data_url::decode(source, budget)?, budget).map(Some)
}

/// The content of a resource after its compression is undone and its digest is compared.
fn unpacked(resource: &Fields, bytes: Bytes, budget: &Budget) -> Result<Bytes> {
    let bytes = match resource.text("compression")?.unwrap_or_default() {
        "" => bytes,
        "gzip" => unpack::gzip(&bytes, budget)?,
        _ => return Err(resource.wrong("compression", "gzip")),
    };
    verify(resource, &bytes)?;
    Ok(bytes)
}

/// The digest covers the unpacked content.
fn verify(resource: &Fields, bytes: &[u8]) -> Result<()> {
    let Some(verification) = resource.fields("verification")? else { return Ok(()) };
    let Some(expected) = verification.text("hash")?.filter(|hash| !hash.is_empty()) else { return Ok(()) };
    let known = DIGESTS
        .iter()
        .find_map(|(name, algorithm)| Some((expected.strip_prefix(name)?, algorithm)));
    let (digits, algorithm) = known.ok_or_else(|| verification.wrong("hash", "sha256-… or sha512-…"))?;
    if hex(digest(algorithm, bytes).as_ref()) == digits.to_ascii_lowercase() {
        return Ok(());
    }
    Err(Failure::new(
        ErrorKind::Untrusted,
        format!("{}: the content has another digest", verification.place()),
    ))
}

/// Reads a file. `None` if its content is not in the config, or if it belongs to a file system other than the
/// root.
fn read_file(notices: &mut Vec<String>, file: &Fields, budget: &Budget) -> Result<Option<ExtraFile>> {
    let doing = |failure: Failure| failure.doing(file.place());
    let path = file.text("path")?.ok_or_else(|| file.wrong("path", "there"))?;
    if file.text("filesystem")?.is_some_and(|name| !matches!(name, "" | "root")) {
        notices.push(format!("{} is on another file system and is not written", file.place()));
        return Ok(None);
    }
    // In spec 2 the field is a flag for the contents, in spec 3 it is the list of appended contents.
    let (appends, more) = match file.value("append") {
        Some(Value::Array(_)) => (file.value("contents").is_none(), file.maps("append")?),
        _ => (file.flag("append")?, Vec::new()),
    };
    let mut bytes = Bytes::default();
    for part in file.fields("contents")?.into_iter().chain(more) {
        let Some(part) = resource(&part, budget).map_err(doing)? else {
            notices.push(format!("{} comes from elsewhere and is not fetched", file.place()));
            return Ok(None);
        };
        append(&mut bytes, &part);
    }
    let mode = file.value("mode").map_or(Some(USUAL_MODE), Value::as_u64).and_then(mode_of);
    let mode = mode.ok_or_else(|| file.wrong("mode", "a mode in decimal digits"))?;
    let owner = Owner { user: owner(file, "user")?, group: owner(file, "group")? };
    ExtraFile::new(path, mode, owner, appends, content(bytes).map_err(doing)?)
        .map(Some)
        .map_err(doing)
}

/// The name or the number.
fn owner(file: &Fields, kind: &str) -> Result<String> {
    let root = || "root".to_owned();
    let Some(owner) = file.fields(kind)? else { return Ok(root()) };
    let number = owner.value("id").and_then(Value::as_u64).map(|id| id.to_string());
    Ok(owner
        .text("name")?
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .or(number)
        .unwrap_or_else(root))
}

/// The units, of which the enabled ones are started.
fn units(host_config: &mut HostConfig, systemd: &Fields) -> Result<()> {
    let units = &mut host_config.units;
    for unit in systemd.maps("units")? {
        let name = unit.text("name")?.unwrap_or_default();
        if let Some(contents) = unit.text("contents")? {
            units.add(name, None, contents)?;
        }
        for drop_in in unit.maps("dropins")? {
            let contents = drop_in.text("contents")?.unwrap_or_default();
            units.add(name, Some(drop_in.text("name")?.unwrap_or_default()), contents)?;
        }
        if unit.flag("mask")? {
            units.mask(name);
        } else if unit.flag("enabled")? || unit.flag("enable")? {
            units.started.push(name.to_owned());
        }
    }
    Ok(())
}

/// Notes a field that is not read and names a join.
fn unread_fields(host_config: &mut HostConfig, fields: &Fields) {
    for name in fields.names().filter(|name| !READ.contains(name)) {
        if fields.value(name).is_some_and(|value| names_a_join(texts(value).as_bytes())) {
            host_config.unclear.get_or_insert_with(|| unread("a field besides storage and systemd"));
        }
    }
}

fn not_used(host_config: &mut HostConfig, fields: &Fields) -> Result<()> {
    for (section, name, one, several) in NOT_USED {
        if let Some(section) = fields.fields(section)? {
            host_config.notices.extend(count(section.list(name)?.len(), one, several, "not made"));
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "ignition_tests.rs"]
mod tests;
