//! The machine: the only module with side effects on the machine.
//!
//! Each operating system has a folder, and the folders have the same modules with the same items, as far as
//! the system has such things. Code outside imports them from here. The modules beside the folders are the
//! same on all systems.

pub mod cri;
pub mod files;
pub mod identity;
pub mod kernel;
pub mod kvp;
pub mod machine;
pub mod network;
pub mod program;
pub mod resources;
pub mod root;
pub mod service_state;
pub mod smbios;
pub mod vmware;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(windows)]
mod windows;

#[cfg(target_os = "linux")]
pub use linux::*;
#[cfg(windows)]
pub use windows::*;
