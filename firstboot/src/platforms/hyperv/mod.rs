//! Hyper-V: pairs of keys and values between host and guest (`Msvm_KvpExchangeDataItem`), which
//! `hv_kvp_daemon` keeps in files; the image needs that daemon (Debian: `hyperv-daemons`).

mod metadata;
mod report;

use super::{Platform, azure, openstack};
use crate::evidence::{Evidence, Field, Sign, Strength};

pub(super) const PLATFORM: Platform = Platform {
    signs: &[Sign::Other(Strength::Firmware, machine)],
    look_alikes: &[azure::ASSET_TAG, openstack::ASSET_TAG],
    scrub: Some(metadata::scrub),
    reporters: &[&report::REPORTER],
    ..Platform::named("hyperv", metadata::read)
};

/// The vendor's hardware (Surface) has the same vendor name.
fn machine(evidence: &Evidence) -> Option<String> {
    let is_machine = evidence.field_is(Field::SysVendor, "Microsoft Corporation")
        && evidence.field_is(Field::ProductName, "Virtual Machine");
    is_machine.then(|| {
        "smbios sys_vendor is \"Microsoft Corporation\" and product_name \"Virtual Machine\"".to_owned()
    })
}
