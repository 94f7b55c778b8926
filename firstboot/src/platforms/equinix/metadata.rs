//! Facts and user data: one document each, over TLS.

use zeroize::Zeroizing;

use super::{HOST, PHONE_HOME_URL};
use crate::error::Result;
use crate::facts::{Facts, Scope};
use crate::instance_data::InstanceData;
use crate::net::Network;
use crate::net::http::{self, Method, Request};
use crate::net::retry::{self, Backoff};
use crate::net::trust::Trust;
use crate::platforms::format::json::Json;
use crate::platforms::format::user_data;
use crate::platforms::{PlatformData, ReadContext};

const FIELDS: &[(&str, &str)] = &[
    ("/hostname", "hostname"),
    ("/metro", "region"),
    ("/facility", "zone"),
    ("/plan", "instance-type"),
    ("/phone_home_url", PHONE_HOME_URL),
    ("/user_state_url", "user-state-url"),
];

pub(super) fn read(context: &mut ReadContext) -> Result<PlatformData> {
    let mut data = PlatformData::default();
    let url = format!("https://{HOST}/metadata");
    let metadata = get(context, &url)?;
    document(&metadata, &url, &mut data.facts)?;
    data.instance_data = InstanceData::new("equinix", Json::parse(&metadata, &url)?.into_value())
        .copied("id", "instance-id")
        .copied("hostname", "local-hostname");
    let url = format!("https://{HOST}/userdata");
    data.user_data = user_data::plain(get(context, &url)?, url)?;
    Ok(data)
}

fn get(context: &ReadContext, url: &str) -> Result<Zeroizing<Vec<u8>>> {
    let network = Network::new(context.root().clone());
    let request = Request::new(Method::GET, url, &Trust::System);
    retry::until(context.deadline, &mut Backoff::new(), || {
        Ok(http::send_ok(&network, &request, context.deadline)?.body.into())
    })
}

/// Adds the facts of `metadata`.
pub(crate) fn document(bytes: &[u8], source: &str, facts: &mut Facts) -> Result<()> {
    let found = Json::parse(bytes, source)?;
    found.add_id(facts, "/id")?;
    found.add(facts, FIELDS)?;
    let (mut private, mut public) = (Vec::new(), Vec::new());
    for address in found.addresses(&[("/network/addresses/*/address", None)])? {
        if address.scope == Scope::Private { private.push(address) } else { public.push(address) }
    }
    private.append(&mut public);
    facts.add_addresses(private, &found.origin("/network/addresses"));
    found.add_tag_names(facts, "/tags")
}
