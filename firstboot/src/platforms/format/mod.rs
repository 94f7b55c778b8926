//! Formats that several platforms share: documents of metadata services, disks, OVF environments.

pub mod config_drive;
pub mod ovf;

pub(crate) mod cloud_config;
pub(crate) mod disk;
pub(crate) mod json;
pub(crate) mod keys;
pub(crate) mod user_data;
