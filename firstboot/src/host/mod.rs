//! The machine: the only module with side effects on it.
//!
//! Each operating system has a folder, and each folder has the same modules with the same items; everything
//! outside imports them from here. What stands beside the folders is the same on all of them.

pub mod cri;
#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "linux")]
pub use linux::*;
