//! Platforms: where facts about the machine and its user data come from. A platform is one file or folder
//! here and one line in [`ALL`].
//!
//! A machine has one platform ([`detect`]), and only its metadata is read. A node config that the operator
//! named at one of the [`crate::locations`] takes precedence over the platform's user data.
//!
//! An error ends the search: a config meant for this machine must not be replaced by another one.

pub mod delivery;
pub mod detect;
pub mod documents;
pub mod format;
pub mod nocloud;

mod akamai;
mod alibaba;
pub mod azure;
mod cloudstack;
mod config_drive;
mod digitalocean;
mod ec2;
mod equinix;
mod exoscale;
mod gce;
mod hetzner;
mod hyperv;
mod kubevirt;
mod maas;
mod metal;
mod nutanix;
mod openstack;
mod oracle;
mod platform;
mod proxmox;
mod qemu;
mod scaleway;
mod tinkerbell;
mod upcloud;
mod vmware;
mod vultr;

pub use platform::{Attestation, Guarded, Platform, PlatformData, ReadContext};

/// All platforms. Where two are recognized by equally strong signs, the first one counts.
pub const ALL: &[&Platform] = &[
    &ec2::PLATFORM,
    &gce::PLATFORM,
    &azure::PLATFORM,
    &digitalocean::PLATFORM,
    &hetzner::PLATFORM,
    &vultr::PLATFORM,
    &scaleway::PLATFORM,
    &oracle::PLATFORM,
    &exoscale::PLATFORM,
    &akamai::PLATFORM,
    &upcloud::PLATFORM,
    &alibaba::PLATFORM,
    &equinix::PLATFORM,
    &vmware::PLATFORM,
    &hyperv::PLATFORM,
    &kubevirt::PLATFORM,
    &nutanix::PLATFORM,
    // Software that many clouds run comes after the clouds.
    &cloudstack::PLATFORM,
    &openstack::PLATFORM,
    &tinkerbell::PLATFORM,
    &maas::PLATFORM,
    &config_drive::PLATFORM,
    &nocloud::PLATFORM,
    &qemu::PLATFORM,
    &proxmox::PLATFORM,
    &metal::PLATFORM,
];

#[cfg(test)]
mod tests;
