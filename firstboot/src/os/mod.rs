//! What each operating system does in its own way, below `host`: how files are made and opened, who may read
//! them, who runs this process, which addresses it has. Nothing here knows a machine's root; only `host`
//! calls what makes changes.

use std::net::IpAddr;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(windows)]
mod windows;

#[cfg(target_os = "linux")]
pub use linux::*;
#[cfg(windows)]
pub use windows::*;

/// The numbers of a user and a group. Windows has none.
pub type Owner = (u32, u32);

/// An address of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// `eth0`
    pub interface: String,
    /// The address.
    pub ip: IpAddr,
}

/// The space of a file system, including the space that only root may use.
#[derive(Debug, Clone, Copy)]
pub struct Space {
    /// Free bytes.
    pub free: u64,
    /// All bytes.
    pub total: u64,
    /// Files that may still be made.
    pub free_inodes: u64,
    /// All files; zero means that the number is not fixed.
    pub inodes: u64,
}
