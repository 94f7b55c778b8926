//! The machine: the only module with side effects on it.
//!
//! Each operating system has a folder with the same module names; everything outside imports from here.

#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "linux")]
pub use linux::*;
