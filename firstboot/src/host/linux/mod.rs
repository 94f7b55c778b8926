//! The machine under Linux.

pub mod command;
pub mod cri;
pub mod files;
pub mod identity;
pub mod kernel;
pub mod kvp;
pub mod machine;
pub mod network;
pub mod root;
pub mod services;
pub mod vmware;
