//! Equinix Metal: metadata over TLS
//! (<https://deploy.equinix.com/developers/docs/metal/server-metadata/metadata/>). Its machines are plain
//! hardware: only an argument of the boot loader shows the platform.

pub(crate) mod metadata;
mod report;

use super::{Guarded, Platform};
use crate::evidence::Sign;
use crate::net::Endpoint;

/// The metadata service.
const HOST: &str = "metadata.platformequinix.com";
/// The fact with the URL that the platform's reports go to.
const PHONE_HOME_URL: &str = "phone-home-url";

pub(super) const PLATFORM: Platform = Platform {
    signs: &[Sign::Word("flatcar.oem.id=packet")],
    provider_id: Some("equinixmetal://${instance-id}"),
    node_name: Some("${hostname}"),
    guarded: Guarded::Servers(|_| Ok(vec![Endpoint { host: HOST.to_owned(), port: 443 }])),
    reporters: &[&report::REPORTER],
    ..Platform::named("equinix", metadata::read)
};
