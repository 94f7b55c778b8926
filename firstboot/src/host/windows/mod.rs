//! The machine under Windows: what `linux` has, as far as Windows has such things.

pub mod command;
pub mod event_log;
pub mod firmware;
pub mod hcn;
pub mod media;
pub mod metadata_guard;
pub mod mounts;
pub mod notify;
pub(crate) mod optional_features;
pub(crate) mod own_folders;
pub mod pools;
pub mod process;
pub mod registry;
pub(crate) mod runtime_socket;
pub mod service_process;
pub mod services;
pub mod system;
pub(crate) mod vmware_tools;
