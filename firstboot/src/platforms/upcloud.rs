//! UpCloud: one document (<https://upcloud.com/docs/products/cloud-servers/features/metadata/>).

use super::json::Json;
use super::{Reader, Reading, Source, http};
use crate::error::Result;
use crate::evidence::{Field, Sign};
use crate::facts::{Facts, Scope};
use crate::net::service::Protocol;

pub(super) const SOURCE: Source = Source {
    signs: &[Sign::Is(Field::SysVendor, "UpCloud")],
    provider_id: Some("upcloud://${instance-id}"),
    node_name: Some("${hostname}"),
    guarded: &["169.254.169.254"],
    ..Source::named("upcloud", read)
};

const DOCUMENT: &str = "/metadata/v1.json";
/// A zone is the only place that the platform knows, and its document calls it a region.
const FIELDS: &[(&str, &str)] = &[("/hostname", "hostname"), ("/region", "region"), ("/region", "zone")];
/// The utility network is private, as its numbers say.
const IPS: &[(&str, Option<Scope>)] = &[("/network/interfaces/*/ip_addresses/*/address", None)];

fn read(reader: &mut Reader) -> Result<Reading> {
    let mut service = reader.service(&["169.254.169.254"], Protocol::default());
    let mut reading = Reading::default();
    document(&service.get(DOCUMENT)?, &service.url(DOCUMENT), &mut reading.facts)?;
    let uuid = reader.evidence.field(Field::ProductUuid).map(str::to_ascii_lowercase);
    http::compare_id(reader, Field::ProductUuid, uuid, &mut reading.facts);
    reading.user_data = http::user_data(&mut service, "/metadata/v1/user_data")?;
    Ok(reading)
}

/// Takes the facts of `v1.json`.
pub(super) fn document(bytes: &[u8], source: &str, facts: &mut Facts) -> Result<()> {
    let found = Json::parse(bytes, source)?;
    found.say_id(facts, "/instance_id")?;
    found.say(facts, FIELDS)?;
    found.say_addresses(facts, IPS)?;
    found.say_words(facts, "/tags")
}
