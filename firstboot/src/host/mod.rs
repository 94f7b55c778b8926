//! The machine: the only module with side effects on the machine.
//!
//! Each operating system has a folder, and each folder has the same modules with the same items. Code outside
//! imports them from here. The modules beside the folders are the same on all systems.

pub mod cri;
#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "linux")]
pub use linux::*;
