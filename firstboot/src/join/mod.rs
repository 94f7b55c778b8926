//! The join: phases, one file each, in the order of the list.

pub mod certificate_request;
pub mod cluster;
pub mod discovery;
pub mod identity;
pub mod jws;
pub mod kubelet_config;
pub mod kubelet_flags;
pub mod names;
pub mod patches;
pub mod plan;
pub mod reset;
