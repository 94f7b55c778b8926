//! NoCloud (<https://docs.cloud-init.io/en/latest/reference/datasources/nocloud.html>): files that
//! the machine's creator put in a known place. The first of these counts:
//!
//! | order | where | recognized by |
//! |---|---|---|
//! | 1 | a URL ([`seed`]) | `ds=nocloud;s=URL` on the kernel command line or in the firmware's serial number |
//! | 2 | a disk or disc | its label, `cidata` |
//! | 3 | `/var/lib/cloud/seed/nocloud`, `/var/lib/cloud/seed/nocloud-net` | `meta-data` or `user-data` in it |
//!
//! `user-data` and `meta-data` are read; `network-config` and `vendor-data` are not, and a notice says
//! so: the image configures the network.

use std::path::Path;

use serde_json::Value;

use super::{Guarded, Platform, PlatformData, ReadContext};
use crate::document::Document;
use crate::error::{ErrorKind, Failure, Result};
use crate::evidence::disks::Disk;
use crate::evidence::seed::Seed;
use crate::evidence::{Evidence, Field, Sign, Strength};
use crate::facts::Facts;
use crate::host::root::Root;
use crate::instance_data::InstanceData;
use crate::net::Endpoint;
use crate::net::url::server;
use crate::paths;
use crate::platforms::format::disk::{self, only_disk, user_data};
use crate::text::yaml;

pub mod seed;

/// cloud-init's name of its data source for such a seed.
const DATA_SOURCE: &str = "nocloud";
/// The label of a NoCloud disk.
pub(super) const LABEL: &str = "cidata";
const FOLDERS: &[&str] = &[paths::NOCLOUD_SEED, paths::NOCLOUD_NET_SEED];
const IGNORED: &[&str] = &["network-config", "vendor-data"];

pub(super) const PLATFORM: Platform = Platform {
    signs: &[
        Sign::Other(Strength::Pin, argument),
        Sign::Other(Strength::Firmware, serial),
        Sign::Label(LABEL),
        Sign::Other(Strength::Channel, folder),
    ],
    node_name: Some("${hostname}"),
    guarded: Guarded::Servers(servers),
    ..Platform::named("nocloud", read)
};

pub(super) fn read(context: &mut ReadContext) -> Result<PlatformData> {
    let mut data = PlatformData::default();
    let named = named(context.evidence);
    if let Some((seed, named_by)) = &named {
        seed::facts(seed, named_by, &mut data.facts);
    }
    match &named {
        Some((Seed { url: Some(url), .. }, named_by)) => seed::read(context, url, named_by, &mut data)?,
        _ => {
            let found = local(context)?;
            data.facts.merge(found.facts);
            data.user_data = found.user_data;
            data.instance_data = found.instance_data;
        }
    }
    if let Some((seed, _)) = named {
        data.instance_data = seed::over(&seed, data.instance_data);
    }
    Ok(data)
}

/// The server of the seed, if it is a URL.
pub(super) fn servers(evidence: &Evidence) -> Result<Vec<Endpoint>> {
    match named(evidence) {
        Some((Seed { url: Some(url), .. }, named_by)) => {
            let url = seed::address(evidence.root(), &url, named_by)?;
            let server =
                server(&url).map_err(|why| Failure::new(ErrorKind::Source, format!("{named_by}: {why}")));
            Ok(vec![server?])
        }
        _ => Ok(Vec::new()),
    }
}

fn local(context: &mut ReadContext) -> Result<PlatformData> {
    if context.evidence.disks(LABEL).is_empty()
        && let Some(folder) = FOLDERS.iter().find(|folder| is_seed(context.evidence, folder))
    {
        let (data, ignored) = read_folder(context.root(), folder, folder)?;
        notice(context, folder, &data, &ignored);
        return Ok(data);
    }
    let disk = only_disk(context, LABEL)?;
    read_disk(context, &disk)
}

/// Reads a NoCloud disk, whichever platform attached it.
pub(super) fn read_disk(context: &mut ReadContext, disk: &Disk) -> Result<PlatformData> {
    let device = disk.device.display().to_string();
    let mut ignored = Vec::new();
    let data = disk::read(disk, |root| {
        let data;
        (data, ignored) = read_folder(root, "", &device)?;
        Ok(data)
    })?;
    notice(context, &format!("{device}, with the label {LABEL},"), &data, &ignored);
    Ok(data)
}

/// The data in `folder`, shown as `name`, and the names of files there that are not used.
fn read_folder(root: &Root, folder: &str, name: &str) -> Result<(PlatformData, Vec<&'static str>)> {
    let mut data = PlatformData {
        instance_data: InstanceData::new(DATA_SOURCE, Value::Null),
        ..PlatformData::default()
    };
    if let Some(bytes) = Document::read_file(&root.path(format!("{folder}/meta-data")))? {
        let document = facts(bytes.bytes(), &format!("{name}: meta-data"), &mut data.facts)?;
        data.instance_data = InstanceData::new(DATA_SOURCE, document);
    }
    data.user_data = user_data(root, &format!("{folder}/user-data"), &format!("{name}: user-data"))?;
    let ignored = IGNORED.iter().copied().filter(|name| {
        std::fs::metadata(root.path(format!("{folder}/{name}"))).is_ok_and(|about| about.len() > 0)
    });
    Ok((data, ignored.collect()))
}

fn notice(context: &mut ReadContext, name: &str, data: &PlatformData, ignored: &[&str]) {
    if data.user_data.is_none() {
        context.notice(format!("{name} has no user-data on it"));
    }
    for file in ignored {
        context.notice(format!("{name} has {file} on it, which is not used"));
    }
}

/// Reads meta-data: YAML with cloud-init's fields, and optionally those that a cloud would have. Returns the
/// document.
pub fn facts(bytes: &[u8], source: &str, facts: &mut Facts) -> Result<Value> {
    let wrong = |why: String| Failure::new(ErrorKind::Source, format!("{source}: {why}"));
    let value = yaml::cloud_init(bytes).map_err(|refused| wrong(refused.describe("YAML")))?;
    let Value::Object(fields) = value else {
        return if value.is_null() { Ok(value) } else { Err(wrong("no mapping".to_owned())) };
    };
    let text = |name: &str| match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
        Some(Value::Number(number)) => Ok(Some(number.to_string())),
        // A name that is written otherwise than it is read would surprise; an id needs only to be the same.
        Some(value) if name == "instance-id" && yaml::python_text(value).is_some() => {
            Ok(yaml::python_text(value))
        }
        Some(_) => Err(wrong(format!("{name} is not a text")).help("put it in quotes")),
    };
    let either = |name: &str, other: &str| {
        text(name).and_then(|found| found.map_or_else(|| text(other), |text| Ok(Some(text))))
    };
    facts.instance_id.add_some(text("instance-id")?, source);
    facts.hostname.add_some(either("local-hostname", "hostname")?, source);
    facts.region.add_some(text("region")?, source);
    facts.zone.add_some(either("zone", "availability-zone")?, source);
    facts.instance_type.add_some(text("instance-type")?, source);
    facts.provider_id.add_some(text("provider-id")?, source);
    Ok(Value::Object(fields))
}

/// The seed, and the argument or field that names it.
fn named(evidence: &Evidence) -> Option<(Seed, &'static str)> {
    let by_argument = || evidence.command_line.words().iter().rev().find_map(|word| Seed::parse(word));
    let by_serial = || evidence.field(Field::ProductSerial).and_then(Seed::in_serial);
    by_argument()
        .map(|seed| (seed, "the kernel argument ds=nocloud"))
        .or_else(|| Some((by_serial()?, "smbios product_serial")))
}

fn argument(evidence: &Evidence) -> Option<String> {
    let is_there = evidence.command_line.words().iter().any(|word| Seed::parse(word).is_some());
    is_there.then(|| "the kernel command line has ds=nocloud".to_owned())
}

fn serial(evidence: &Evidence) -> Option<String> {
    evidence
        .field(Field::ProductSerial)
        .and_then(Seed::in_serial)
        .map(|_| "smbios product_serial has ds=nocloud".to_owned())
}

fn folder(evidence: &Evidence) -> Option<String> {
    let folder = FOLDERS.iter().find(|folder| is_seed(evidence, folder))?;
    Some(format!("{folder} has a seed"))
}

fn is_seed(evidence: &Evidence, folder: &str) -> bool {
    ["user-data", "meta-data"]
        .iter()
        .any(|name| evidence.root().path(Path::new(folder).join(name)).is_file())
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
