//! Equinix Metal: one document over TLS (<https://deploy.equinix.com/developers/docs/metal/server-metadata/metadata/>). Its machines are
//! plain hardware: only who boots them can say that they are there.

use zeroize::Zeroizing;

use super::json::Json;
use super::{Reader, Reading, Source, http as shared};
use crate::error::Result;
use crate::evidence::Sign;
use crate::facts::{Facts, Scope};
use crate::net::Network;
use crate::net::http::{self, Method, Request};
use crate::net::retry::{self, Backoff};
use crate::net::trust::Trust;

pub(super) const SOURCE: Source = Source {
    signs: &[Sign::Word("flatcar.oem.id=packet")],
    provider_id: Some("equinixmetal://${instance-id}"),
    node_name: Some("${hostname}"),
    ..Source::named("equinix", read)
};

const HOST: &str = "https://metadata.platformequinix.com";
const FIELDS: &[(&str, &str)] = &[
    ("/hostname", "hostname"),
    ("/metro", "region"),
    ("/facility", "zone"),
    ("/plan", "instance-type"),
    ("/phone_home_url", "phone-home-url"),
    ("/user_state_url", "user-state-url"),
];

fn read(reader: &mut Reader) -> Result<Reading> {
    let mut reading = Reading::default();
    let url = format!("{HOST}/metadata");
    document(&get(reader, &url)?, &url, &mut reading.facts)?;
    let url = format!("{HOST}/userdata");
    reading.user_data = shared::plain(get(reader, &url)?, url)?;
    Ok(reading)
}

fn get(reader: &Reader, url: &str) -> Result<Zeroizing<Vec<u8>>> {
    let network = Network::new(reader.root().clone());
    let request = Request::new(Method::GET, url, &Trust::System);
    retry::until(reader.deadline, &mut Backoff::new(), || {
        Ok(http::send_ok(&network, &request, reader.deadline)?.body.into())
    })
}

/// Takes the facts of `metadata`.
pub(super) fn document(bytes: &[u8], source: &str, facts: &mut Facts) -> Result<()> {
    let found = Json::parse(bytes, source)?;
    found.say_id(facts, "/id")?;
    found.say(facts, FIELDS)?;
    let (mut private, mut public) = (Vec::new(), Vec::new());
    for address in found.addresses(&[("/network/addresses/*/address", None)])? {
        if address.scope == Scope::Private { private.push(address) } else { public.push(address) }
    }
    private.append(&mut public);
    super::drive::say_addresses(private, &found.origin("/network/addresses"), facts);
    found.say_words(facts, "/tags")
}
