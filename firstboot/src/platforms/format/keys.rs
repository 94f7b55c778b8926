//! Metadata services in EC2's style: a folder of texts, with a request for each.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::facts::{Address, Facts, Scope};
use crate::host::network;
use crate::instance_data::is_plain_name;
use crate::net::service::Service;

/// Most tags that are read, each with a request.
const MOST_TAGS: usize = 64;

/// A key with addresses, and their scope (by address range where none is given).
pub(crate) type Ip = (&'static str, Option<Scope>);

/// The machine's id: it must be there, so the service is waited for.
pub(crate) fn id(service: &mut Service, folder: &str, facts: &mut Facts) -> Result<()> {
    let path = format!("{folder}/instance-id");
    let id = service.text(&path)?;
    if id.is_empty() {
        return Err(service.wrong(&path, "it is empty"));
    }
    // Other services on the link, such as captive portals, answer with a page of HTML.
    if !id.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(service.wrong(&path, "it is no identifier"));
    }
    facts.instance_id.add(id, service.url(&path));
    Ok(())
}

/// Facts that may be missing: keys, with the names of their facts.
pub(crate) fn texts(
    service: &mut Service,
    folder: &str,
    keys: &[(&str, &'static str)],
    facts: &mut Facts,
) -> Result<()> {
    for (key, field) in keys {
        let path = format!("{folder}/{key}");
        if let Some(text) = service.find_text(&path)? {
            facts.fact(field).add(text, service.url(&path));
        }
    }
    Ok(())
}

/// Addresses, each once.
pub(crate) fn addresses(service: &mut Service, folder: &str, keys: &[Ip], facts: &mut Facts) -> Result<()> {
    let mut found = Vec::new();
    for (key, scope) in keys {
        let text = service.find_text(&format!("{folder}/{key}"))?.unwrap_or_default();
        found.extend(listed(&text, *scope));
    }
    facts.add_addresses(found, &service.url(&format!("{folder}/")));
    Ok(())
}

/// Addresses in lines, or as `[a,b]`.
pub(crate) fn listed(text: &str, scope: Option<Scope>) -> Vec<Address> {
    let words =
        text.split(|character: char| !character.is_ascii_hexdigit() && character != '.' && character != ':');
    let ips = words.filter_map(network::parse_address);
    ips.map(|ip| Address { scope: scope.unwrap_or_else(|| Scope::of(ip)), ip }).collect()
}

/// Tags: `folder` lists their names. Services have it only when the machine was started with tags in its
/// metadata.
pub(crate) fn tags(service: &mut Service, folder: &str, facts: &mut Facts) -> Result<()> {
    let Some(names) = service.find_text(&format!("{folder}/"))? else { return Ok(()) };
    let mut tags = BTreeMap::new();
    for name in names.lines().map(str::trim).filter(|name| is_plain_name(name)).take(MOST_TAGS) {
        let value = service.find_text(&format!("{folder}/{name}"))?.unwrap_or_default();
        tags.insert(name.to_owned(), value);
    }
    facts.tags.add(tags, service.url(folder));
    Ok(())
}
