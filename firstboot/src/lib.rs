//! The agent in every Kiln image: one static program with two lives.
//!
//! ```text
//! kernel ─► /init (PID 1 in the initrd): initrd ─► systemd of the real root ─► firstboot.service: cli (`firstboot run`)
//! ```
//!
//! `contract` holds what the builder bakes and the agent finds; the builder imports that very module.

pub mod cli;
pub mod contract;
#[cfg(target_os = "linux")]
pub mod initrd;
