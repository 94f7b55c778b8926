//! The machine under Linux. Another operating system must have the same modules.

pub mod command;
pub mod disks;
pub mod efi;
pub mod firmware;
pub(crate) mod loops;
pub mod media;
pub mod metadata_guard;
pub mod mounts;
pub mod notify;
pub(crate) mod own_folders;
pub mod pools;
pub mod process;
pub(crate) mod runtime_socket;
pub mod services;
pub mod system;
pub(crate) mod vmware_tools;
