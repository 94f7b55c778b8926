//! VMware vSphere, and VMware's other hypervisors. User data comes from the first of these that has any:
//!
//! | order | where | overwritten after use |
//! |---|---|---|
//! | 1 | `guestinfo.userdata`, encoded as `guestinfo.userdata.encoding` says | yes |
//! | 2 | `guestinfo.ignition.config.data`, likewise | yes |
//! | 3 | `guestinfo.ovfenv`, the property `user-data` | yes |
//! | 4 | a disc labelled `OVF-TRANSPORT`, `OVFENV` or `OVF ENV`: `ovf-env.xml` | no |
//! | 5 | a NoCloud disk | no |
//!
//! Facts come from `guestinfo.metadata` (as cloud-init's DataSourceVMware has it), the environment and the
//! firmware.
//!
//! Tests use a simulated host ([`crate::host::vmware`]).

use std::io::Read;

use flate2::read::GzDecoder;
use zeroize::Zeroizing;

use super::{Platform, PlatformData, ReadContext, nocloud, openstack};
use crate::document::{Document, LIMIT, UserData};
use crate::error::{ErrorKind, Failure, Result};
use crate::evidence::disks::Disk;
use crate::evidence::{Evidence, Field, Sign, Strength};
use crate::facts::Facts;
use crate::host::root::Root;
use crate::host::vmware::{self, Channel};
use crate::host::vmware_tools::ABSENT;
use crate::instance_data::InstanceData;
use crate::platforms::format::{disk, ovf};

pub(super) const PLATFORM: Platform = Platform {
    signs: &[
        Sign::Begins(Field::ProductName, "VMware"),
        Sign::Begins(Field::SysVendor, "VMware"),
        Sign::Label(DISCS[0]),
        Sign::Label(DISCS[1]),
        Sign::Label(DISCS[2]),
        Sign::Other(Strength::Hypervisor, processor),
    ],
    look_alikes: &[openstack::ASSET_TAG],
    provider_id: Some("vsphere://${uuid}"),
    node_name: Some("${hostname}"),
    scrub: Some(scrub),
    ..Platform::named("vmware", read)
};

const DISCS: [&str; 3] = ["OVF-TRANSPORT", "OVFENV", "OVF ENV"];
const METADATA: &str = "guestinfo.metadata";
const USER_DATA: [&str; 2] = ["guestinfo.userdata", "guestinfo.ignition.config.data"];
const VENDOR_DATA: &str = "guestinfo.vendordata";
const ENVIRONMENT: &str = "guestinfo.ovfenv";
/// Values of overwritten keys: by this agent and cloud-init, and by Ignition.
const OVERWRITTEN: [&[u8]; 2] = [b"---", b"{}"];
/// `---` in base64.
const NOTHING: &str = "LS0t";

fn processor(evidence: &Evidence) -> Option<String> {
    (evidence.root().is_machine() && vmware::is_here())
        .then(|| "the processor names VMware as its hypervisor".to_owned())
}

fn read(context: &mut ReadContext) -> Result<PlatformData> {
    let mut data = match vmware::open(context.root()).as_deref_mut() {
        Some(channel) => guestinfo(channel, &mut context.notices)?,
        None => {
            context.notice(format!(
                "VMware's channel to the host does not answer{ABSENT}: guestinfo is not read"
            ));
            PlatformData::default()
        }
    };
    discs(context, &mut data)?;
    firmware(context.evidence, &mut data.facts);
    Ok(data)
}

fn guestinfo(channel: &mut dyn Channel, notices: &mut Vec<String>) -> Result<PlatformData> {
    let mut data = PlatformData::default();
    if let Some((value, is_packed)) = decoded(channel, METADATA)? {
        let value = if is_packed { unpack(value.bytes())? } else { value };
        let document = nocloud::facts(value.bytes(), METADATA, &mut data.facts)?;
        data.instance_data = InstanceData::new("vmware", document);
    }
    for key in USER_DATA {
        if data.user_data.is_none() {
            data.user_data = decoded(channel, key)?.and_then(|(document, _)| UserData::new(document, key));
        }
    }
    if let Some(bytes) = vmware::get(channel, ENVIRONMENT)? {
        let environment = ovf::parse(&bytes, ENVIRONMENT)?;
        environment.add(ENVIRONMENT, &mut data.facts);
        data.user_data = data
            .user_data
            .or(environment.user_data.and_then(|document| UserData::new(document, ENVIRONMENT)));
    }
    if decoded(channel, VENDOR_DATA)?.is_some() {
        notices.push(format!("{VENDOR_DATA} is there, and is not used"));
    }
    Ok(data)
}

/// The value of a key, decoded but not unpacked, and whether it is packed. None when there is none, or an
/// overwritten one.
fn decoded(channel: &mut dyn Channel, key: &str) -> Result<Option<(Document, bool)>> {
    let Some(value) = vmware::get(channel, key)? else { return Ok(None) };
    let encoding = vmware::get(channel, &format!("{key}.encoding"))?.unwrap_or_default();
    let (document, is_packed) = decode(value, &encoding).map_err(|failure| failure.doing(key))?;
    let is_left = !document.is_blank() && !OVERWRITTEN.contains(&document.bytes().trim_ascii());
    Ok(is_left.then_some((document, is_packed)))
}

/// Decodes the base64; a gzip inside stays packed.
fn decode(value: Zeroizing<Vec<u8>>, encoding: &[u8]) -> Result<(Document, bool)> {
    let wrong = |why: &str| Failure::new(ErrorKind::Source, why);
    let encoding = String::from_utf8_lossy(encoding).trim().to_ascii_lowercase();
    let is_packed = match encoding.as_str() {
        "" | "plaintext" => {
            return Document::new(value).map(|document| (document, false)).ok_or_else(|| wrong("too long"));
        }
        "base64" | "b64" => false,
        "gzip+base64" | "gz+b64" => true,
        _ => {
            return Err(wrong("its encoding is not known")
                .help("known are base64, b64, gzip+base64, gz+b64, plaintext, and none"));
        }
    };
    Document::from_base64(&value)
        .map(|document| (document, is_packed))
        .ok_or_else(|| wrong("not the base64 that its encoding says"))
}

fn unpack(bytes: &[u8]) -> Result<Document> {
    let limit = LIMIT as u64 + 1;
    Document::read(GzDecoder::new(bytes).take(limit)).map_err(|_| {
        Failure::new(
            ErrorKind::Source,
            format!("{METADATA}: not the gzip that its encoding says, or too long"),
        )
    })
}

fn discs(context: &mut ReadContext, data: &mut PlatformData) -> Result<()> {
    for label in DISCS {
        if data.user_data.is_none() && !context.evidence.disks(label).is_empty() {
            let found = environment_on(&disk::only_disk(context, label)?)?;
            data.facts.merge(found.facts);
            data.user_data = found.user_data;
        }
    }
    if data.user_data.is_none() && !context.evidence.disks(nocloud::LABEL).is_empty() {
        let disk = disk::only_disk(context, nocloud::LABEL)?;
        let found = nocloud::read_disk(context, &disk)?;
        data.facts.merge(found.facts);
        data.user_data = found.user_data;
        data.instance_data = found.instance_data;
    }
    Ok(())
}

fn environment_on(disk: &Disk) -> Result<PlatformData> {
    let source = format!("{}: ovf-env.xml", disk.device.display());
    disk::read(disk, |root| {
        let mut data = PlatformData::default();
        if let Some(document) = Document::read_file(&root.path("ovf-env.xml"))? {
            let environment = ovf::parse(document.bytes(), &source)?;
            environment.add(&source, &mut data.facts);
            data.user_data =
                environment.user_data.and_then(|document| UserData::new(document, source.as_str()));
        }
        Ok(data)
    })
}

fn firmware(evidence: &Evidence, facts: &mut Facts) {
    let uuid = evidence.field(Field::ProductUuid).map(str::to_ascii_lowercase);
    let by_serial = evidence.field(Field::ProductSerial).and_then(uuid_of_serial);
    facts.fact("uuid").add_some(by_serial, "smbios product_serial");
    facts.fact("uuid").add_some(uuid.clone(), "smbios product_uuid");
    facts.instance_id.add_some(uuid, "smbios product_uuid");
}

/// `VMware-56 4d 01 … 0f-10 …`: the UUID as vCenter has it. In product_uuid, newer virtual hardware swaps
/// bytes of the first three groups.
fn uuid_of_serial(serial: &str) -> Option<String> {
    let digits: String = serial
        .strip_prefix("VMware-")?
        .chars()
        .filter(|each| !matches!(each, ' ' | '-'))
        .collect();
    if digits.len() != 32 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let group = |from: usize, to: usize| digits[from..to].to_ascii_lowercase();
    Some([group(0, 8), group(8, 12), group(12, 16), group(16, 20), group(20, 32)].join("-"))
}

fn scrub(root: &Root) -> Result<Option<String>> {
    vmware::open(root).map_or(Ok(None), |mut channel| overwrite(channel.as_mut()))
}

/// Keys cannot be removed, so they get an empty value.
fn overwrite(channel: &mut dyn Channel) -> Result<Option<String>> {
    let mut done = Vec::new();
    for key in USER_DATA.into_iter().chain([VENDOR_DATA]) {
        let is_left = decoded(channel, key).map_or(true, |value| value.is_some());
        if is_left {
            vmware::set(channel, key, NOTHING)?;
            vmware::set(channel, &format!("{key}.encoding"), "base64")?;
            done.push(key);
        }
    }
    let environment = vmware::get(channel, ENVIRONMENT)?;
    if environment
        .is_some_and(|bytes| ovf::parse(&bytes, ENVIRONMENT).map_or(true, |found| found.user_data.is_some()))
    {
        vmware::set(channel, ENVIRONMENT, ovf::EMPTY)?;
        done.push(ENVIRONMENT);
    }
    Ok((!done.is_empty()).then(|| format!("overwrote {}", done.join(", "))))
}

#[cfg(test)]
mod tests;
