//! The config drive: a disk or disc as OpenStack's Nova makes it
//! (<https://docs.openstack.org/nova/latest/user/metadata.html>), with the label `config-2`. KubeVirt,
//! Nutanix and Metal3 make them too.
//!
//! | file | used from it |
//! |---|---|
//! | `openstack/latest/meta_data.json` | `uuid`, `hostname` or `local-hostname`, `name`, `availability_zone`, `project_id`, `meta`; KubeVirt's `instance_type`; Metal3's `providerid` |
//! | `openstack/latest/network_data.json` | addresses |
//! | `ec2/latest/meta-data.json` | only what the first two lack: `instance-type`, `public-ipv4` |
//! | `openstack/latest/user_data` | the user-data, with `user_data.minisig` beside it |
//! | `openstack/latest/vendor_data.json` | nothing: the cloud writes it for cloud-init |

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::disk;
use crate::document::Document;
use crate::error::{ErrorKind, Failure, Result};
use crate::evidence::disks::Disk;
use crate::facts::{Address, Facts, Scope};
use crate::host::network;
use crate::host::root::Root;
use crate::instance_data::InstanceData;
use crate::platforms::platform::PlatformData;

/// The label of a config drive.
pub(crate) const LABEL: &str = "config-2";
/// cloud-init's name of its data source for such a drive.
const DATA_SOURCE: &str = "configdrive";
const META_DATA: &str = "openstack/latest/meta_data.json";
const NETWORK_DATA: &str = "openstack/latest/network_data.json";
const EC2_META_DATA: &str = "ec2/latest/meta-data.json";
const USER_DATA: &str = "openstack/latest/user_data";

/// Reads a config drive, whichever platform attached it.
pub(crate) fn read(disk: &Disk) -> Result<PlatformData> {
    let device = disk.device.display().to_string();
    disk::read(disk, |root| read_files(root, &device))
}

/// Reads the files of the drive `device`.
fn read_files(root: &Root, device: &str) -> Result<PlatformData> {
    let mut data = PlatformData::default();
    let facts = &mut data.facts;
    let file = |name: &str| -> Result<_> {
        Ok(Document::read_file(&root.path(name))?.map(|document| (document, format!("{device}: {name}"))))
    };
    let mut addresses = Vec::new();
    let mut instance_data = InstanceData::new(DATA_SOURCE, Value::Null);
    if let Some((document, source)) = file(META_DATA)? {
        meta_data(document.bytes(), &source, facts)?;
        instance_data = self::instance_data(DATA_SOURCE, document.bytes(), &source)?;
    }
    if let Some((document, source)) = file(NETWORK_DATA)? {
        addresses = network_data(document.bytes(), &source)?;
        instance_data = instance_data.beside("network_json", parse(document.bytes(), &source)?);
    }
    if let Some((document, source)) = file(EC2_META_DATA)? {
        addresses.extend(ec2_meta_data(document.bytes(), &source, facts)?);
        instance_data = instance_data.beside("ec2_metadata", parse(document.bytes(), &source)?);
    }
    facts.add_addresses(addresses, device);
    data.instance_data = instance_data;
    data.user_data = disk::user_data(root, USER_DATA, &format!("{device}: {USER_DATA}"))?;
    Ok(data)
}

/// `meta_data.json` for templates, with the names that cloud-init gives to two of its keys.
pub(crate) fn instance_data(source: &'static str, bytes: &[u8], origin: &str) -> Result<InstanceData> {
    Ok(InstanceData::new(source, parse(bytes, origin)?)
        .copied("hostname", "local-hostname")
        .copied("uuid", "instance-id"))
}

/// The fields of meta_data.json that become facts.
#[derive(Deserialize, Default)]
#[serde(default)]
struct MetaData {
    uuid: Value,
    instance_id: Value,
    instance_type: Value,
    hostname: Value,
    // As Metal3 writes it.
    #[serde(rename = "local-hostname")]
    local_hostname: Value,
    name: Value,
    availability_zone: Value,
    project_id: Value,
    // Namespace, host and machine, as Metal3 has them in its provider-ids.
    providerid: Value,
    meta: Value,
}

/// Adds the facts of `meta_data.json`; `source` is where it came from.
pub fn meta_data(bytes: &[u8], source: &str, facts: &mut Facts) -> Result<()> {
    let found: MetaData = parse(bytes, source)?;
    facts.instance_id.add_some(text(&found.uuid).or_else(|| text(&found.instance_id)), source);
    facts.instance_type.add_some(text(&found.instance_type), source);
    facts
        .hostname
        .add_some(text(&found.hostname).or_else(|| text(&found.local_hostname)), source);
    facts.zone.add_some(text(&found.availability_zone), source);
    facts.provider_id.add_some(text(&found.providerid).and_then(metal3_id), source);
    facts.fact("name").add_some(text(&found.name), source);
    facts.fact("project").add_some(text(&found.project_id), source);
    let pairs = found.meta.as_object().into_iter().flatten();
    let tags: BTreeMap<String, String> =
        pairs.filter_map(|(key, value)| Some((key.clone(), text(value)?))).collect();
    facts.tags.add_some((!tags.is_empty()).then_some(tags), source);
    Ok(())
}

/// `metal3://NAMESPACE/HOST/MACHINE`, of the three names behind the scheme.
fn metal3_id(names: String) -> Option<String> {
    let is_whole = names.split('/').count() == 3 && !names.split('/').any(str::is_empty);
    is_whole.then(|| format!("metal3://{names}"))
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct NetworkData {
    networks: Vec<Network>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Network {
    ip_address: Option<String>,
}

/// The addresses of `network_data.json`, in its order. Those of networks with DHCP may be missing.
pub fn network_data(bytes: &[u8], source: &str) -> Result<Vec<Address>> {
    let found: NetworkData = parse(bytes, source)?;
    let texts = found.networks.iter().filter_map(|network| network.ip_address.as_deref());
    // With a prefix on some networks.
    let texts = texts.filter_map(|text| text.split('/').next());
    Ok(texts
        .filter_map(network::parse_address)
        .map(|ip| Address { scope: Scope::of(ip), ip })
        .collect())
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "kebab-case")]
struct Ec2MetaData {
    instance_type: Option<String>,
    local_ipv4: Option<String>,
    public_ipv4: Option<String>,
    hostname: Option<String>,
    placement: Placement,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "kebab-case")]
struct Placement {
    availability_zone: Option<String>,
}

/// Adds the facts of `ec2/latest/meta-data.json`, and gives the addresses in it. Its instance-id differs from
/// the one in the cloud's API.
pub fn ec2_meta_data(bytes: &[u8], source: &str, facts: &mut Facts) -> Result<Vec<Address>> {
    let found: Ec2MetaData = parse(bytes, source)?;
    let some = |text: Option<String>| text.filter(|text| !text.is_empty());
    facts.instance_type.add_some(some(found.instance_type), source);
    facts.hostname.add_some(some(found.hostname), source);
    facts.zone.add_some(some(found.placement.availability_zone), source);
    let address = |text: Option<String>, scope| Some(Address { scope, ip: network::parse_address(&text?)? });
    Ok([address(found.local_ipv4, Scope::Private), address(found.public_ipv4, Scope::Public)]
        .into_iter()
        .flatten()
        .collect())
}

/// An error names a position, not the text there: a password may be in it.
fn parse<T: DeserializeOwned>(bytes: &[u8], source: &str) -> Result<T> {
    // serde would accept a list as the fields in order.
    if bytes.trim_ascii_start().first().is_some_and(|first| *first != b'{') {
        return Err(Failure::new(ErrorKind::Source, format!("{source}: no JSON object")));
    }
    serde_json::from_slice(bytes).map_err(|error| {
        let what = if error.is_data() { "not laid out as expected" } else { "no JSON" };
        Failure::new(
            ErrorKind::Source,
            format!("{source}: {what} at line {}, column {}", error.line(), error.column()),
        )
    })
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(is) => Some(is.to_string()),
        _ => None,
    }
}

#[cfg(test)]
#[path = "config_drive_tests.rs"]
mod tests;
