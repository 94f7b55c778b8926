//! The join: phases, one file each, in the order of the list.

pub mod certificate_request;
pub mod cluster;
pub mod discovery;
pub mod jws;
