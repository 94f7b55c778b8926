//! DigitalOcean: one document (<https://docs.digitalocean.com/reference/api/metadata/>).

use super::json::Json;
use super::{Reader, Reading, Source, http};
use crate::error::Result;
use crate::evidence::{Field, Sign};
use crate::facts::{Facts, Scope};
use crate::net::service::Protocol;

pub(super) const SOURCE: Source = Source {
    signs: &[Sign::Is(Field::SysVendor, "DigitalOcean")],
    provider_id: Some("digitalocean://${instance-id}"),
    node_name: Some("${hostname}"),
    guarded: &["169.254.169.254"],
    ..Source::named("digitalocean", read)
};

const DOCUMENT: &str = "/metadata/v1.json";
/// Its anchor address is left out: it is the platform's own, and no other machine reaches it.
const IPS: &[(&str, Option<Scope>)] = &[
    ("/interfaces/private/*/ipv4/ip_address", Some(Scope::Private)),
    ("/interfaces/private/*/ipv6/ip_address", Some(Scope::Private)),
    ("/interfaces/public/*/ipv4/ip_address", Some(Scope::Public)),
    ("/interfaces/public/*/ipv6/ip_address", Some(Scope::Public)),
];

fn read(reader: &mut Reader) -> Result<Reading> {
    let mut service = reader.service(&["169.254.169.254"], Protocol::default());
    let mut reading = Reading::default();
    document(&service.get(DOCUMENT)?, &service.url(DOCUMENT), &mut reading.facts)?;
    let serial = reader.evidence.field(Field::ProductSerial).map(str::to_owned);
    http::compare_id(reader, Field::ProductSerial, serial, &mut reading.facts);
    reading.user_data = http::user_data(&mut service, "/metadata/v1/user-data")?;
    Ok(reading)
}

/// Takes the facts of `v1.json`.
pub(super) fn document(bytes: &[u8], source: &str, facts: &mut Facts) -> Result<()> {
    let found = Json::parse(bytes, source)?;
    found.say_id(facts, "/droplet_id")?;
    found.say(facts, &[("/hostname", "hostname"), ("/region", "region")])?;
    found.say_addresses(facts, IPS)?;
    found.say_words(facts, "/tags")
}
