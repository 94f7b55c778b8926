//! Parsers of all documents of metadata services, for fuzzing: anyone on the link may have written the input.

use super::{
    akamai, alibaba, azure, cloudstack, digitalocean, ec2, equinix, gce, hetzner, maas, openstack, oracle,
    scaleway, upcloud, vultr,
};
use crate::error::Result;
use crate::facts::Facts;
use crate::platforms::format::config_drive;

/// Adds the facts of a document that came from a URL.
pub type Parser = fn(&[u8], &str, &mut Facts) -> Result<()>;

/// The names of the pieces of user data that a boothook on EC2 names.
pub fn boothook(script: &[u8]) -> std::result::Result<Vec<String>, &'static str> {
    ec2::boothook_names(script)
}

/// All parsers, by document.
pub const PARSERS: &[(&str, Parser)] = &[
    ("akamai instance", akamai::document),
    ("akamai network", |bytes, source, _| akamai::network(bytes, source).map(drop)),
    ("alibaba", |bytes, source, facts| alibaba::document(bytes, source, facts).map(drop)),
    ("azure instance", azure::metadata::document),
    ("azure ovf-env", |bytes, source, _| azure::metadata::in_environment(bytes, source).map(drop)),
    ("cloudstack lease", |bytes, _, _| {
        cloudstack::server(bytes);
        Ok(())
    }),
    ("digitalocean", digitalocean::document),
    ("ec2", |bytes, source, facts| ec2::metadata::document(bytes, source, facts).map(drop)),
    ("equinix", equinix::metadata::document),
    ("gce", gce::metadata::document),
    ("hetzner metadata", |bytes, source, facts| hetzner::document(bytes, source, facts).map(drop)),
    ("hetzner private-networks", |bytes, source, _| hetzner::private_networks(bytes, source).map(drop)),
    ("maas preseed", |bytes, source, _| maas::document(bytes, source)),
    ("openstack meta_data", openstack::document),
    ("openstack network_data", |bytes, source, _| config_drive::network_data(bytes, source).map(drop)),
    ("oracle instance", |bytes, source, facts| oracle::document(bytes, source, facts).map(drop)),
    ("oracle vnics", |bytes, source, _| oracle::nics(bytes, source).map(drop)),
    ("scaleway", scaleway::metadata::document),
    ("upcloud", upcloud::document),
    ("vultr", vultr::document),
];
