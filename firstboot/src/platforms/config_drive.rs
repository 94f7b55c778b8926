//! A config drive on a machine whose firmware names no platform: Metal3 and other users of Ironic, IBM Cloud.
//!
//! Anyone may attach such a drive, so it proves no cloud, and there is no template of a provider-id: a wrong
//! one could not be changed any more. Metal3's drive may name one ([`config_drive`]).
//!
//! Clouds that attach such a drive may give the same user data at the usual address too (IBM Cloud, users of
//! Nova whose firmware does not say so), so that pods are kept from it.

use super::{Guarded, Platform, PlatformData, ReadContext};
use crate::error::Result;
use crate::evidence::Sign;
use crate::platforms::format::{config_drive, disk};

pub(super) const PLATFORM: Platform = Platform {
    signs: &[Sign::Label(config_drive::LABEL)],
    node_name: Some("${local-hostname}"),
    guarded: Guarded::Addresses(&["169.254.169.254"]),
    ..Platform::named("config-drive", read)
};

fn read(context: &mut ReadContext) -> Result<PlatformData> {
    config_drive::read(&disk::only_disk(context, config_drive::LABEL)?)
}
