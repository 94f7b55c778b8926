//! Facts and user data: the metadata server's whole tree in one request.

use serde_json::{Value, json};

use super::{ADDRESSES, PROTOCOL};
use crate::document::UserData;
use crate::error::Result;
use crate::facts::{Facts, Scope};
use crate::instance_data::InstanceData;
use crate::platforms::format::json::Json;
use crate::platforms::format::user_data;
use crate::platforms::{PlatformData, ReadContext};

const TREE: &str = "/computeMetadata/v1/?recursive=true&alt=json";
const USER_DATA: &str = "/instance/attributes/user-data";
const FIELDS: &[(&str, &str)] = &[
    ("/instance/hostname", "hostname"),
    ("/instance/name", "name"),
    ("/instance/machineType", "machine-type"),
    ("/project/projectId", "project"),
    ("/project/numericProjectId", "project-number"),
    ("/instance/attributes/cluster-name", "cluster"),
];
const IPS: &[(&str, Option<Scope>)] = &[
    ("/instance/networkInterfaces/*/ip", Some(Scope::Private)),
    ("/instance/networkInterfaces/*/ipv6/*", None),
    ("/instance/networkInterfaces/*/accessConfigs/*/externalIp", Some(Scope::Public)),
];

pub(super) fn read(context: &mut ReadContext) -> Result<PlatformData> {
    let mut service = context.service(ADDRESSES, PROTOCOL);
    let bytes = service.get(TREE)?;
    let tree = Json::parse(&bytes, &service.url(TREE))?;
    let mut data = PlatformData::default();
    facts(&tree, &mut data.facts)?;
    data.user_data = user_data(&tree)?;
    data.instance_data = instance_data(&data.facts, tree.into_value());
    Ok(data)
}

/// As cloud-init's data source has it: a few facts, and the attributes of the instance and the project.
fn instance_data(facts: &Facts, mut tree: Value) -> InstanceData {
    let mut attributes = |path: &str| tree.pointer_mut(path).map(Value::take).unwrap_or_default();
    let document = json!({
        "instance-id": facts.text("instance-id"),
        "availability-zone": facts.text("zone"),
        "local-hostname": facts.text("hostname"),
    });
    InstanceData::new("gce", document)
        .with("instance-data", attributes("/instance/attributes"))
        .with("project-data", attributes("/project/attributes"))
}

/// Adds the facts of the tree, and checks the user data in it.
pub(crate) fn document(bytes: &[u8], source: &str, found: &mut Facts) -> Result<()> {
    let tree = Json::parse(bytes, source)?;
    facts(&tree, found)?;
    user_data(&tree).map(drop)
}

fn facts(tree: &Json, facts: &mut Facts) -> Result<()> {
    tree.add_id(facts, "/instance/id")?;
    tree.add(facts, FIELDS)?;
    let last = |path: &str| {
        tree.text(path)
            .map(|text| text.and_then(|text| text.rsplit('/').next().map(str::to_owned)))
    };
    facts
        .instance_type
        .add_some(last("/instance/machineType")?, tree.origin("/instance/machineType"));
    let zone = last("/instance/zone")?;
    let region = zone.as_ref().and_then(|zone| zone.rsplit_once('-')).map(|(region, _)| region.to_owned());
    facts.zone.add_some(zone, tree.origin("/instance/zone"));
    facts.region.add_some(region, tree.origin("/instance/zone"));
    tree.add_addresses(facts, IPS)?;
    tree.add_tag_names(facts, "/instance/tags")?;
    let model = tree.text("/instance/scheduling/provisioningModel")?;
    let preemptible = tree.text("/instance/scheduling/preemptible")?;
    let is_spot =
        model.as_deref() == Some("SPOT") || preemptible.is_some_and(|is| is.eq_ignore_ascii_case("true"));
    facts.spot.add(is_spot, tree.origin("/instance/scheduling"));
    Ok(())
}

fn user_data(tree: &Json) -> Result<Option<UserData>> {
    let Some(text) = tree.raw(USER_DATA)? else { return Ok(None) };
    match tree.text("/instance/attributes/user-data-encoding")?.as_deref() {
        None => user_data::plain(text.as_bytes().to_vec().into(), tree.origin(USER_DATA)),
        Some("base64") => user_data::decoded(text.as_bytes(), tree.origin(USER_DATA)),
        Some(_) => {
            Err(tree.wrong("/instance/attributes/user-data-encoding", "it is neither missing nor base64"))
        }
    }
}
