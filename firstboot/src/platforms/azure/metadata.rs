//! Facts and user data: the instance metadata service, and the disc that Azure provisions a machine with.
//!
//! The user data is the service's `userData`; where there is none, the custom data on the disc.

use serde_json::json;

use super::{ADDRESSES, PROTOCOL, WIRE_SERVER};
use crate::document::{Document, UserData};
use crate::error::{ErrorKind, Failure, Result};
use crate::evidence::Field;
use crate::evidence::disks::Disk;
use crate::evidence::labels::FileSystem;
use crate::facts::{Facts, Scope};
use crate::host::root::Root;
use crate::instance_data::InstanceData;
use crate::paths;
use crate::platforms::format::json::Json;
use crate::platforms::format::user_data;
use crate::platforms::{PlatformData, ReadContext};

const INSTANCE: &str = "/metadata/instance?api-version=2021-08-01&extended=true";
const USER_DATA: &str = "/metadata/instance/compute/userData?api-version=2021-01-01&format=text";
const FIELDS: &[(&str, &str)] = &[
    ("/compute/osProfile/computerName", "hostname"),
    ("/compute/name", "hostname"),
    ("/compute/vmSize", "instance-type"),
    ("/compute/subscriptionId", "subscription"),
    ("/compute/resourceGroupName", "resource-group"),
    ("/compute/vmScaleSetName", "scale-set"),
    ("/compute/azEnvironment", "environment"),
];
const IPS: &[(&str, Option<Scope>)] = &[
    ("/network/interface/*/ipv4/ipAddress/*/privateIpAddress", Some(Scope::Private)),
    ("/network/interface/*/ipv6/ipAddress/*/privateIpAddress", Some(Scope::Private)),
    ("/network/interface/*/ipv4/ipAddress/*/publicIpAddress", Some(Scope::Public)),
    ("/network/interface/*/ipv6/ipAddress/*/publicIpAddress", Some(Scope::Public)),
];
/// File systems of the provisioning disc, whose label is not fixed.
const DISCS: &[FileSystem] = &[FileSystem::Udf, FileSystem::Iso9660];
/// On the disc: an OVF environment with a section by Azure.
const ENVIRONMENT: &str = "ovf-env.xml";
/// Limit on the attributes of one of its elements.
const MOST_ATTRIBUTES: usize = 1000;
const CUSTOM_DATA: &str = "CustomData.bin";

pub(super) fn read(context: &mut ReadContext) -> Result<PlatformData> {
    let mut service = context.service(ADDRESSES, PROTOCOL);
    let mut data = PlatformData::default();
    let instance = service.get(INSTANCE)?;
    document(&instance, &service.url(INSTANCE), &mut data.facts)?;
    data.instance_data = instance_data(&instance, &service.url(INSTANCE))?;
    let uuid = context
        .evidence
        .field(Field::ProductUuid)
        .map(|uuid| own_order(uuid, !context.root().path(paths::EFI).exists()));
    context.compare_id(Field::ProductUuid, uuid, &mut data.facts);
    data.facts.fact("wireserver").add(WIRE_SERVER.to_owned(), "azure");
    data.user_data = user_data::get_base64(&mut service, USER_DATA)?;
    if data.user_data.is_none() {
        data.user_data = provisioning(context)?;
    }
    Ok(data)
}

/// As cloud-init's data source has it, which takes the fault domain for the zone.
fn instance_data(instance: &[u8], source: &str) -> Result<InstanceData> {
    let instance = Json::parse(instance, source)?.into_value();
    let field = |path: &str| instance.pointer(path).cloned().unwrap_or_default();
    let (zone, region) = (field("/compute/platformFaultDomain"), field("/compute/location"));
    let document = json!({ "instance-id": field("/compute/vmId"), "local-hostname": field("/compute/osProfile/computerName") });
    Ok(InstanceData::new("azure", document)
        .with("imds", instance)
        .standard("availability_zone", zone)
        .standard("region", region))
}

/// Adds the facts of `instance`.
pub(crate) fn document(bytes: &[u8], source: &str, facts: &mut Facts) -> Result<()> {
    let found = Json::parse(bytes, source)?;
    found.add_id(facts, "/compute/vmId")?;
    found.add(facts, FIELDS)?;
    let region = found.text("/compute/location")?.map(|region| region.to_lowercase());
    facts.region.add_some(region.clone(), found.origin("/compute/location"));
    let zone = found.text("/compute/zone")?;
    match (zone, region) {
        (Some(zone), Some(region)) => {
            facts.zone.add(format!("{region}-{zone}").to_lowercase(), found.origin("/compute/zone"))
        }
        // Without zones, the cloud controller manager calls the fault domain the zone.
        _ => found.add(facts, &[("/compute/platformFaultDomain", "zone")])?,
    }
    let resource = found.text("/compute/resourceId")?.map(|id| with_lower_case_group(&id));
    if let Some(resource) = resource {
        facts.fact("resource-id").add(resource, found.origin("/compute/resourceId"));
    }
    let priority = found.text("/compute/priority")?;
    facts.spot.add(
        priority.is_some_and(|priority| ["Spot", "Low"].contains(&priority.as_str())),
        found.origin("/compute/priority"),
    );
    found.add_addresses(facts, IPS)?;
    let names = found.texts("/compute/tagsList/*/name")?;
    let values = names
        .iter()
        .enumerate()
        .map(|(index, _)| found.text(&format!("/compute/tagsList/{index}/value")));
    let values = values.collect::<Result<Vec<_>>>()?.into_iter().map(Option::unwrap_or_default);
    let tags: std::collections::BTreeMap<String, String> = names.iter().cloned().zip(values).collect();
    facts.tags.add_some((!tags.is_empty()).then_some(tags), found.origin("/compute/tagsList"));
    Ok(())
}

/// The cloud controller manager compares with the resource group in lower case.
fn with_lower_case_group(id: &str) -> String {
    let mut after_groups = false;
    let parts = id.split('/').map(|part| {
        let is_group = std::mem::replace(&mut after_groups, part.eq_ignore_ascii_case("resourceGroups"));
        if is_group { part.to_lowercase() } else { part.to_owned() }
    });
    parts.collect::<Vec<_>>().join("/")
}

/// Machines of generation 1, which have no EFI, show the first three groups of their UUID with the bytes in
/// the other order.
fn own_order(uuid: &str, is_first_generation: bool) -> String {
    let uuid = uuid.to_ascii_lowercase();
    if !is_first_generation || !uuid.is_ascii() {
        return uuid;
    }
    let swapped = |group: &str| -> String {
        group
            .as_bytes()
            .rchunks(2)
            .map(|pair| String::from_utf8_lossy(pair).into_owned())
            .collect()
    };
    let groups = uuid
        .split('-')
        .enumerate()
        .map(|(index, group)| if index < 3 { swapped(group) } else { group.to_owned() });
    groups.collect::<Vec<_>>().join("-")
}

/// The custom data on the provisioning disc. A disc that cannot be read is only a notice: most have no
/// custom data.
fn provisioning(context: &mut ReadContext) -> Result<Option<UserData>> {
    let discs: Vec<Disk> = context
        .evidence
        .all_disks()
        .iter()
        .filter(|disk| disk.is_optical() && DISCS.contains(&disk.kind))
        .cloned()
        .collect();
    for disc in discs {
        let device = disc.device.display().to_string();
        match disc.with_files(|root| Ok(custom_data(root, &device))) {
            Ok(Ok(None)) => {}
            Ok(found) => {
                let on_disc = |found| UserData { disk: Some(disc.identity.clone()), ..found };
                return found.map(|found| found.map(on_disc));
            }
            Err(failure) => context.notice(format!("warning: the provisioning disc is not read: {failure}")),
        }
    }
    Ok(None)
}

fn custom_data(root: &Root, device: &str) -> Result<Option<UserData>> {
    if let Some(document) = Document::read_file(&root.path(ENVIRONMENT))? {
        let found = in_environment(document.bytes(), &format!("{device}: {ENVIRONMENT}"))?;
        if found.is_some() {
            return Ok(found);
        }
    }
    let document = Document::read_file(&root.path(CUSTOM_DATA))?;
    Ok(document.and_then(|document| UserData::new(document, format!("{device}: {CUSTOM_DATA}"))))
}

/// The custom data in `ovf-env.xml`, in base64.
pub(crate) fn in_environment(bytes: &[u8], source: &str) -> Result<Option<UserData>> {
    let wrong = |why: String| Failure::new(ErrorKind::Source, format!("{source}: {why}"));
    let text = std::str::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8".to_owned()))?;
    let text = text.trim_start_matches('\u{feff}');
    if !contract::xml::is_bounded(text, MOST_ATTRIBUTES) {
        return Err(wrong("an element with too many attributes".to_owned()));
    }
    let document = roxmltree::Document::parse(text)
        .map_err(|error| wrong(format!("no XML at line {}", error.pos().row)))?;
    let element = document
        .descendants()
        .find(|node| node.has_tag_name("CustomData") || node.tag_name().name() == "CustomData");
    element
        .and_then(|element| element.text())
        .map_or(Ok(None), |text| user_data::decoded(text.as_bytes(), source.to_owned()))
}
