//! Equinix Metal: one document over TLS (<https://deploy.equinix.com/developers/docs/metal/server-metadata/metadata/>). Its machines are
//! plain hardware: only who boots them can say that they are there.

use zeroize::Zeroizing;

use super::json::Json;
use super::{Platform, PlatformData, ReadContext, http as shared};
use crate::error::Result;
use crate::evidence::Sign;
use crate::facts::{Facts, Scope};
use crate::net::Network;
use crate::net::http::{self, Method, Request};
use crate::net::retry::{self, Backoff};
use crate::net::trust::Trust;

pub(super) const PLATFORM: Platform = Platform {
    signs: &[Sign::Word("flatcar.oem.id=packet")],
    provider_id: Some("equinixmetal://${instance-id}"),
    node_name: Some("${hostname}"),
    ..Platform::named("equinix", read)
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

fn read(context: &mut ReadContext) -> Result<PlatformData> {
    let mut data = PlatformData::default();
    let url = format!("{HOST}/metadata");
    document(&get(context, &url)?, &url, &mut data.facts)?;
    let url = format!("{HOST}/userdata");
    data.user_data = shared::plain(get(context, &url)?, url)?;
    Ok(data)
}

fn get(context: &ReadContext, url: &str) -> Result<Zeroizing<Vec<u8>>> {
    let network = Network::new(context.root().clone());
    let request = Request::new(Method::GET, url, &Trust::System);
    retry::until(context.deadline, &mut Backoff::new(), || {
        Ok(http::send_ok(&network, &request, context.deadline)?.body.into())
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
