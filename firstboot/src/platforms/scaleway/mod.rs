//! Scaleway: the instance metadata service
//! (<https://www.scaleway.com/en/docs/instances/how-to/use-cloud-init/>).

pub(crate) mod metadata;
mod report;

use super::{Guarded, Platform};
use crate::evidence::{Field, Sign};

const NAME: &str = "scaleway";
const ADDRESSES: &[&str] = &["169.254.42.42", "fd00:42::42"];

pub(super) const PLATFORM: Platform = Platform {
    signs: &[Sign::Is(Field::SysVendor, "Scaleway"), Sign::Word("scaleway")],
    provider_id: Some("scaleway://instance/${zone}/${instance-id}"),
    node_name: Some("${hostname}"),
    guarded: Guarded::Addresses(ADDRESSES),
    reporters: &[&report::REPORTER],
    ..Platform::named(NAME, metadata::read)
};
