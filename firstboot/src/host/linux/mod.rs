//! The machine under Linux. Another operating system must have the same modules.

pub mod command;
pub mod disks;
pub mod efi;
pub mod files;
pub mod identity;
pub mod kernel;
pub mod kvp;
pub(crate) mod loops;
pub mod machine;
pub mod media;
pub mod metadata_guard;
pub mod mounts;
pub mod network;
pub mod notify;
pub mod process;
pub mod resources;
pub mod root;
pub(crate) mod runtime_socket;
pub mod services;
pub mod vmware;
