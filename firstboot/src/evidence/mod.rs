//! Local evidence of where this machine runs: SMBIOS, the kernel command line, labels of disks, channels of
//! the hypervisor.
//!
//! Nothing here uses the network. [`crate::platforms::detect`] decides which platform the evidence proves.

pub mod command_line;
mod disk;
#[cfg(target_os = "linux")]
pub mod disk_identity;
#[cfg(target_os = "linux")]
#[path = "disks_linux.rs"]
pub mod disks;
#[cfg(windows)]
#[path = "disks_windows.rs"]
pub mod disks;
mod gathered;
pub mod fw_cfg;
pub mod labels;
pub mod seed;
pub mod sign;
pub mod smbios;

pub use command_line::CommandLine;
pub use gathered::Evidence;
pub use sign::{Sign, Strength};
pub use smbios::Field;
